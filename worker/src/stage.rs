//! What a training stream is about to train, checked.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use proto::layer::hyperparameters;
use proto::row_bytes::RowLength;
use proto::rows::Precision;
use proto::{WireError, limits, required, wire};
use scff::batch::{LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::{LayerMap, LayerSpec};
use scff::train::{Hyperparameters, PassOn, PassedOn, Round};

use crate::hosted::Hosted;
use crate::party::{Party, Shared};
use crate::passed_rows::{Output, PassedRows};
use crate::passing::{Feeders, Takers, Way, own_pairs};
use crate::refusal::Refusal;
use crate::run::RunName;
use crate::samples::encode;
use crate::share::Share;

/// How much memory there is.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// All that this process may use, in bytes.
    pub memory_bytes: u64,
    /// For kept activations, in bytes.
    pub cache_bytes: u64,
}

/// One training stage, which fits the hosted layers and the memory.
#[derive(Clone)]
pub struct StagePlan {
    /// The run.
    pub run: RunName,
    /// The layer's index.
    pub layer: LayerIndex,
    /// What is fixed about the layer.
    pub spec: LayerSpec,
    /// How it learns.
    pub hyperparameters: Hyperparameters,
    /// The hosted layers that run on what arrives, up to the layer.
    pub prefix: Vec<Arc<FrozenLayer>>,
    /// Which attempt at training its run's layers it belongs to.
    pub attempt: u64,
    /// What is passed on in each step.
    pub pass_on: PassOn,
    /// Who passes on what arrives, unless the client sends it.
    pub feeders: Option<Feeders>,
    /// To whom the layer's outputs go.
    pub takers: Option<Takers>,
    /// Which part of the layer is trained here, and who trains the others.
    pub share: Share,
    /// What the batches look like.
    pub shape: BatchShape,
    /// How many bytes of activations may be kept.
    pub kept_bytes: usize,
    /// Bytes of the state that comes first.
    pub state_length: u64,
    /// How long a step may take.
    pub step_limit: Duration,
    memory_bytes: u64,
}

/// What every batch of a stage looks like.
#[derive(Clone, Copy, Debug)]
pub struct BatchShape {
    /// Samples.
    pub size: usize,
    /// Whether the second halves of pairs are other views than the first.
    pub two_views: bool,
    /// Elements of an activation.
    pub length: RowLength,
    /// In which precision activations come and are passed on.
    pub precision: Precision,
    /// Where what arrives comes from.
    pub feed: Feed,
}

/// What arrives with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Activations of sample keys that are not kept yet.
    Keys,
    /// One row for each sample, of a layer that trains at the same time.
    LiveSamples,
    /// One row for each pair, likewise.
    LivePairs,
    /// One row for each pair whose first half is one of some samples: from the first to before the last.
    LiveOwnPairs(usize, usize),
}

impl BatchShape {
    /// Bytes of the longest activation on the wire.
    pub fn row_bytes(&self) -> usize {
        self.length.longest() * self.precision.bytes()
    }

    /// Rows of a batch with so many negative pairs per sample, those kept among them.
    pub fn rows(&self, shifts: usize) -> usize {
        match self.feed {
            Feed::Keys if self.two_views => 2 * self.size,
            Feed::Keys | Feed::LiveSamples => self.size,
            Feed::LivePairs => self.size.saturating_mul(shifts.saturating_add(1)),
            Feed::LiveOwnPairs(first, end) => (end - first).saturating_mul(shifts.saturating_add(1)),
        }
    }

    /// Rows that the layer below passes on in a step, and the shifts by which its pairs are known.
    pub fn passed_on_below(&self, batch: &wire::Batch) -> Result<(usize, Vec<usize>), WireError> {
        let shifts = |shifts: &[u32]| shifts.iter().map(|&shift| shift as usize).collect();
        match self.feed {
            Feed::LivePairs | Feed::LiveOwnPairs(..) => {
                Ok((self.size.saturating_mul(batch.shifts.len() + 1), shifts(&batch.shifts)))
            }
            Feed::Keys | Feed::LiveSamples if (1..self.size as u64).contains(&batch.shift_below.into()) => {
                Ok((self.size, shifts(&[batch.shift_below])))
            }
            Feed::Keys | Feed::LiveSamples => {
                let expected = format_args!("1 to {}", self.size - 1).to_string();
                Err(WireError::new("batch.shift_below", batch.shift_below, expected))
            }
        }
    }
}

