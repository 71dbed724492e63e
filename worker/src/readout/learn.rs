//! The thread of a readout: learns, measures, and says what came out.

use std::sync::Arc;

use bytes::Bytes;
use proto::limits::PAYLOAD_BYTES;
use proto::wire;
use proto::wire::readout_reply::Reply;
use scff::layer::Tensors;
use scff::readout::{Contributions, Course, Features, NotFinite, Readout};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::plan::ReadoutPlan;
use crate::busy::Busy;
use crate::circle::Circle;
use crate::compute::{Compute, catch};
use crate::exchange::Exchange;
use crate::party::Shared;
use crate::peers::Post;
use crate::refusal::Refusal;
use crate::slot::Turn;

/// What the thread works with.
pub struct Tools {
    /// Threads that compute.
    pub compute: Arc<Compute>,
    /// Where it notes that it computes.
    pub busy: Arc<Busy>,
    /// Whether nobody wants to know any more.
    pub over: CancellationToken,
}

/// What it learns from and is measured on: features that are owned, of each part, and all labels, likewise.
pub struct Material {
    /// Of each part.
    pub features: Vec<Features>,
    /// Of all parts, one after the other.
    pub labels: Vec<u32>,
}

/// Why it ends early.
enum Ended {
    Diverged(NotFinite),
    Refused(Refusal),
    /// Nobody listens.
    Unheard,
}

impl From<NotFinite> for Ended {
    fn from(error: NotFinite) -> Self {
        Self::Diverged(error)
    }
}

/// Learns, measures, and replies. All memory is free before a last reply that says why it does not.
pub fn learn(
    plan: &ReadoutPlan,
    tools: &Tools,
    (material, post): (Material, Post),
    turn: Turn,
    replies: &Sender<Result<Reply, Refusal>>,
) {
    let Some(circle) = plan.circle() else { return };
    let sums = Sums { circle, post, rounds: 0, plan, tools };
    let work = || tools.busy.during(|| tools.compute.install(|| read_out(plan, &material, sums, replies)));
    let result = catch(work).unwrap_or_else(|panicked| Err(Ended::Refused(panicked)));
    drop((material, turn));
    let last = match result {
        Ok(()) | Err(Ended::Unheard) => return,
        Err(Ended::Diverged(NotFinite { epoch, .. })) => {
            Ok(Reply::Diverged(wire::ReadoutDiverged { epoch: epoch.0 }))
        }
        Err(Ended::Refused(refusal)) => Err(refusal),
    };
    // Nobody is listening any more where sending fails.
    let _ = replies.blocking_send(last);
}

fn read_out(
    plan: &ReadoutPlan,
    material: &Material,
    mut sums: Sums<'_>,
    replies: &Sender<Result<Reply, Refusal>>,
) -> Result<(), Ended> {
    let send = |reply: Reply| replies.blocking_send(Ok(reply)).map_err(|_| Ended::Unheard);
    let mut rest = &material.labels[..];
    let labels: Vec<&[u32]> = plan
        .parts
        .iter()
        .map(|part| {
            let (own, after) = rest.split_at(part.samples);
            rest = after;
            own
        })
        .collect();
    let course = Course {
        blocks: plan.own(),
        features: &material.features[0],
        labels: labels[0],
        classes: plan.classes,
        spec: &plan.spec,
        seed: plan.seed,
    };
    let readout = course.train(
        |contributions| sums.add_up(contributions),
        |epoch, loss| send(Reply::Epoch(wire::ReadoutEpoch { epoch: epoch.0, loss })),
    )?;
    let measured = material.features.iter().zip(labels);
    let correct = measured
        .map(|(features, labels)| {
            let correct = readout.measure(features, labels, |contributions| sums.add_up(contributions))?;
            Ok(correct as u64)
        })
        .collect::<Result<_, Ended>>()?;
    send(Reply::Measured(wire::ReadoutMeasured { correct }))?;
    let bytes = bytes(&readout);
    let starts = (0..bytes.len()).step_by(PAYLOAD_BYTES);
    let mut parts = starts.map(|start| bytes.slice(start..bytes.len().min(start + PAYLOAD_BYTES)));
    parts.try_for_each(|part| send(Reply::Parameters(part)))
}

/// The weights that are owned, and the biases.
fn bytes(readout: &Readout) -> Bytes {
    let parameters: Tensors = readout.parameters();
    let (weight, bias) = (parameters.weight(), parameters.bias());
    weight.iter().chain(bias).flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// Sums over all who own blocks.
struct Sums<'a> {
    circle: Circle,
    post: Post,
    rounds: u64,
    plan: &'a ReadoutPlan,
    tools: &'a Tools,
}

impl Sums<'_> {
    fn add_up(&mut self, contributions: &Contributions) -> Result<Vec<f32>, Ended> {
        if self.tools.over.is_cancelled() {
            return Err(Ended::Unheard);
        }
        if self.circle.is_alone() {
            return Ok(self.tools.busy.waiting(|| contributions.total()));
        }
        let own = contributions.node_sums();
        let (mut exchange, mut letters) =
            Exchange::begin(self.circle.clone(), self.rounds, wire::Round::Logits, &own);
        self.rounds += 1;
        loop {
            for letter in letters {
                self.post.send(letter);
            }
            let Some(from) = exchange.wants() else { return Ok(exchange.sums().numbers) };
            let slice = self.tools.busy.waiting(|| self.post.receive(from)).map_err(Ended::Refused)?;
            letters = exchange.take(&slice).map_err(|error| {
                Ended::Refused(Refusal::malformed(Shared::Readout, &self.plan.party.group[from], &error))
            })?;
        }
    }
}
