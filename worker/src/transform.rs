//! One transform stream: rows in, rows out, in order.

use std::pin::Pin;
use std::sync::Arc;

use prost::Message;
use proto::limits::{HEAD_BYTES, MESSAGE_BYTES};
use proto::row_bytes::{RowBytes, RowLength};
use proto::rows::{Precision, Unfit};
use proto::wire::transform_request::Request;
use proto::{WireError, required, wire};
use scff::frozen::{self, FrozenLayer};
use scff::layer::ELEMENTS;
use scff::samples::Samples;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use crate::activity::Call;
use crate::compute::Pending;
use crate::node::Node;
use crate::refusal::Refusal;
use crate::run::RunName;
use crate::samples::{decode, encode_together};

/// Messages that are under way on the pool, besides one that goes out and one that comes in.
const AHEAD: usize = 2;

/// Bytes that it takes to say how long a row is, at most.
const LENGTH_BYTES: usize = 5;

/// Rows that are under way on the pool.
pub type PendingRows = Pending<Result<wire::Rows, Refusal>>;

/// A stream of replies.
pub type Replies = Pin<Box<dyn Stream<Item = Result<wire::Rows, Status>> + Send>>;

/// Answers every message of `requests` by one of the result, while `call` lasts.
pub fn stream(node: Arc<Node>, requests: Streaming<wire::TransformRequest>, call: Call) -> Replies {
    let (queue, pending) = mpsc::channel(AHEAD);
    let meters = node.meters.clone();
    let span = tracing::info_span!("transform", peer = call.peer().map(display), run = Empty, layers = Empty);
    let streams = node.streams.clone();
    let session = async move {
        let _call = call;
        let refusal = tokio::select! {
            result = take_in(&node, requests, &queue) => result.err(),
            () = node.closing() => Some(Refusal::Closing),
            () = queue.closed() => None,
        };
        if let Some(refusal) = refusal {
            node.complaints.tell(&format!("a transform stream ends: {refusal}"));
            // Nobody is listening any more where sending fails.
            let _ = queue.send(Err(refusal)).await;
        }
    };
    streams.spawn(session.instrument(span));
    Box::pin(
        ReceiverStream::new(pending)
            .then(|pending: Result<PendingRows, Refusal>| async { Ok(pending?.wait().await??) })
            .map(move |reply: Result<wire::Rows, Status>| reply.inspect(|rows| meters.sent_rows(rows))),
    )
}

async fn take_in(
    node: &Node,
    mut requests: Streaming<wire::TransformRequest>,
    queue: &mpsc::Sender<Result<PendingRows, Refusal>>,
) -> Result<(), Refusal> {
    let first = node.soon(&mut requests, "`begin` first").await?.and_then(|first| first.request);
    let Some(Request::Begin(begin)) = first else {
        return Err(WireError::new("request", "no `begin`", "`begin` first").into());
    };
    let run = RunName::parse(begin.run.clone())?;
    Span::current().record("run", display(&run)).record("layers", begin.layers);
    let _passing = node.slot.pass(&run)?;
    let passage = Arc::new(Passage::parse(begin, &run, node)?);
    while let Some(request) = next(&mut requests).await? {
        let Request::Rows(rows) = request else {
            return Err(WireError::new("request", "another `begin`", "`rows`").into());
        };
        node.meters.received_bytes("rows", rows.encoded_len());
        node.meters.transformed.inc_by(u64::from(rows.rows));
        let rows = passage.rows(rows)?;
        // Room first: what is started counts as under way.
        let Ok(room) = queue.reserve().await else { break };
        room.send(Ok(passage.clone().start(node, rows)));
    }
    Ok(())
}

async fn next(requests: &mut Streaming<wire::TransformRequest>) -> Result<Option<Request>, Refusal> {
    match requests.message().await? {
        Some(message) => Ok(Some(required("request", message.request)?)),
        None => Ok(None),
    }
}

/// The way of a row through the layers.
pub struct Passage {
    layers: Vec<Arc<FrozenLayer>>,
    taps: Vec<bool>,
    length: RowLength,
    precision: Precision,
    /// Rows of a message.
    limit: usize,
}

