//! Drives a trainer on a thread of its own: brings it what it waits for, and sends what it makes.

use std::sync::Arc;

use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::busy::Busy;
use crate::compute::{Compute, catch};
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
    /// Totals, from the session too: they do not wait for the batches ahead of them.
    pub totals: Receiver<wire::Sums>,
    /// Sums, from the worker below.
    pub below: Receiver<wire::Sums>,
    /// To the worker below, where there is one.
    pub down: Option<Sender<wire::TrainRequest>>,
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
                Outgoing::Totals(sums) => {
                    let down = channels.down.as_ref().expect("who makes totals has somebody below");
                    let request = wire::TrainRequest { request: Some(Request::Totals(sums)) };
                    down.blocking_send(request).map_err(|_| Refusal::Deserted)?;
                }
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
            Wants::Totals => {
                let totals = self.totals.blocking_recv().ok_or(Refusal::Deserted)?;
                Ok(Some(Event::Told(Instruction::Totals(totals))))
            }
            Wants::Below => self.below.blocking_recv().ok_or(Refusal::Deserted).map(Event::Below).map(Some),
        }
    }
}
