//! One stage: training one layer, from its checkpoint to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use proto::state::{decode_state, encode_state, parts};
use proto::wire;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use scff::batch::Step;
use scff::layer::LayerState;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::cluster::{Worker, WorkerFailure};
use crate::ledger::Ledger;
use crate::order::Order;
use crate::plan::{Plan, Stage};
use crate::progress::StageProgress;
use crate::run_dir::{Carried, RunDir, RunDirError};
use crate::stream::{BatchSource, Views};
use crate::transform::{Job, QUEUE, through};

/// Why a stage ended early.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A worker failed.
    #[error(transparent)]
    Worker(#[from] WorkerFailure),
    /// The run directory failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

/// Who does what in a stage.
pub struct Assignment {
    /// Who trains the layer.
    pub trainer: Worker,
    /// Who transforms activations for it.
    pub transformers: Vec<Worker>,
}

/// Everything that a stage needs.
pub struct StageRun<'a> {
    /// The run's plan.
    pub plan: &'a Plan,
    /// The stage.
    pub stage: &'a Stage,
    /// The run's name on the workers.
    pub run: &'a str,
    /// The run directory.
    pub dir: &'a RunDir,
    /// The training samples.
    pub views: &'a Views,
    /// Who does what.
    pub assignment: Assignment,
}

impl StageRun<'_> {
    /// Trains the layer from `state` on, with a checkpoint now and then; returns the state after the last step.
    pub async fn train(
        self,
        state: LayerState,
        carried: Carried,
    ) -> Result<(LayerState, Carried), StageError> {
        let Self { plan, stage, dir, .. } = self;
        let start = state.step;
        if start >= stage.steps() {
            return Ok((state, carried));
        }
        let progress = StageProgress::new(plan, stage, dir, start, carried)?;
        let bytes_sent = Arc::new(AtomicU64::new(carried.bytes_sent));
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let trainer = &self.assignment.trainer;
        let call = trainer.client.clone();
        // The call returns once the worker has read `begin`, so the sending must already be under way.
        let mut tasks = JoinSet::new();
        self.spawn_senders(&mut tasks, &state, requests, &bytes_sent);
        let replies = { call }.train(ReceiverStream::new(outgoing)).await;
        let replies = replies.map_err(|status| WorkerFailure::of(trainer, &status))?.into_inner();
        let mut listener = Listener {
            stage: &self,
            replies,
            progress,
            carried,
            bytes_sent,
            began: Instant::now(),
            part: Vec::new(),
            last: None,
        };
        loop {
            tokio::select! {
                done = listener.listen() => {
                    let last = done?.ok_or_else(|| WorkerFailure::gone(trainer))?;
                    return Ok(last);
                }
                Some(task) = tasks.join_next() => task.expect("senders do not panic")?,
            }
        }
    }

    /// The tasks that prepare batches, transform their activations and send them to the trainer.
    fn spawn_senders(
        &self,
        tasks: &mut JoinSet<Result<(), WorkerFailure>>,
        state: &LayerState,
        requests: mpsc::Sender<wire::TrainRequest>,
        bytes_sent: &Arc<AtomicU64>,
    ) {
        let Self { plan, stage, assignment, .. } = self;
        let state_bytes = Bytes::from(encode_state(state, proto::state::Header::new()));
        let kept_rows = (assignment.trainer.description.cache_bytes / stage.row_bytes(plan)) as usize;
        let begin = wire::TrainBegin {
            run: self.run.to_owned(),
            layer: stage.layer.0,
            spec: Some((&stage.spec).into()),
            hyperparameters: Some((&stage.hyperparameters).into()),
            cut_point: stage.cut_point,
            batch: plan.batch as u32,
            two_views: plan.two_views,
            elements: stage.elements as u64,
            wire: proto::wire::Wire::from(plan.precision).into(),
            kept_rows: kept_rows as u64,
            state_length: state_bytes.len() as u64,
        };
        let source = BatchSource {
            order: Order::new(plan, stage),
            ledger: Ledger::new(kept_rows),
            views: self.views.clone(),
            precision: plan.precision,
            row_bytes: plan.widest(stage) * plan.precision.bytes(),
        };
        let steps = state.step.0..stage.steps().0;
        let (jobs, mut prepared) = mpsc::channel(QUEUE);
        std::thread::spawn(move || source.produce(steps, &jobs));
        if stage.cut_point > 0 {
            let (transformed, results) = mpsc::channel(QUEUE);
            let workers = assignment.transformers.clone();
            let begin = wire::TransformBegin {
                run: self.run.to_owned(),
                inputs: plan.shape.len() as u64,
                layers: stage.cut_point,
                wire: proto::wire::Wire::from(plan.precision).into(),
                taps: Vec::new(),
            };
            let jobs = std::mem::replace(&mut prepared, results);
            let bytes_sent = bytes_sent.clone();
            tasks.spawn(async move { through(&workers, &begin, jobs, transformed, &bytes_sent).await });
        }
        let checkpoints = Checkpoints { every: plan.checkpoint_every, last: stage.steps() };
        let bytes_sent = bytes_sent.clone();
        tasks.spawn(async move {
            // A closed channel means that the worker ended the call; its reply says why.
            let _ = send(begin, state_bytes, prepared, checkpoints, &requests, &bytes_sent).await;
            Ok(())
        });
    }
}