impl Passage {
    /// The way that a message names, through layers that are hosted here.
    pub fn parse(begin: wire::TransformBegin, run: &RunName, node: &Node) -> Result<Self, Refusal> {
        let precision = Precision::try_from(begin.wire)?;
        let inputs = usize::try_from(begin.inputs).unwrap_or(usize::MAX);
        if !(1..=ELEMENTS).contains(&inputs) {
            return Err(WireError::new("inputs", begin.inputs, format_args!("1 to {ELEMENTS}")).into());
        }
        let taps = begin.taps;
        if !taps.is_empty() && taps.len() != begin.layers as usize {
            let expected = format_args!("none, or one for each of {} layers", begin.layers).to_string();
            return Err(WireError::new("taps", format_args!("{} flags", taps.len()), expected).into());
        }
        let layers = node.with_hosted(|hosted| hosted.layers(run, 0..begin.layers))?;
        let length = layers.first().map_or(RowLength::Fixed(inputs), |layer| layer.spec().reads());
        if length.longest() != inputs {
            return Err(WireError::new("inputs", inputs, length.longest()).into());
        }
        let untapped = !taps.is_empty() && !taps.contains(&true);
        if let (RowLength::Sequences { .. }, true) = (length, untapped) {
            return Err(WireError::new("taps", "none of a recurrent layer", "one at least").into());
        }
        let mut passage = Self { layers, taps, length, precision, limit: 0 };
        passage.limit = (MESSAGE_BYTES - HEAD_BYTES) / passage.widest_row_bytes();
        if passage.limit == 0 {
            let expected = format_args!("rows of at most {MESSAGE_BYTES} bytes").to_string();
            let found = format_args!("{} bytes", passage.widest_row_bytes()).to_string();
            return Err(WireError::new("taps", found, expected).into());
        }
        Ok(passage)
    }

    /// Rows that come in.
    pub fn rows(&self, rows: wire::Rows) -> Result<RowBytes, WireError> {
        RowBytes::parse(rows, self.length, self.precision, self.limit)
    }

    /// Precision of what comes in and goes out.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Features of a sample: 0 where no layer's outputs are read.
    pub fn features(&self) -> usize {
        let tapped = self.layers.iter().zip(&self.taps).filter(|(_, tap)| **tap);
        tapped.map(|(layer, _)| layer.spec().features()).sum()
    }

    /// Bytes of a row that comes in.
    fn row_bytes(&self) -> usize {
        self.length.longest() * self.precision.bytes()
    }

    /// Bytes of a row where it is widest, so that neither a reply nor anything on its way is larger than a message.
    fn widest_row_bytes(&self) -> usize {
        if self.layers.is_empty() {
            return self.row_bytes();
        }
        let outputs = |layer: &Arc<FrozenLayer>| layer.spec().outputs();
        let outputs = self.layers.iter().map(outputs).max().unwrap_or(0);
        let widest = outputs.max(self.features()).max(self.length.longest());
        let length = if matches!(self.length, RowLength::Sequences { .. }) { LENGTH_BYTES } else { 0 };
        widest * size_of::<f32>() + length
    }

    /// Sends rows on their way.
    pub fn start(self: Arc<Self>, node: &Node, rows: RowBytes) -> PendingRows {
        if self.layers.is_empty() {
            // What passes no layer is passed on as it came.
            return Pending::ready(Ok(rows.into()));
        }
        node.compute.start(move || self.pass(&rows))
    }

    fn pass(&self, rows: &RowBytes) -> Result<wire::Rows, Refusal> {
        let samples = decode(&rows.iter().collect::<Vec<_>>(), self.length, self.precision);
        if samples.not_finite().is_some() {
            return Err(
                WireError::new("rows.payload", "a number that is not finite", "finite numbers").into()
            );
        }
        let result = match self.taps.as_slice() {
            [] => self.through(samples)?,
            taps => frozen::features(&self.layers, taps, samples).into(),
        };
        let last = self.layers.len() - 1;
        encode_together(&result, self.precision).map_err(|unfit| self.unfit(last, unfit))
    }

    /// What the last layer passes on. Each is asked what it makes, for the next might make zeros of what is not finite.
    fn through(&self, mut samples: Samples) -> Result<Samples, Refusal> {
        for (index, layer) in self.layers.iter().enumerate() {
            samples = layer.pass(&samples);
            if let Some(value) = samples.not_finite() {
                return Err(self.unfit(index, Unfit(value)));
            }
        }
        Ok(samples)
    }

    fn unfit(&self, index: usize, unfit: Unfit) -> Refusal {
        Refusal::Unfit { layer: index as u32, name: self.layers[index].spec().name.clone(), unfit }
    }
}
