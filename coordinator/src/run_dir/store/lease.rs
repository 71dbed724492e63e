//! The lock of a run directory on an object store: a lease, which the coordinator that holds it renews.
//!
//! `lock` is an object that is written on conditions alone: it is made where it is not there, and replaced while it is what it was
//! when it was last looked at. So of two who want it one gets it. Who holds it renews it every sixth of a lease, from a task
//! beside the run. Who wants it watches it: once it did not change for a whole lease, by the clock of who watches, it is taken
//! over. Clocks of different machines are never compared.
//!
//! Invariant: a write begins only under a lease that is younger than [`Patience::fresh`] since the request that renewed it was
//! sent, by a clock that goes on while the machine sleeps; and it is given up before anybody else may take the lease over. A
//! coordinator that slept renews first, and finds who has taken it over. What remains is a request whose bytes wait in a
//! network until then: it may put an older file of the same run in the place of a newer one, which costs steps and no bits.
//!
//! [`Patience::fresh`]: crate::objects::Patience::fresh

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::lock_file::{FILE, LockFile, Sign, Watched};
use crate::clock::Moment;
use crate::location::Location;
use crate::objects::{Condition, Objects, ObjectsError, Version};
use crate::run_dir::error::RunDirError;

/// A run directory that is this coordinator's. It is not renewed any more once this is dropped.
#[derive(Debug)]
pub struct Lease {
    holder: Arc<Holder>,
    renewing: AbortHandle,
}

#[derive(Debug)]
struct Holder {
    objects: Objects,
    standing: Mutex<Standing>,
    /// Who has it instead, once somebody does.
    lost_to: OnceLock<String>,
    /// Held while a file is written.
    writing: Mutex<()>,
}

#[derive(Debug)]
enum Standing {
    Held(Held),
    /// Somebody else has it.
    Lost,
    /// It was given back.
    Released,
}

#[derive(Debug)]
struct Held {
    lock: LockFile,
    version: Version,
    /// When the request was sent that renewed it.
    since: Moment,
}

/// How long it may take to give it back.
const RELEASING: Duration = Duration::from_secs(5);
/// How often the lock is written where answers are lost.
const TRIES: usize = 3;

impl Lease {
    /// Takes the lock, as soon as nobody holds it or who does has given no sign of life for as long as its lease lasts; errors
    /// once it does.
    pub async fn take(objects: &Objects) -> Result<Self, RunDirError> {
        let held = acquire(objects).await?;
        check_conditions(objects, &held).await?;
        let holder = Arc::new(Holder {
            objects: objects.clone(),
            standing: Mutex::new(Standing::Held(held)),
            lost_to: OnceLock::new(),
            writing: Mutex::new(()),
        });
        let renewing = objects.spawn(holder.clone().keep_renewing());
        Ok(Self { holder, renewing })
    }

    /// Returns while the lease is so young that a request which begins now is over before it ends; renews it if need be. Errors
    /// where somebody else has taken it over, or where it cannot be renewed.
    pub async fn check(&self) -> Result<(), RunDirError> {
        let Holder { objects, standing, .. } = &*self.holder;
        let mut standing = standing.lock().await;
        for _ in 0..TRIES {
            match &*standing {
                Standing::Held(held) if Moment::now().since(held.since) <= objects.patience().fresh() => {
                    return Ok(());
                }
                Standing::Held(_) => self.holder.renew(&mut standing).await?,
                Standing::Lost => return self.look(),
                // The process is about to end.
                Standing::Released => std::future::pending().await,
            }
        }
        let what = "the store takes too long to renew it, expected less than a quarter of --lease";
        Err(ObjectsError::new(objects.at(FILE), what).into())
    }

    /// Errors where it is known that somebody else has taken it over. Asks and waits for nobody.
    pub fn look(&self) -> Result<(), RunDirError> {
        let Holder { objects, lost_to, .. } = &*self.holder;
        match lost_to.get() {
            Some(to) => Err(RunDirError::Lost { place: place(objects), to: to.clone() }),
            None => Ok(()),
        }
    }

