//! What happens next: a state machine without clocks, sockets or files.
//!
//! [`Schedule::handle`] takes what happened and says what to do; [`crate::run`] does it. Whatever fails is tried
//! again from the last checkpoint with the workers that are left, until several tries in a row came no further.

use scff::batch::{LayerIndex, Step};

use crate::cluster::WorkerId;

/// Tries in a row that may come no further before the run gives up.
const TRIES: u32 = 5;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run starts, with so many layers frozen already.
    Started {
        /// Layers that an earlier sitting froze.
        frozen: u32,
    },
    /// These workers are there, at least one.
    Gathered(Vec<WorkerId>),
    /// The layer in training is frozen.
    LayerFrozen,
    /// The readout is trained and measured.
    ReadOut,
    /// The task at hand failed.
    Failed {
        /// How far its checkpoint has come.
        reached: Step,
        /// Whether trying again may help.
        passing: bool,
        /// What happened.
        reason: String,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Find out which workers are there.
    Gather,
    /// Train a layer, from its checkpoint if there is one.
    Train {
        /// Which layer.
        layer: LayerIndex,
        /// Who trains it.
        trainer: WorkerId,
        /// Who transforms activations for it.
        transformers: Vec<WorkerId>,
    },
    /// Compute features on these workers, and train and measure the readout.
    ReadOut {
        /// Who transforms.
        transformers: Vec<WorkerId>,
    },
    /// All is done.
    Finish,
    /// It does not work.
    GiveUp {
        /// Why.
        reason: String,
    },
}

/// The course of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    layers: u32,
    frozen: u32,
    /// How far the task at hand had come when it last failed, and how often it has failed there.
    stuck: (Step, u32),
}

impl Schedule {
    /// A run of so many layers.
    pub fn new(layers: u32) -> Self {
        Self { layers, frozen: 0, stuck: (Step(0), 0) }
    }

    /// What to do after `event`.
    pub fn handle(&mut self, event: Event) -> Command {
        match event {
            Event::Started { frozen } => {
                self.frozen = frozen;
                Command::Gather
            }
            Event::Gathered(workers) => self.assign(&workers),
            Event::LayerFrozen => {
                self.frozen += 1;
                self.stuck = (Step(0), 0);
                Command::Gather
            }
            Event::ReadOut => Command::Finish,
            Event::Failed { passing: false, reason, .. } => Command::GiveUp { reason },
            Event::Failed { reached, reason, .. } => {
                let failures = if reached > self.stuck.0 { 1 } else { self.stuck.1 + 1 };
                self.stuck = (reached, failures);
                if failures < TRIES {
                    return Command::Gather;
                }
                Command::GiveUp {
                    reason: format!("{TRIES} tries in a row came no further; the last: {reason}"),
                }
            }
        }
    }

    /// Layer k goes to the k-th worker, round and round; the others transform for it, so that its own cores are
    /// left to training. A worker that is alone does both.
    fn assign(&self, workers: &[WorkerId]) -> Command {
        assert!(!workers.is_empty(), "gathering waits for a first worker");
        if self.frozen == self.layers {
            return Command::ReadOut { transformers: workers.to_vec() };
        }
        let trainer = workers[self.frozen as usize % workers.len()];
        let others: Vec<WorkerId> = workers.iter().copied().filter(|&worker| worker != trainer).collect();
        let transformers = if others.is_empty() { vec![trainer] } else { others };
        Command::Train { layer: LayerIndex(self.frozen), trainer, transformers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(ids: &[usize]) -> Event {
        Event::Gathered(ids.iter().map(|&id| WorkerId(id)).collect())
    }

    fn failed(reached: u64) -> Event {
        Event::Failed { reached: Step(reached), passing: true, reason: "gone".into() }
    }

    #[test]
    fn layers_go_round_the_workers_and_the_others_transform() {
        let mut schedule = Schedule::new(2);
        assert_eq!(schedule.handle(Event::Started { frozen: 0 }), Command::Gather);
        let train = |layer, trainer, transformers: &[usize]| Command::Train {
            layer: LayerIndex(layer),
            trainer: WorkerId(trainer),
            transformers: transformers.iter().map(|&id| WorkerId(id)).collect(),
        };
        assert_eq!(schedule.handle(workers(&[0, 1, 2])), train(0, 0, &[1, 2]));
        assert_eq!(schedule.handle(Event::LayerFrozen), Command::Gather);
        assert_eq!(schedule.handle(workers(&[0, 1, 2])), train(1, 1, &[0, 2]));
        // Worker 1 is lost; layer 1 goes to who is left.
        assert_eq!(schedule.handle(failed(0)), Command::Gather);
        assert_eq!(schedule.handle(workers(&[2])), train(1, 2, &[2]));
        assert_eq!(schedule.handle(Event::LayerFrozen), Command::Gather);
        assert_eq!(schedule.handle(workers(&[2])), Command::ReadOut { transformers: vec![WorkerId(2)] });
        assert_eq!(schedule.handle(Event::ReadOut), Command::Finish);
    }

    #[test]
    fn a_resumed_run_starts_with_the_first_layer_that_is_not_frozen() {
        let mut schedule = Schedule::new(2);
        schedule.handle(Event::Started { frozen: 2 });
        assert!(matches!(schedule.handle(workers(&[0])), Command::ReadOut { .. }));
    }

    #[test]
    fn failures_count_only_while_nothing_advances() {
        let mut schedule = Schedule::new(1);
        schedule.handle(Event::Started { frozen: 0 });
        for reached in [0, 0, 0, 0, 10, 10, 10, 10, 20] {
            assert_eq!(schedule.handle(failed(reached)), Command::Gather, "at {reached}");
        }
        for _ in 0..3 {
            assert_eq!(schedule.handle(failed(20)), Command::Gather);
        }
        let last = schedule.handle(failed(20));
        assert!(
            matches!(&last, Command::GiveUp { reason } if reason.ends_with("the last: gone")),
            "{last:?}"
        );
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        let mut schedule = Schedule::new(1);
        let event = Event::Failed { reached: Step(0), passing: false, reason: "no".into() };
        assert_eq!(schedule.handle(event), Command::GiveUp { reason: "no".into() });
    }
}
