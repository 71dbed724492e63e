//! The one place for training sessions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use scff::batch::LayerIndex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::refusal::Refusal;
use crate::run::RunName;

/// The sessions of one attempt at training layers of a run have the slot together. Another attempt of the same run takes
/// it over from all of them; one of another run is refused.
///
/// Streams that only pass samples through hosted layers take no place, but nobody may close the slot under them.
pub struct Slot {
    holder: Mutex<Holder>,
    turn: Arc<Semaphore>,
}

/// Who has the slot.
#[derive(Default)]
struct Holder {
    party: Weak<Party>,
    passing: Vec<Weak<RunName>>,
    closed: bool,
}

/// The sessions of one attempt.
struct Party {
    run: RunName,
    attempt: u64,
    /// Of the first session.
    layer: LayerIndex,
    evicted: watch::Sender<bool>,
    /// Shared by all sessions that have their turn.
    permit: tokio::sync::Mutex<Weak<OwnedSemaphorePermit>>,
    /// Bytes that steps of each layer take.
    taken: Mutex<BTreeMap<LayerIndex, u64>>,
}

/// Possession of the slot, while the session lasts. When the last one of a party is dropped, any other run may come in.
pub struct Seat {
    party: Arc<Party>,
}

/// Keeps the slot open while samples pass through hosted layers of a run.
pub struct Passing {
    _run: Arc<RunName>,
}

