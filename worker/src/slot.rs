//! The one place for a training session.

use std::sync::{Arc, Mutex, PoisonError};

use scff::batch::LayerIndex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;
use crate::run::RunName;

/// At most one session has the slot. A session of the same run takes it over; one of another run is refused.
pub struct Slot {
    holder: Arc<Mutex<Option<Holder>>>,
    turn: Arc<Semaphore>,
}

struct Holder {
    run: RunName,
    layer: LayerIndex,
    evicted: Arc<Notify>,
}

/// Possession of the slot, while the session lasts. Dropped, it lets any other session in.
pub struct Seat {
    holder: Arc<Mutex<Option<Holder>>>,
    evicted: Arc<Notify>,
}

/// The right to the memory of a training session: whoever is next waits until it is dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// A free slot.
    pub fn new() -> Self {
        Self { holder: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Takes the slot for a layer of a run. Returns once the session before has freed its memory.
    pub async fn take(&self, run: &RunName, layer: LayerIndex) -> Result<(Seat, Turn), Refusal> {
        let seat = self.sit_down(run, layer)?;
        let permit = Arc::clone(&self.turn).acquire_owned().await.expect("the semaphore is never closed");
        Ok((seat, Turn { _permit: permit }))
    }

    fn sit_down(&self, run: &RunName, layer: LayerIndex) -> Result<Seat, Refusal> {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        match &*holder {
            Some(before) if before.run != *run => {
                return Err(Refusal::Busy { run: before.run.clone(), layer: before.layer.0 });
            }
            // Stored where nobody waits for it yet.
            Some(before) => before.evicted.notify_one(),
            None => {}
        }
        let evicted = Arc::new(Notify::new());
        *holder = Some(Holder { run: run.clone(), layer, evicted: Arc::clone(&evicted) });
        Ok(Seat { holder: Arc::clone(&self.holder), evicted })
    }
}

impl Seat {
    /// Returns when another session of the run takes over.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        if holder.as_ref().is_some_and(|holder| Arc::ptr_eq(&holder.evicted, &self.evicted)) {
            *holder = None;
        }
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
    async fn the_same_run_takes_over_and_another_is_refused() {
        let slot = Arc::new(Slot::new());
        let (first, first_turn) = slot.take(&run("a"), LayerIndex(3)).await.unwrap();
        assert!(matches!(slot.take(&run("b"), LayerIndex(0)).await, Err(Refusal::Busy { layer: 3, .. })));
        let second = tokio::spawn({
            let slot = Arc::clone(&slot);
            async move { slot.take(&run("a"), LayerIndex(4)).await }
        });
        tokio::time::timeout(DEADLINE, first.evicted()).await.expect("the first is told");
        drop(first);
        assert!(matches!(slot.take(&run("b"), LayerIndex(0)).await, Err(Refusal::Busy { layer: 4, .. })));
        assert!(!second.is_finished(), "the first still has its memory");
        drop(first_turn);
        let (second, second_turn) = second.await.unwrap().unwrap();
        drop((second, second_turn));
        slot.take(&run("b"), LayerIndex(0)).await.unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_slot_free() {
        let slot = Slot::new();
        let run_a = run("a");
        let (first, turn) = slot.take(&run_a, LayerIndex(0)).await.unwrap();
        tokio::select! {
            biased;
            _ = slot.take(&run_a, LayerIndex(0)) => panic!("the turn is taken"),
            () = std::future::ready(()) => {}
        }
        drop((first, turn));
        slot.take(&run("b"), LayerIndex(0)).await.unwrap();
    }
}