    /// Keeps it from being given back in the middle of a write, which ends with the guard.
    pub async fn writing(&self) -> MutexGuard<'_, ()> {
        self.holder.writing.lock().await
    }

    /// Gives the lock back, so that another coordinator need not wait for it, after the write at hand. Nothing is written
    /// afterwards: who wants to waits for the end of the process.
    pub async fn release(&self) {
        let left = "the lock is not released: whoever continues waits until its lease is over";
        match timeout(RELEASING, self.holder.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("{error}; {left}"),
            Err(_) => tracing::warn!("{}: no answer in time; {left}", place(&self.holder.objects)),
        }
        self.renewing.abort();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Holder {
    async fn keep_renewing(self: Arc<Self>) {
        let mut rounds = interval(self.objects.patience().renewal());
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once.
        rounds.tick().await;
        loop {
            rounds.tick().await;
            let mut standing = self.standing.lock().await;
            match &*standing {
                Standing::Held(_) => {
                    if let Err(error) = self.renew(&mut standing).await {
                        tracing::warn!("{error}; it is tried again");
                    }
                }
                Standing::Lost | Standing::Released => return,
            }
        }
    }

    /// Renews it, or finds that it is lost.
    async fn renew(&self, standing: &mut Standing) -> Result<(), ObjectsError> {
        if let Standing::Held(held) = standing
            && !self.replace(held, LockFile::renewed).await?
        {
            *standing = Standing::Lost;
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), ObjectsError> {
        let _last = self.writing.lock().await;
        let mut standing = self.standing.lock().await;
        if let Standing::Held(held) = &mut *standing {
            let released = self.replace(held, LockFile::released).await;
            *standing = Standing::Released;
            released?;
        }
        Ok(())
    }

    /// Writes what follows the lock that is held; returns whether it was held still.
    async fn replace(&self, held: &mut Held, next: fn(&LockFile) -> LockFile) -> Result<bool, ObjectsError> {
        for _ in 0..TRIES {
            let (lock, since) = (next(&held.lock), Moment::now());
            let unchanged = Condition::Unchanged(held.version.clone());
            if let Some(version) = self.objects.put_if(FILE, lock.to_bytes().into(), unchanged).await? {
                *held = Held { lock, version, since };
                return Ok(true);
            }
            let found = self.objects.get(FILE).await?;
            match found.map(|(bytes, version)| (LockFile::parse(&bytes), version)) {
                // It was written, and the answer was lost: now, or some time before.
                Some((Some(found), version)) if found == lock => {
                    *held = Held { lock, version, since };
                    return Ok(true);
                }
                Some((Some(found), version)) if found.owner == held.lock.owner => {
                    (held.lock, held.version) = (found, version);
                }
                found => {
                    let to = found.and_then(|(found, _)| found).map(|found| found.to_string());
                    let to = self.lost_to.get_or_init(|| to.unwrap_or_else(|| "somebody".to_owned()));
                    tracing::error!("{}: {to} has taken it over", place(&self.objects));
                    return Ok(false);
                }
            }
        }
        let what = "the store says each time that it has changed, and shows that it has not";
        Err(ObjectsError::new(self.objects.at(FILE), what))
    }
}

/// Takes the lock, in one of its three ways.
async fn acquire(objects: &Objects) -> Result<Held, RunDirError> {
    let lock = LockFile::new(objects.patience().lease);
    let mut watched: Option<Watched> = None;
    loop {
        let asked = Moment::now();
        let Some((bytes, version)) = objects.get(FILE).await? else {
            if let Some(held) = take(objects, &lock, Condition::Absent).await? {
                return Ok(held);
            }
            continue;
        };
        let found = LockFile::parse(&bytes);
        let free = found.as_ref().is_some_and(|found| found.is_released() || found.owner == lock.owner);
        let lease = found.as_ref().map_or(objects.patience().lease, LockFile::lease);
        let sign = watched.as_ref().map_or(Sign::None, |watched| watched.look(&version, asked, lease));
        if free || sign == Sign::Dead {
            match take(objects, &lock, Condition::Unchanged(version)).await? {
                Some(held) => return Ok(held),
                None => continue,
            }
        }
        let holder = found.map_or_else(|| "somebody".to_owned(), |found| found.to_string());
        if sign == Sign::Alive {
            return Err(RunDirError::Held { place: place(objects), holder });
        }
        if watched.is_none() {
            let seconds = lease.as_secs();
            tracing::info!(
                "{}: held by {holder}; waiting up to {seconds} s for a sign of it",
                place(objects)
            );
            watched = Some(Watched::new(version, Moment::now()));
        }
        sleep(objects.patience().look()).await;
    }
}

async fn take(
    objects: &Objects,
    lock: &LockFile,
    condition: Condition,
) -> Result<Option<Held>, ObjectsError> {
    let since = Moment::now();
    let version = objects.put_if(FILE, lock.to_bytes().into(), condition).await?;
    Ok(version.map(|version| Held { lock: lock.clone(), version, since }))
}

/// Errors where the store does not look at conditions: then it would give one lock to two.
async fn check_conditions(objects: &Objects, held: &Held) -> Result<(), RunDirError> {
    let stale = Condition::Unchanged(Version("\"0123456789abcdef0123456789abcdef\"".to_owned()));
    for unmet in [Condition::Absent, stale] {
        if objects.put_if(FILE, held.lock.to_bytes().into(), unmet).await?.is_some() {
            return Err(RunDirError::Unconditional { place: place(objects) });
        }
    }
    Ok(())
}

fn place(objects: &Objects) -> Location {
    Location::Bucket(objects.at(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Patience;

    /// A bucket in memory, and the lease of it that is tried, in milliseconds.
    fn objects(lease: u64) -> Objects {
        Objects::in_memory(Patience { lease: Duration::from_millis(lease) })
    }

    async fn lock(objects: &Objects) -> LockFile {
        LockFile::parse(&objects.get(FILE).await.unwrap().unwrap().0).unwrap()
    }

    /// Puts another lock in the place of the one that is there, as who takes it over does.
    async fn usurp(objects: &Objects) {
        let (_, version) = objects.get(FILE).await.unwrap().unwrap();
        let other = LockFile::new(Duration::from_mins(1)).to_bytes();
        objects.put_if(FILE, other.into(), Condition::Unchanged(version)).await.unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_holds_a_lock_renews_it_and_keeps_others_away() {
        let objects = objects(1200);
        let lease = Lease::take(&objects).await.unwrap();
        let error = Lease::take(&objects).await.unwrap_err().to_string();
        let holder = format!(
            "bucket/run/lock: another coordinator is using this run directory: process {}",
            std::process::id()
        );
        assert!(error.contains(&holder), "{error}");
        assert!(lock(&objects).await.renewals > 0);
        lease.check().await.unwrap();
        lease.release().await;
        assert!(lock(&objects).await.is_released());
        Lease::take(&objects).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_that_nobody_renews_is_taken_over_after_its_own_lease() {
        let objects = objects(600);
        drop(Lease::take(&objects).await.unwrap());
        let dead = LockFile::new(Duration::from_secs(1));
        let (_, version) = objects.get(FILE).await.unwrap().unwrap();
        objects.put_if(FILE, dead.to_bytes().into(), Condition::Unchanged(version)).await.unwrap().unwrap();
        let began = Moment::now();
        let lease = Lease::take(&objects).await.unwrap();
        assert!(Moment::now().since(began) >= Duration::from_secs(1));
        assert_ne!(lock(&objects).await.owner, dead.owner);
        lease.check().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_slept_finds_that_its_lock_is_anothers() {
        let objects = objects(400);
        let lease = Lease::take(&objects).await.unwrap();
        lease.renewing.abort();
        usurp(&objects).await;
        sleep(Duration::from_millis(150)).await;
        let error = lease.check().await.unwrap_err().to_string();
        assert!(error.contains("has taken this run directory over"), "{error}");
        // What is another's is not released.
        lease.release().await;
        assert!(!lock(&objects).await.is_released());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_released_twice_or_anothers_stays_as_it_is() {
        let objects = objects(1200);
        let lease = Lease::take(&objects).await.unwrap();
        lease.release().await;
        let released = lock(&objects).await;
        lease.release().await;
        assert_eq!(lock(&objects).await, released);
        assert!(
            timeout(Duration::from_millis(100), lease.check()).await.is_err(),
            "who writes waits for the end"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_renewal_whose_answer_was_lost_is_known_again() {
        let objects = objects(400);
        let lease = Lease::take(&objects).await.unwrap();
        lease.renewing.abort();
        let ours = lock(&objects).await.renewed();
        let (_, version) = objects.get(FILE).await.unwrap().unwrap();
        objects.put_if(FILE, ours.to_bytes().into(), Condition::Unchanged(version)).await.unwrap().unwrap();
        sleep(Duration::from_millis(150)).await;
        lease.check().await.unwrap();
        assert_eq!(lock(&objects).await.renewals, ours.renewals + 1);
    }
}