/// The right to the memory of a training session: the next party waits until all of them are dropped.
pub struct Turn {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Slot {
    /// A free slot.
    pub fn new() -> Self {
        Self { holder: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Takes the slot for a layer of a run. Returns once the party before has freed its memory.
    pub async fn take(
        &self,
        run: &RunName,
        attempt: u64,
        layer: LayerIndex,
    ) -> Result<(Seat, Turn), Refusal> {
        let seat = self.sit_down(run, attempt, layer)?;
        let mut shared = seat.party.permit.lock().await;
        let permit = match shared.upgrade() {
            Some(permit) => permit,
            None => Arc::new(self.turn.clone().acquire_owned().await.expect("never closed")),
        };
        *shared = Arc::downgrade(&permit);
        drop(shared);
        Ok((seat, Turn { _permit: permit }))
    }

    /// The run that has the slot.
    pub fn holder(&self) -> Option<RunName> {
        self.look().party.upgrade().map(|party| party.run.clone())
    }

    /// Samples of a run begin to pass through.
    pub fn pass(&self, run: &RunName) -> Result<Passing, Refusal> {
        let mut holder = self.look();
        holder.open()?;
        holder.passing.retain(|passing| passing.strong_count() > 0);
        let run = Arc::new(run.clone());
        holder.passing.push(Arc::downgrade(&run));
        Ok(Passing { _run: run })
    }

    /// Lets nobody in any more; refused while anybody trains or passes.
    pub fn close(&self) -> Result<(), Refusal> {
        let mut holder = self.look();
        if let Some(party) = holder.party.upgrade() {
            return Err(Refusal::Busy { run: party.run.clone(), layer: party.layer.0 });
        }
        if let Some(run) = holder.passing.iter().find_map(Weak::upgrade) {
            return Err(Refusal::Passing { run: RunName::clone(&run) });
        }
        holder.closed = true;
        Ok(())
    }

    /// Lets nobody in any more; whoever is in it may stay.
    pub fn leave(&self) {
        self.look().closed = true;
    }

    /// Whether nobody is let in any more.
    pub fn is_closed(&self) -> bool {
        self.look().closed
    }

    fn look(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sit_down(&self, run: &RunName, attempt: u64, layer: LayerIndex) -> Result<Seat, Refusal> {
        let mut holder = self.look();
        holder.open()?;
        match holder.party.upgrade() {
            Some(party) if party.run != *run => {
                return Err(Refusal::Busy { run: party.run.clone(), layer: party.layer.0 });
            }
            Some(party) if party.attempt == attempt => return Ok(Seat { party }),
            Some(party) => {
                party.evicted.send_replace(true);
            }
            None => {}
        }
        let evicted = watch::Sender::new(false);
        let (permit, taken) = (tokio::sync::Mutex::default(), Mutex::default());
        let party = Party { run: run.clone(), attempt, layer, evicted, permit, taken };
        let party = Arc::new(party);
        holder.party = Arc::downgrade(&party);
        Ok(Seat { party })
    }
}

impl Holder {
    fn open(&self) -> Result<(), Refusal> {
        if self.closed { Err(Refusal::Closing) } else { Ok(()) }
    }
}

impl Seat {
    /// Notes how many bytes a step of a layer takes; returns how many those of all layers of the party take together.
    pub fn note_bytes(&self, layer: LayerIndex, bytes: u64) -> u64 {
        let mut taken = self.party.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(layer, bytes);
        taken.values().copied().fold(0, u64::saturating_add)
    }

    /// Returns when another attempt of the run takes over.
    pub async fn evicted(&self) {
        let mut evicted = self.party.evicted.subscribe();
        evicted.wait_for(|evicted| *evicted).await.expect("the party is held here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: std::time::Duration = std::time::Duration::from_mins(1);

    fn run(name: &str) -> RunName {
        RunName::parse(name.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn another_attempt_takes_over_and_another_run_is_refused() {
        let slot = Arc::new(Slot::new());
        let (first, first_turn) = slot.take(&run("a"), 1, LayerIndex(3)).await.unwrap();
        assert!(matches!(slot.take(&run("b"), 1, LayerIndex(0)).await, Err(Refusal::Busy { layer: 3, .. })));
        let (beside, beside_turn) = slot.take(&run("a"), 1, LayerIndex(5)).await.unwrap();
        assert_eq!((first.note_bytes(LayerIndex(3), 10), beside.note_bytes(LayerIndex(5), 7)), (10, 17));
        let second = tokio::spawn({
            let slot = Arc::clone(&slot);
            async move { slot.take(&run("a"), 2, LayerIndex(4)).await }
        });
        tokio::time::timeout(DEADLINE, first.evicted()).await.expect("the first is told");
        tokio::time::timeout(DEADLINE, beside.evicted()).await.expect("and the one beside it");
        drop((first, beside, beside_turn));
        assert_eq!(slot.holder(), Some(run("a")));
        assert!(matches!(slot.take(&run("b"), 1, LayerIndex(0)).await, Err(Refusal::Busy { layer: 4, .. })));
        assert!(!second.is_finished(), "the first still has its memory");
        drop(first_turn);
        let (second, second_turn) = second.await.unwrap().unwrap();
        drop((second, second_turn));
        assert_eq!(slot.holder(), None);
        slot.take(&run("b"), 1, LayerIndex(0)).await.unwrap();
    }

    #[tokio::test]
    async fn the_slot_is_closed_when_nobody_is_in_it_and_then_lets_nobody_in() {
        let slot = Slot::new();
        let passing = slot.pass(&run("a")).unwrap();
        assert!(matches!(slot.close(), Err(Refusal::Passing { .. })));
        let taken = slot.take(&run("a"), 1, LayerIndex(2)).await.unwrap();
        assert!(matches!(slot.close(), Err(Refusal::Busy { layer: 2, .. })));
        drop((passing, taken));
        slot.close().unwrap();
        assert!(matches!(slot.take(&run("a"), 1, LayerIndex(2)).await, Err(Refusal::Closing)));
        assert!(matches!(slot.pass(&run("a")), Err(Refusal::Closing)));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_slot_free() {
        let slot = Slot::new();
        let run_a = run("a");
        let (first, turn) = slot.take(&run_a, 1, LayerIndex(0)).await.unwrap();
        tokio::select! {
            biased;
            _ = slot.take(&run_a, 2, LayerIndex(0)) => panic!("the turn is taken"),
            () = std::future::ready(()) => {}
        }
        drop((first, turn));
        slot.take(&run("b"), 1, LayerIndex(0)).await.unwrap();
    }
}
