//! What those who train a member of a phase are told when they begin.

use proto::wire;
use scff::train::PassOn;

use super::attempt::{Attempt, PhaseRun, kept_bytes};
use crate::estimate::passed_on;
use crate::way::Way;

impl PhaseRun<'_> {
    /// What the trainer of a member is told.
    pub(super) fn begin(&self, place: usize, attempt: &Attempt) -> wire::TrainBegin {
        let Self { plan, phase, assignment, .. } = self;
        let (member, group) = (&phase.members[place], &assignment.groups[place]);
        let stage = plan.stage(member);
        wire::TrainBegin {
            run: self.run.to_owned(),
            layer: stage.layer.0,
            spec: Some((&stage.spec).into()),
            hyperparameters: Some((&stage.hyperparameters).into()),
            cut_point: member.from,
            batch: plan.batch as u32,
            two_views: plan.two_views,
            elements: plan.stages[member.from as usize].spec.map.inputs() as u64,
            wire: proto::wire::Wire::from(plan.precision).into(),
            kept_bytes: kept_bytes(member, group),
            state_length: 0, // known once the state is encoded
            attempt: attempt.number,
            live: member.live,
            pass_on: match member.pass_on {
                PassOn::Nothing => wire::PassOn::Nothing,
                PassOn::Positives => wire::PassOn::Positives,
                PassOn::Pairs => wire::PassOn::Pairs,
            }
            .into(),
            feeders: place.checked_sub(1).map(|below| self.feeders(below, attempt)),
            takers: phase.members.get(place + 1).map(|_| self.takers(place + 1, attempt)),
            group: attempt.group(place).to_vec(),
            place: 0,
            silence_seconds: group[0].connection.silence().duration().as_secs() as u32,
        }
    }

    /// How what the member below one passes on comes to it.
    fn way(&self, above: usize) -> Way {
        let (groups, grids) = (&self.assignment.groups, &self.assignment.grids);
        let own_pairs = self.plan.own_pairs_suffice(&self.phase.members[above]);
        Way::choose(groups[above - 1].len(), grids[above], own_pairs)
    }

    /// Those who train a member, as the one above it sees them.
    fn feeders(&self, place: usize, attempt: &Attempt) -> wire::Feeders {
        wire::Feeders {
            workers: attempt.shards[place].clone(),
            way: wire::Way::from(self.way(place + 1)).into(),
            rows: passed_on(self.plan, &self.phase.members[place]),
            step: attempt.start.0,
        }
    }

    /// Those who train a member, as the one below it sees them.
    fn takers(&self, place: usize, attempt: &Attempt) -> wire::Takers {
        let (way, workers) = (self.way(place), &attempt.shards[place]);
        let count = if way == Way::First { 1 } else { workers.len() };
        wire::Takers {
            layer: self.phase.members[place].layer.0,
            workers: workers[..count].to_vec(),
            way: wire::Way::from(way).into(),
        }
    }
}