impl StagePlan {
    /// Checks a message against the layers and the memory that are here.
    pub fn parse(begin: wire::TrainBegin, hosted: &Hosted, budget: Budget) -> Result<Self, Refusal> {
        let run = RunName::parse(begin.run)?;
        let spec = LayerSpec::try_from(required("spec", begin.spec)?)?;
        let message = required("hyperparameters", begin.hyperparameters)?;
        let hyperparameters = hyperparameters(message, &spec, begin.two_views)?;
        let size = between("batch", u64::from(begin.batch), 2, limits::BATCH)?;
        let elements = usize::try_from(begin.elements).unwrap_or(usize::MAX);
        let precision = begin.wire.try_into()?;
        let pass_on = pass_on(begin.pass_on)?;
        if begin.cut_point > begin.layer {
            let expected = format_args!("at most the layer, {}", begin.layer).to_string();
            return Err(WireError::new("cut_point", begin.cut_point, expected).into());
        }
        let prefix = hosted.layers(&run, begin.cut_point..begin.layer)?;
        let mut feed = feed(&spec, &prefix, begin.live)?;
        if begin.live && begin.two_views {
            return Err(WireError::new("two_views", "two views of samples in a live stage", "one").into());
        }
        let length = check_elements(&spec, &prefix, elements)?;
        let sharing = hyperparameters.sharing;
        let (channels, samples) = (sharing.channel_parts(&spec), sharing.sample_parts(&spec, size));
        let share = Share::parse(begin.group, begin.place, &channels, &samples)?;
        if pass_on != PassOn::Nothing && share.own.channels != (0..spec.map.channels()) {
            let found =
                format_args!("channels {:?} of a layer that passes on", share.own.channels).to_string();
            return Err(WireError::new("group", found, "all channels for each worker").into());
        }
        let feeders = begin.feeders.map(|feeders| Feeders::parse(feeders, size)).transpose()?;
        if feeders.is_some() && !begin.live {
            return Err(WireError::new("feeders", "some of a stage that is not live", "none").into());
        }
        if feeders.as_ref().is_some_and(|feeders| feeders.way == Way::Own) {
            feed = own_pairs_alone(&spec, &prefix, feed, &share)?;
        }
        let takers = begin.takers.map(|takers| Takers::parse(takers, begin.layer, size)).transpose()?;
        if takers.is_some() && pass_on == PassOn::Nothing {
            return Err(WireError::new("takers", "some of a layer that passes nothing on", "none").into());
        }
        let shape = BatchShape { size, two_views: begin.two_views, length, precision, feed };
        let kept_bytes = check_kept(begin.kept_bytes, budget.cache_bytes)?;
        let plan = Self {
            run,
            layer: LayerIndex(begin.layer),
            spec,
            hyperparameters,
            prefix,
            attempt: begin.attempt,
            pass_on,
            feeders,
            takers,
            share,
            shape,
            kept_bytes,
            state_length: begin.state_length,
            step_limit: step_limit(begin.silence_seconds)?,
            memory_bytes: budget.memory_bytes,
        };
        plan.check_memory(1)?;
        Ok(plan)
    }

    /// Those who share the layer.
    pub fn party(&self) -> Party {
        let Self { run, layer, attempt, share, step_limit, .. } = self;
        Party {
            shared: Shared::Layer,
            run: run.clone(),
            layer: *layer,
            attempt: *attempt,
            group: share.group.clone(),
            place: share.place,
            peers: share.peers().collect(),
            patience: *step_limit,
        }
    }

    /// Whether feeders pass on to this worker, rather than to one above it in the chain.
    pub fn is_fed(&self) -> bool {
        self.feeders.as_ref().is_some_and(|feeders| feeders.way != Way::First || self.share.is_first())
    }

    /// Whether this worker hands on what arrives.
    pub fn hands_rows_on(&self) -> bool {
        self.feeders.as_ref().is_none_or(|feeders| feeders.way == Way::First)
    }

    /// Memory of the machine, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Errors where a batch of so many negatives per sample is more than the machine can hold.
    pub fn check_memory(&self, shifts: usize) -> Result<(), Refusal> {
        self.check_bytes("batch", self.step_bytes(shifts))
    }