/// After which steps the state is asked for: now and then, and after the last.
#[derive(Clone, Copy)]
struct Checkpoints {
    every: u64,
    last: Step,
}

impl Checkpoints {
    fn due(self, taken: u64) -> bool {
        taken.is_multiple_of(self.every) || taken == self.last.0
    }
}

async fn send(
    begin: wire::TrainBegin,
    state: Bytes,
    mut batches: mpsc::Receiver<Job<wire::Batch>>,
    checkpoints: Checkpoints,
    requests: &mpsc::Sender<wire::TrainRequest>,
    bytes_sent: &AtomicU64,
) -> Result<(), mpsc::error::SendError<wire::TrainRequest>> {
    let send = async |request: Request| {
        let request = wire::TrainRequest { request: Some(request) };
        bytes_sent.fetch_add(request.encoded_len() as u64, Ordering::Relaxed);
        requests.send(request).await
    };
    send(Request::Begin(begin)).await?;
    for part in parts(&state) {
        send(Request::State(part)).await?;
    }
    while let Some(Job { tag, rows }) = batches.recv().await {
        let taken = tag.step + 1;
        send(Request::Batch(tag)).await?;
        for rows in rows {
            send(Request::Rows(rows)).await?;
        }
        if checkpoints.due(taken) {
            send(Request::Checkpoint(wire::Checkpoint {})).await?;
        }
    }
    Ok(())
}

/// Hears the trainer's replies.
struct Listener<'a> {
    stage: &'a StageRun<'a>,
    replies: tonic::Streaming<wire::TrainReply>,
    progress: StageProgress,
    /// What the stage had carried when this sitting began.
    carried: Carried,
    bytes_sent: Arc<AtomicU64>,
    began: Instant,
    /// The state that is arriving.
    part: Vec<u8>,
    last: Option<(LayerState, Carried)>,
}

impl Listener<'_> {
    /// Listens until the last state has come, or the worker ends the stream.
    async fn listen(&mut self) -> Result<Option<(LayerState, Carried)>, StageError> {
        let trainer = &self.stage.assignment.trainer;
        while self.last.is_none() {
            let reply = self.replies.message().await.map_err(|status| WorkerFailure::of(trainer, &status))?;
            match reply.map(|reply| reply.reply) {
                Some(Some(Reply::Ready(_))) => {}
                Some(Some(Reply::Step(report))) => self
                    .progress
                    .step(&report)
                    .map_err(|source| RunDirError::Io { path: self.stage.dir.metrics_file(), source })?,
                Some(Some(Reply::State(part))) => self.state(part)?,
                Some(None) => return Err(WorkerFailure::protocol(trainer, "an empty reply").into()),
                None => return Ok(None),
            }
        }
        Ok(self.last.take())
    }

    fn state(&mut self, part: wire::StatePart) -> Result<(), StageError> {
        let StageRun { stage, dir, assignment: Assignment { trainer, .. }, .. } = self.stage;
        self.part.extend_from_slice(&part.part);
        if (self.part.len() as u64) < part.length {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.part);
        let (state, _) = decode_state(&bytes).map_err(|error| WorkerFailure::protocol(trainer, error))?;
        state.check(&stage.spec.map).map_err(|error| WorkerFailure::protocol(trainer, error))?;
        let carried = Carried {
            seconds: self.carried.seconds + self.began.elapsed().as_secs_f64(),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            ..self.progress.carried()
        };
        if state.step >= stage.steps() {
            self.last = Some((state, carried));
            return Ok(());
        }
        // Writing takes milliseconds and the next batches are on their way already.
        tokio::task::block_in_place(|| dir.save_checkpoint(stage.layer, &state, &carried))?;
        Ok(())
    }
}
