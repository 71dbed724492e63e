//! One layer in training: its two half steps, and its state.

use std::ops::Range;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::batch::Step;
use crate::frozen::FrozenLayer;
use crate::goodness::{
    Goodness, Loss, LossParameters, loss_and_gradient, losses_and_gradient, sequence_loss_and_gradient,
};
use crate::layer::{ChannelRange, LayerMap, LayerSpec, LayerState, ShapeError};
use crate::optimizer::{OptimizerParameters, Update};
use crate::pair::PairedRows;
use crate::sequence_pair::PairedSequences;
use crate::sum_tree::nodes;
use crate::winograd::Spectra;

use super::block::{Block, Linear};
use super::conv::{ConvLayer, transformed};
use super::dense::DenseLayer;
use super::input::Paired;
use super::own_samples::OwnSamples;
use super::partial::{Partial, Progress, Round, StepReport, Sums};
use super::passed_on::{PassOn, PassedOn};
use super::recurrent::RecurrentLayer;
use super::sharing::{Shard, Sharing};

/// How a layer learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Thresholds and penalty.
    pub loss: LossParameters,
    /// Learning rate, its schedule, weight decay.
    pub optimizer: OptimizerParameters,
    /// What those divide who share it.
    pub sharing: Sharing,
}

/// A layer in training, with its optimiser's state.
///
/// It may be a shard, which owns some of the channels or of each batch's samples: then what [`Self::begin_step`] gives is
/// added to that of the others before [`Self::proceed`].
pub struct TrainingLayer {
    pub(super) spec: LayerSpec,
    /// Which of the layer's channel parts it owns.
    channel_parts: Range<usize>,
    samples: OwnSamples,
    hyperparameters: Hyperparameters,
    step: Step,
    /// Which sums a step waits for.
    round: Round,
    pub(super) kind: Kind,
}

const READS_SEQUENCES: &str = "recurrent layers read sequences, and only they do";

/// The channel blocks of the layer's map, or its directions.
pub(super) enum Kind {
    Dense(DenseLayer),
    Conv(Box<ConvLayer>),
    Recurrent(Box<RecurrentLayer>),
}

impl TrainingLayer {
    /// Takes up training at `state`, whose tensors must fit `spec`.
    pub fn new(
        spec: LayerSpec,
        hyperparameters: Hyperparameters,
        state: &LayerState,
    ) -> Result<Self, ShapeError> {
        Self::shard(spec, hyperparameters, state, None)
    }

    /// The same for a shard that owns whole parts. `state` is that of the whole layer.
    pub fn shard(
        spec: LayerSpec,
        hyperparameters: Hyperparameters,
        state: &LayerState,
        shard: Option<Shard>,
    ) -> Result<Self, ShapeError> {
        let sharing = hyperparameters.sharing;
        assert!(sharing.suits(&spec), "a layer that can be shared so");
        state.check(&spec.map)?;
        let (channels, samples) =
            shard.map_or((0..spec.map.channels(), None), |shard| (shard.channels, Some(shard.samples)));
        let parts = sharing.channel_parts(&spec);
        let place = |channel| parts.partition_point(|part| part.start < channel);
        let channel_parts = place(channels.start)..place(channels.end);
        let blocks: Vec<_> = parts[channel_parts.clone()]
            .iter()
            .map(|part| ChannelRange { start: part.start, end: part.end })
            .collect();
        let owned = blocks.first().zip(blocks.last()).map(|(first, last)| first.start..last.end);
        assert_eq!(owned, Some(channels), "a shard owns whole blocks");
        let kind = match spec.map {
            LayerMap::Dense(_) => Kind::Dense(DenseLayer::new(&blocks, state)),
            LayerMap::Conv(conv) => Kind::Conv(Box::new(ConvLayer::new(conv, &blocks, state))),
            LayerMap::BiRnn(birnn) => {
                Kind::Recurrent(Box::new(RecurrentLayer::new(birnn, spec.block, &blocks, state)))
            }
        };
        let samples = OwnSamples::new(sharing, samples);
        let (step, round) = (state.step, Round::Goodness);
        Ok(Self { spec, channel_parts, samples, hyperparameters, step, round, kind })
    }

    /// What is fixed about the layer.
    pub fn spec(&self) -> &LayerSpec {
        &self.spec
    }

    /// What those divide who share the layer.
    pub fn sharing(&self) -> Sharing {
        self.hyperparameters.sharing
    }

    /// Which samples of each batch it owns.
    pub(super) fn own_samples(&self) -> &OwnSamples {
        &self.samples
    }

    /// Steps taken so far.
    pub fn step_count(&self) -> Step {
        self.step
    }