    /// Errors where this and other layers that train here at the same time are more than the machine can hold, whose steps take so many
    /// bytes.
    pub fn check_bytes(&self, what: &'static str, needed: u64) -> Result<(), Refusal> {
        if needed > self.memory_bytes {
            return Err(Refusal::Memory { what, needed, available: self.memory_bytes });
        }
        Ok(())
    }

    /// The refusal to go on where `what` of the layer is not finite in a step.
    pub fn not_finite(&self, what: &'static str, step: Step) -> Refusal {
        let learning_rate = self.hyperparameters.optimizer.learning_rate(step);
        let (layer, name) = (self.layer.0, self.spec.name.clone());
        Refusal::NotFinite { layer, name, what, step: step.0, learning_rate }
    }

    /// What a step of these shifts passes on, and to whom, cut into messages.
    pub fn passed_on(
        &self,
        step: Step,
        shifts: &[usize],
        passed_on: &PassedOn,
    ) -> Result<Vec<Output>, Refusal> {
        let unfit = |unfit| Refusal::Unfit { layer: self.layer.0, name: self.spec.name.clone(), unfit };
        let messages = encode(&passed_on.outputs, self.shape.precision).map_err(unfit)?;
        let Some(takers) = &self.takers else { return Ok(Vec::new()) };
        let rows = PassedRows::new(&passed_on.pairs, messages, self.shape.precision);
        let of_taker = |(to, samples): (usize, &Range<usize>)| {
            let rows = match takers.way {
                Way::First | Way::All => rows.all(),
                Way::Own => rows.of(&own_pairs(self.shape.size, shifts, samples)),
            };
            rows.into_iter().map(move |(pairs, rows)| {
                let part = wire::PassedOn { step: step.0, pairs, rows: Some(rows) };
                Output { to, part }
            })
        };
        Ok(takers.samples.iter().enumerate().flat_map(of_taker).collect())
    }

    /// About what a step takes: a few batches under way, one decoded, and what each layer makes of its pairs; where the layer is
    /// shared, what is exchanged, and once more what the layer reads, for the next batch is prepared meanwhile.
    pub fn step_bytes(&self, shifts: usize) -> u64 {
        let rows = self.shape.rows(shifts) as u64;
        let pairs = (self.shape.size as u64).saturating_mul(shifts.saturating_add(1) as u64);
        let ahead = if self.is_fed() { limits::STEPS_AHEAD } else { 0 };
        let arrived = rows.saturating_mul((4 + ahead) * self.shape.row_bytes() as u64);
        let leaving = match &self.takers {
            Some(_) => {
                let own = pairs.saturating_mul(self.share.own.samples.len() as u64) / self.shape.size as u64;
                let row_bytes = self.spec.outputs() * self.shape.precision.bytes();
                own.saturating_mul(limits::STEPS_AHEAD * row_bytes as u64)
            }
            None => 0,
        };
        let decoded = rows.saturating_mul(8 * self.shape.length.longest() as u64);
        let rows_of = |spec: &LayerSpec| if spec.makes_pairs() { rows } else { pairs };
        let specs = self.prefix.iter().map(|layer| layer.spec()).chain([&self.spec]);
        let computed = specs.map(|spec| {
            let mapped = rows_of(spec).saturating_mul(4 * spec.map.output().len() as u64);
            // What is passed on, or relu(z) of a dense layer in training, or of a recurrent one that and the states.
            mapped.saturating_add(pairs.saturating_mul(8 * spec.outputs() as u64))
        });
        let transformed = 4 * self.spec.map.transformed_inputs() as u64;
        let read = if self.share.is_alone() {
            transformed
        } else {
            2 * transformed + 4 * self.spec.map.inputs() as u64
        };
        let read = rows_of(&self.spec).saturating_mul(read);
        let made = [arrived, leaving, decoded, read, self.exchange_bytes(pairs)];
        computed.chain(made).fold(0, u64::saturating_add)
    }

    /// What the larger round of sums takes, with so many pairs in a batch.
    fn exchange_bytes(&self, pairs: u64) -> u64 {
        let Self { share, spec, shape, hyperparameters, .. } = self;
        let own_pairs = pairs / shape.size as u64 * share.own.samples.len() as u64;
        let goodness = own_pairs.saturating_mul(spec.map.output().positions() as u64);
        let gradient = hyperparameters.sharing.exchanged(spec, 0).gradient * share.own.channels.len();
        let gradient = (gradient / spec.map.channels()) as u64;
        let held = |round, numbers| share.circle(round).numbers_held(numbers).saturating_mul(4);
        held(Round::Goodness, goodness).max(held(Round::Gradient, gradient))
    }
}

