//! Drives a trainer on a thread of its own: brings it what it waits for, and sends what it makes.

use std::sync::Arc;

use proto::wire;
use proto::wire::train_reply::Reply;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::busy::Busy;
use crate::compute::{Compute, catch};
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
            }
        }
        let waiting = (system.now)();
        let Some(event) = channels.receive(trainer.wants())? else { return Ok(()) };
        let waited = (system.now)().saturating_sub(waiting);
        outgoing = busy.during(|| {
            if matches!(&event, Event::Told(Instruction::Step(batch)) if *hang_in_step == Some(batch.step()))
            {
                hang();
            }
            trainer.handle(event, waited)
        })?;
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

impl Channels {
    /// Waits for what is wanted; nothing where the session has ended.
    fn receive(&mut self, wants: Wants) -> Result<Option<Event>, Refusal> {
        match wants {
            Wants::Instruction => Ok(self.instructions.blocking_recv().map(Event::Told)),
            Wants::Slice(from) => self.post.receive(from).map(|slice| Some(Event::Slice(from, slice))),
        }
    }
}