    /// One training step on the pairs of a batch.
    pub fn step<'a>(&mut self, input: impl Into<Paired<'a>>) -> StepReport {
        let input = input.into();
        let mut partial = self.begin_step(input);
        loop {
            match self.proceed(input, partial.total()) {
                Progress::Exchange(next) => partial = next,
                Progress::Done(report) => return report,
            }
        }
    }

    /// First half of a step: what is to be added to that of the others who share the layer.
    pub fn begin_step<'a>(&mut self, input: impl Into<Paired<'a>>) -> Partial {
        let input = input.into();
        let transformed = transformed(&self.spec.map, input);
        self.begin(input, transformed, PassOn::Nothing).0
    }

    /// The same, and what the layer passes on, by the weights before the update; `transformed`: the input in the form that the map
    /// takes.
    ///
    /// # Panics
    ///
    /// Where something is passed on by a shard that does not own all channels.
    pub(super) fn begin(
        &mut self,
        input: Paired<'_>,
        transformed: Option<Spectra>,
        pass_on: PassOn,
    ) -> (Partial, PassedOn) {
        let complete = self.channel_parts == (0..self.sharing().channel_parts(&self.spec).len());
        assert!(pass_on == PassOn::Nothing || complete, "what is passed on has all channels");
        let partial = match (input, self.sharing()) {
            (Paired::Sequences(input), _) => {
                let squares = self.recurrent().forward(input);
                self.partial_goodness(squares)
            }
            (Paired::Rows(input), Sharing::Channels | Sharing::Grid) => {
                let squares = self.goodness(input, transformed);
                self.partial_goodness(squares)
            }
            (Paired::Rows(input), Sharing::Samples) => {
                let own = self.samples.of(input.rows().nrows());
                let (spec, loss) = (self.spec.clone(), self.hyperparameters.loss);
                let count = pass_on.count(input.positives(), input.pairs().len());
                let is_own = |pair: &usize| own.contains(&input.pairs()[*pair].first);
                let pairs: Vec<usize> = (0..count).filter(is_own).collect();
                let (partial, outputs) = self.conv().walk((&spec, &loss), input, &own, &pairs);
                return (partial, PassedOn { pairs, outputs: outputs.into() });
            }
        };
        self.round = partial.round;
        (partial, self.pass_on(input, pass_on))
    }

    /// What follows, on the same `input` as [`Self::begin_step`] and the sums over all who share the layer: another round of
    /// sums, or what remains up to the update.
    pub fn proceed<'a>(&mut self, input: impl Into<Paired<'a>>, sums: Sums) -> Progress {
        let optimizer = self.hyperparameters.optimizer;
        let update = optimizer.update(self.step);
        let loss = match (input.into(), self.sharing(), self.round) {
            (Paired::Sequences(input), ..) => self.learn_sequences(input, sums.numbers, &update),
            (Paired::Rows(input), Sharing::Channels, _) => self.learn_rows(input, sums.numbers, &update),
            (Paired::Rows(_), Sharing::Samples, _) => {
                self.conv().update_transposed(&sums.numbers, &update);
                sums.loss
            }
            (Paired::Rows(input), Sharing::Grid, Round::Goodness) => {
                self.round = Round::Gradient;
                return Progress::Exchange(self.gradients(input, sums.numbers));
            }
            (Paired::Rows(_), Sharing::Grid, Round::Gradient) => {
                self.conv().update(&sums.numbers, &update);
                sums.loss
            }
        };
        let report = StepReport { step: self.step, learning_rate: optimizer.learning_rate(self.step), loss };
        self.step = Step(self.step.0 + 1);
        Progress::Done(report)
    }

    /// The gradients of rows and the update, of sums of squares: (pairs * positions).
    fn learn_rows(&mut self, input: &PairedRows, squares: Vec<f32>, update: &Update) -> Loss {
        let (goodness, positives) = (self.goodness_of(squares, input), input.positives());
        let (loss, gradient) = loss_and_gradient(&goodness, positives, &self.hyperparameters.loss);
        let coefficients = self.coefficients(gradient);
        match &mut self.kind {
            Kind::Dense(layer) => layer.backward(input, &coefficients, update),
            Kind::Conv(layer) => layer.backward(input, &coefficients, update),
            Kind::Recurrent(_) => unreachable!("{READS_SEQUENCES}"),
        }
        loss
    }

    /// The gradients and losses of own samples, of sums of squares: (pairs * positions).
    fn gradients(&mut self, input: &PairedRows, squares: Vec<f32>) -> Partial {
        let (batch, _) = input.order().of_batch();
        let (parts, own) = self.samples.parts(&self.spec, batch);
        assert_eq!(
            input.order().groups().len(),
            own.len(),
            "a group of pairs for each own part of the samples"
        );
        let goodness = self.goodness_of(squares, input);
        let (losses, slopes) = losses_and_gradient(&goodness, input.order(), &self.hyperparameters.loss);
        let coefficients = self.coefficients(slopes);
        let nodes = nodes(parts.len(), &own);
        let numbers = self.conv().gradients((input, &coefficients), &nodes);
        Partial::of_nodes(Round::Gradient, parts.len(), nodes, numbers, |part| losses[part - own.start])
    }

    /// The same of sequences, of sums of squares of every frame of every pair, one pair after another.
    fn learn_sequences(&mut self, input: &PairedSequences, squares: Vec<f32>, update: &Update) -> Loss {
        let channels = self.spec.map.channels() as f32;
        let goodness: Vec<f32> = squares.into_iter().map(|sum| sum / channels).collect();
        let (positives, hyperparameters) = (input.positives(), self.hyperparameters.loss);
        let layer = self.recurrent();
        let lengths = layer.lengths(input);
        let (loss, gradient) = sequence_loss_and_gradient(&goodness, &lengths, positives, &hyperparameters);
        // dL/dz_c = (2 / C) relu(z_c) dL/dg: all but relu(z_c).
        let coefficients: Vec<f32> = gradient.into_iter().map(|slope| slope * (2.0 / channels)).collect();
        layer.backward(input, &coefficients, update);
        loss
    }

    fn partial_goodness(&self, squares: Array2<f32>) -> Partial {
        let parts = self.sharing().channel_parts(&self.spec).len();
        Partial::of_parts(Round::Goodness, parts, self.channel_parts.clone(), (squares, Vec::new()))
    }

    /// Sums of squares: (own channel blocks, pairs * positions).
    fn goodness(&mut self, input: &PairedRows, transformed: Option<Spectra>) -> Array2<f32> {
        let positions = self.spec.map.output().positions();
        let numbers = input.pairs().len() * positions;
        let mut partial;
        match &mut self.kind {
            Kind::Dense(layer) => {
                partial = Array2::zeros((layer.blocks().len(), numbers));
                layer.forward(input, &mut partial);
            }
            Kind::Conv(layer) => {
                partial = Array2::zeros((layer.blocks().len(), numbers));
                layer.forward(input, transformed, &mut partial);
            }
            Kind::Recurrent(_) => unreachable!("{READS_SEQUENCES}"),
        }
        partial
    }

    fn goodness_of(&self, sums: Vec<f32>, input: &PairedRows) -> Goodness {
        Goodness::of_sums(sums, self.spec.map.channels(), input.pairs().len())
    }

    /// dL/dz_c = (2 / C) relu(z_c) dL/dg: all but relu(z_c), of dL/dg.
    fn coefficients(&self, gradient: Array2<f32>) -> Vec<f32> {
        (gradient * (2.0 / self.spec.map.channels() as f32)).into_raw_vec_and_offset().0
    }

    fn conv(&mut self) -> &mut ConvLayer {
        match &mut self.kind {
            Kind::Conv(layer) => layer,
            Kind::Dense(_) | Kind::Recurrent(_) => unreachable!("samples are shared of convolutions only"),
        }
    }

    fn recurrent(&mut self) -> &mut RecurrentLayer {
        match &mut self.kind {
            Kind::Recurrent(layer) => layer,
            Kind::Dense(_) | Kind::Conv(_) => unreachable!("{READS_SEQUENCES}"),
        }
    }

    /// Whether the parameters that it owns are finite, and add up to what is: quick enough to ask after every step.
    pub fn is_finite(&self) -> bool {
        match &self.kind {
            Kind::Dense(layer) => layer.blocks().all(Block::is_finite),
            Kind::Conv(layer) => layer.blocks().all(Block::is_finite),
            Kind::Recurrent(layer) => layer.is_finite(),
        }
    }

    /// A copy of everything that training carries on, of the channels that it owns.
    pub fn state(&self) -> LayerState {
        let blocks: Vec<&Block> = match &self.kind {
            Kind::Dense(layer) => layer.blocks().collect(),
            Kind::Conv(layer) => layer.blocks().collect(),
            Kind::Recurrent(layer) => return layer.state(self.step),
        };
        let all = |of: fn(&Block) -> &Linear| {
            Linear::assemble(&blocks.iter().map(|block| of(block)).collect::<Vec<_>>())
        };
        LayerState {
            step: self.step,
            parameters: all(|block| &block.parameters),
            first_moments: all(|block| &block.first_moments),
            second_moments: all(|block| &block.second_moments),
        }
    }

    /// Ends training: from here on the layer only transforms.
    pub fn freeze(self) -> FrozenLayer {
        let parameters = self.state().parameters;
        FrozenLayer::new(self.spec, parameters).expect("the layer's own tensors fit it")
    }
}