/// A number within bounds.
pub fn between(field: &'static str, number: u64, least: usize, most: usize) -> Result<usize, WireError> {
    match usize::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(WireError::new(field, number, format_args!("{least} to {most}"))),
    }
}

/// How long a step may take, as `silence_seconds` says.
pub fn step_limit(seconds: u32) -> Result<Duration, WireError> {
    match seconds {
        1.. => Ok(Duration::from_secs(seconds.into())),
        0 => Err(WireError::new("silence_seconds", 0, "at least 1")),
    }
}

fn pass_on(number: i32) -> Result<PassOn, WireError> {
    match wire::PassOn::try_from(number) {
        Ok(wire::PassOn::Nothing) => Ok(PassOn::Nothing),
        Ok(wire::PassOn::Positives) => Ok(PassOn::Positives),
        Ok(wire::PassOn::Pairs) => Ok(PassOn::Pairs),
        Err(_) => Err(WireError::new("pass_on", number, "NOTHING (0), POSITIVES (1) or PAIRS (2)")),
    }
}

/// Where what arrives comes from. Of samples, pairs are made at the cut point and nowhere else; upon a live layer they are
/// made wherever a layer makes them.
fn feed(spec: &LayerSpec, prefix: &[Arc<FrozenLayer>], live: bool) -> Result<Feed, WireError> {
    let specs = || prefix.iter().map(|layer| layer.spec()).chain([spec]);
    if live {
        let makes_pairs = specs().next().is_some_and(LayerSpec::makes_pairs);
        return Ok(if makes_pairs { Feed::LiveSamples } else { Feed::LivePairs });
    }
    for (height, spec) in specs().enumerate() {
        let at_cut_point = height == 0;
        if spec.makes_pairs() != at_cut_point {
            let makes = if spec.makes_pairs() { "makes" } else { "takes" };
            let expected = if at_cut_point { "makes" } else { "takes" };
            return Err(WireError::new(
                if height == prefix.len() { "spec.pairs" } else { "cut_point" },
                format_args!("a layer that {makes} pairs, {height} layers above the cut point"),
                format_args!("one that {expected} pairs"),
            ));
        }
    }
    Ok(Feed::Keys)
}

/// What arrives where feeders send each of a group rows of its own pairs alone: that is enough only where pairs of different samples have
/// nothing to do with each other on their way.
fn own_pairs_alone(
    spec: &LayerSpec,
    prefix: &[Arc<FrozenLayer>],
    feed: Feed,
    share: &Share,
) -> Result<Feed, WireError> {
    let mut specs = prefix.iter().map(|layer| layer.spec()).chain([spec]);
    let go_through = specs.all(|spec| matches!(spec.map, LayerMap::Conv(_)) && !spec.makes_pairs());
    if feed != Feed::LivePairs || !go_through {
        return Err(WireError::new("feeders.way", "OWN (3)", "FIRST (1) or ALL (2), for it needs all pairs"));
    }
    Ok(Feed::LiveOwnPairs(share.own.samples.start, share.own.samples.end))
}

/// How long the rows are that arrive, where all layers fit onto each other.
fn check_elements(
    spec: &LayerSpec,
    prefix: &[Arc<FrozenLayer>],
    elements: usize,
) -> Result<RowLength, WireError> {
    let first = prefix.first().map_or(spec, |layer| layer.spec());
    if elements != first.map.inputs() {
        return Err(WireError::new("elements", elements, first.map.inputs()));
    }
    match prefix.last().map(|layer| layer.spec().passes_on()) {
        Some(outputs) if outputs != spec.reads() => {
            let expected = format_args!("{outputs}, as the layer below passes on").to_string();
            Err(WireError::new("spec.map", format_args!("one that reads {}", spec.reads()), expected))
        }
        _ => Ok(first.reads()),
    }
}

fn check_kept(kept_bytes: u64, cache_bytes: u64) -> Result<usize, WireError> {
    match usize::try_from(kept_bytes) {
        Ok(bytes) if kept_bytes <= cache_bytes => Ok(bytes),
        _ => Err(WireError::new("kept_bytes", kept_bytes, format_args!("at most {cache_bytes}"))),
    }
}
