//! `lock` on an object store: who holds the run directory, and for how long without a sign of life.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use proto::state::sha256;
use serde::{Deserialize, Serialize};

use crate::clock::{Moment, nanoseconds_since_1970, now};
use crate::objects::Version;

/// The object's name.
pub const FILE: &str = "lock";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// A name that nobody else has; empty once it is released.
    pub owner: String,
    /// The owner's machine.
    host: String,
    /// The owner's number there.
    process: u32,
    /// It may be taken over once it was not renewed for so long.
    lease_seconds: u64,
    /// How often it was renewed: with each time it is another version.
    pub renewals: u64,
    /// When, for people.
    renewed: String,
}

impl LockFile {
    /// One of this process, for a lease.
    pub fn new(lease: Duration) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let process = std::process::id();
        let unique = format!("{host} {process} {} {:?}", nanoseconds_since_1970(), Moment::now());
        let owner = sha256(unique.as_bytes())[..32].to_owned();
        let lease_seconds = lease.as_secs();
        Self { owner, host, process, lease_seconds, renewals: 0, renewed: now().to_string() }
    }

    /// The same, renewed.
    pub fn renewed(&self) -> Self {
        Self { renewals: self.renewals + 1, renewed: now().to_string(), ..self.clone() }
    }

    /// The same, released.
    pub fn released(&self) -> Self {
        Self { owner: String::new(), ..self.renewed() }
    }

    /// Whether nobody holds it.
    pub fn is_released(&self) -> bool {
        self.owner.is_empty()
    }

    /// How long it holds without being renewed.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// Reads it; nothing where it is damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// As it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and whole numbers")
    }
}

impl Display for LockFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.process, self.host)
    }
}

/// A lock that somebody holds, and since when it has not changed.
#[derive(Clone, Debug)]
pub struct Watched {
    version: Version,
    since: Moment,
}

/// What is to be thought of who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has renewed it.
    Alive,
    /// It has not, so far.
    None,
    /// It has not, for as long as its lease lasts.
    Dead,
}

impl Watched {
    /// A lock that was this version at this moment, when its answer came.
    pub fn new(version: Version, now: Moment) -> Self {
        Self { version, since: now }
    }

    /// What follows from its being `version` still, or another, at this moment, when the question was asked.
    pub fn look(&self, version: &Version, now: Moment, lease: Duration) -> Sign {
        if *version != self.version {
            Sign::Alive
        } else if now.since(self.since) >= lease {
            Sign::Dead
        } else {
            Sign::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_says_who_holds_it_and_is_another_with_every_renewal() {
        let lock = LockFile::new(Duration::from_mins(1));
        assert_ne!(lock.owner, LockFile::new(Duration::from_mins(1)).owner);
        let renewed = lock.renewed();
        assert!(lock.to_bytes() != renewed.to_bytes() && lock.owner == renewed.owner);
        assert_eq!(LockFile::parse(&renewed.to_bytes()).unwrap(), renewed);
        assert!(renewed.released().is_released() && !renewed.is_released());
        assert_eq!(LockFile::parse(b"{}"), None);
        assert!(lock.to_string().starts_with(&format!("process {} on ", std::process::id())));
    }

    #[test]
    fn only_what_did_not_change_for_a_whole_lease_is_dead() {
        let lease = Duration::from_mins(1);
        let (one, other) = (Version("1".to_owned()), Version("2".to_owned()));
        let begin = Moment::now();
        let watched = Watched::new(one.clone(), begin);
        for (seconds, sign) in [(0, Sign::None), (59, Sign::None), (60, Sign::Dead), (600, Sign::Dead)] {
            let now = begin.after(Duration::from_secs(seconds));
            assert_eq!(watched.look(&one, now, lease), sign, "after {seconds} s");
            assert_eq!(watched.look(&other, now, lease), Sign::Alive);
        }
    }
}
