//! Drives a trainer on a thread of its own: brings it what it waits for, and sends what it makes.

use std::sync::Arc;

use proto::wire;
use proto::wire::train_reply::Reply;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::ahead::Ahead;
use crate::busy::Busy;
use crate::compute::{Compute, catch};
use crate::outlets::Outbox;
use crate::peers::Post;
use crate::refusal::Refusal;
use crate::session::Instruction;
use crate::slot::Turn;
use crate::stage::StagePlan;
use crate::system::System;
use crate::trainer::{Event, Outgoing, Trainer, Wants};

/// What the thread is connected to.
pub struct Channels {
    /// From the session.
    pub instructions: Receiver<Instruction>,
    /// From and to those who share the layer.
    pub post: Post,
    /// Wakes the thread when it waits for both.
    pub runtime: Handle,
    /// To those who train the layer above.
    pub outbox: Outbox,
}

/// What the thread works with.
pub struct Tools {
    /// Threads that compute.
    pub compute: Arc<Compute>,
    /// Its time.
    pub system: System,
    /// Where it notes that it computes.
    pub busy: Arc<Busy>,
    /// A step in which it computes without an end, for tests.
    pub hang_in_step: Option<u64>,
}

/// Carries out instructions until there are no more or nobody listens. All memory is free before the last reply.
pub fn drive(
    plan: StagePlan,
    tools: Tools,
    turn: Turn,
    channels: Channels,
    replies: &Sender<Result<Reply, Refusal>>,
) {
    let result = catch(|| obey(plan, &tools, channels, replies)).and_then(|result| result);
    drop(turn);
    if let Err(refusal) = result {
        let _ = replies.blocking_send(Err(refusal));
    }
}

fn obey(
    plan: StagePlan,
    tools: &Tools,
    mut channels: Channels,
    replies: &Sender<Result<Reply, Refusal>>,
) -> Result<(), Refusal> {
    let Some(Instruction::Open(state)) = channels.instructions.blocking_recv() else { return Ok(()) };
    let Tools { compute, system, busy, hang_in_step } = tools;
    let mut ahead = Ahead::new(compute.clone(), busy.clone(), plan.step_limit);
    let mut trainer = busy.during(|| Trainer::open(plan, compute.clone(), system.now, &state))?;
    drop(state);
    let mut outgoing = vec![Outgoing::Up(Reply::Ready(wire::Ready {}))];
    loop {
        for message in outgoing {
            match message {
                Outgoing::Up(reply) => {
                    let Ok(()) = replies.blocking_send(Ok(reply)) else { return Ok(()) };
                }
                Outgoing::Letter(letter) => channels.post.send(letter),
                Outgoing::Prepare(task) => ahead.prepare(*task),
                Outgoing::Output(output) => channels.outbox.send(output),
            }
        }
        let waiting = (system.now)();
        let Some(event) = channels.receive(&trainer, &mut ahead)? else { return Ok(()) };
        let waited = (system.now)().saturating_sub(waiting);
        outgoing = busy.during(|| {
            if hang_in_step.is_some() && begun(&event, trainer.wants()) == *hang_in_step {
                hang();
            }
            trainer.handle(event, waited)
        })?;
    }
}

/// The step that begins with an event.
fn begun(event: &Event, wants: Wants) -> Option<u64> {
    match (event, wants) {
        (Event::Told(Instruction::Step(batch)), Wants::Instruction) => Some(batch.step()),
        (Event::Prepared(done), _) => Some(done.step.0),
        _ => None,
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

impl Channels {
    /// Waits for what is wanted; nothing where the session has ended.
    fn receive(&mut self, trainer: &Trainer, ahead: &mut Ahead) -> Result<Option<Event>, Refusal> {
        match trainer.wants() {
            Wants::Instruction => Ok(ahead.told(|| self.instructions.blocking_recv()).map(Event::Told)),
            Wants::Prepared => ahead.prepared().map(|done| Some(Event::Prepared(Box::new(done)))),
            Wants::Slice(from) => {
                if trainer.has_time() && ahead.is_empty() {
                    return self.slice_or_batch(from, ahead);
                }
                self.slice(from)
            }
        }
    }

    fn slice(&mut self, from: usize) -> Result<Option<Event>, Refusal> {
        self.post.receive(from).map(|slice| Some(Event::Slice(from, slice)))
    }

    /// Waits for a slice, or for the next batch, which comes first if both are there. Any other instruction waits for its turn.
    fn slice_or_batch(&mut self, from: usize, ahead: &mut Ahead) -> Result<Option<Event>, Refusal> {
        let Self { instructions, post, runtime, .. } = self;
        let first = runtime.block_on(async {
            tokio::select! {
                biased;
                instruction = instructions.recv() => Err(instruction),
                slice = post.next(from) => Ok(slice),
            }
        });
        match first {
            Ok(slice) => slice.map(|slice| Some(Event::Slice(from, slice))),
            Err(Some(step @ Instruction::Step(_))) => Ok(Some(Event::Told(step))),
            Err(instruction) => {
                ahead.keep(instruction);
                self.slice(from)
            }
        }
    }
}
