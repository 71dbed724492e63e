//! Which layers train at the same time.

use std::ops::Range;

use scff::batch::LayerIndex;
use scff::layer::PairSource;
use scff::train::PassOn;

use super::error::{PlanError, check};
use super::stages::Stage;
use crate::config::{Config, TrainingSchedule};

/// A time in which the same layers train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Steps, counted from when its layers began.
    pub steps: Range<u64>,
    /// The layers in training, from the input up; the others are frozen, or not yet begun.
    pub members: Vec<Member>,
}

/// A layer in training during a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The layer.
    pub layer: LayerIndex,
    /// Frozen layers from here up to the layer run on what arrives.
    pub from: u32,
    /// Whether what arrives is passed on by the member below; otherwise samples arrive.
    pub live: bool,
    /// What is passed on to the member above.
    pub pass_on: PassOn,
}

impl Member {
    /// Whether no other layer trains at the same time.
    pub fn trains_alone(&self) -> bool {
        !self.live && self.pass_on == PassOn::Nothing
    }
}

/// What only layers that train at the same time must agree on.
pub fn check_joint(config: &Config) -> Result<(), PlanError> {
    check(
        config.data.views == 1,
        "data.views",
        config.data.views,
        "1 in a joint schedule: a layer passes one row of a positive pair on",
    )?;
    for (index, pair) in config.layers.windows(2).enumerate() {
        let [below, layer] = pair else { unreachable!("windows of two") };
        let takes = layer.pairs == PairSource::Takes;
        check(
            !takes || layer.negatives == below.negatives,
            &format!("layers[{}].negatives", index + 1),
            layer.negatives,
            format!("{}, as of the layer below, whose pairs it takes while both train", below.negatives),
        )?;
    }
    for (index, layer) in config.layers.iter().enumerate() {
        check(layer.epochs > 0, &format!("layers[{index}].epochs"), 0, "1 or more in a joint schedule")?;
    }
    Ok(())
}

/// Which layers train at the same time. In a joint schedule a phase ends whenever a layer's epochs are over; layers below
/// the lowest in training are frozen then, and those above the highest.
pub fn phases(schedule: TrainingSchedule, stages: &[Stage]) -> Vec<Phase> {
    if schedule == TrainingSchedule::Greedy {
        let alone = |stage: &Stage| Member {
            layer: stage.layer,
            from: stage.cut_point,
            live: false,
            pass_on: PassOn::Nothing,
        };
        return stages
            .iter()
            .map(|stage| Phase { steps: 0..stage.steps().0, members: vec![alone(stage)] })
            .collect();
    }
    let mut ends: Vec<u64> = stages.iter().map(|stage| stage.steps().0).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut start = 0;
    let mut phases = Vec::new();
    for end in ends {
        let training: Vec<&Stage> = stages.iter().filter(|stage| stage.steps().0 > start).collect();
        let mut members: Vec<Member> = Vec::new();
        for (place, stage) in training.iter().enumerate() {
            let from = members.last().map_or(stage.cut_point, |below| below.layer.0 + 1);
            let pass_on = match training.get(place + 1) {
                None => PassOn::Nothing,
                Some(_) if stages[stage.layer.0 as usize + 1].spec.makes_pairs() => PassOn::Positives,
                Some(_) => PassOn::Pairs,
            };
            members.push(Member { layer: stage.layer, from, live: place > 0, pass_on });
        }
        phases.push(Phase { steps: start..end, members });
        start = end;
    }
    phases
}

#[cfg(test)]
mod tests {
    use scff::batch::Step;

    use super::*;
    use crate::plan::tests::plan;

    /// Phases as (steps, members as (layer, from, live, passed on)).
    type Members = Vec<(u32, u32, bool, PassOn)>;

    fn phases_of(overrides: &[&str]) -> Vec<(Range<u64>, Members)> {
        let joint = ["training.schedule=joint", "data.views=1", "layers.1.negatives=3"];
        let plan = plan(&[&joint[..], overrides].concat()).unwrap();
        let member = |member: &Member| (member.layer.0, member.from, member.live, member.pass_on);
        plan.phases
            .iter()
            .map(|phase| (phase.steps.clone(), phase.members.iter().map(member).collect()))
            .collect()
    }

    #[test]
    fn layers_train_together_until_their_own_epochs_are_over() {
        assert_eq!(
            phases_of(&["layers.0.epochs=2", "layers.1.epochs=3"]),
            [
                (0..1_200, vec![(0, 0, false, PassOn::Pairs), (1, 1, true, PassOn::Nothing)]),
                (1_200..1_800, vec![(1, 0, false, PassOn::Nothing)]),
            ]
        );
        assert_eq!(
            phases_of(&["layers.0.epochs=2", "layers.1.epochs=1", "layers.1.pairs=makes"]),
            [
                (0..600, vec![(0, 0, false, PassOn::Positives), (1, 1, true, PassOn::Nothing)]),
                (600..1_200, vec![(0, 0, false, PassOn::Nothing)]),
            ]
        );
    }

    #[test]
    fn a_joint_run_goes_on_in_the_phase_of_its_checkpoint() {
        let set = ["training.schedule=joint", "data.views=1", "layers.1.negatives=3", "layers.1.epochs=21"];
        let plan = plan(&set).unwrap();
        assert_eq!(plan.phase_at(&[false, false], None), 0);
        assert_eq!(plan.phase_at(&[true, false], Some(Step(11_000))), 0);
        assert_eq!(plan.phase_at(&[true, false], Some(Step(12_000))), 1);
        assert_eq!(plan.phase_at(&[true, true], Some(Step(12_100))), 2);
        assert!(!plan.frozen_before(LayerIndex(0), 0) && plan.frozen_before(LayerIndex(0), 1));
        assert!(!plan.frozen_before(LayerIndex(1), 1) && plan.frozen_before(LayerIndex(1), 2));
        let greedy = self::plan(&[]).unwrap();
        assert_eq!(greedy.phase_at(&[true, false], Some(Step(7))), 1);
    }
}
