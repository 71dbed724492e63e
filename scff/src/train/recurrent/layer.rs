//! A recurrent layer, or one of its directions, between the halves of a step.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};
use rayon::slice::ParallelSliceMut;

use super::gradient::{Gradient, Passed};
use super::walk::{Walk, Way};
use super::weights::{Part, Weights};
use crate::batch::Step;
use crate::blas::product;
use crate::layer::{BiRnn, ChannelRange, LayerMap, LayerState, SequencePadding};
use crate::matrix::matrix_mut;
use crate::optimizer::Update;
use crate::recurrence::{Direction, Packed};
use crate::sequence_pair::PairedSequences;
use crate::sequences::Sequences;

/// Pairs of a pack.
const PAIRS: usize = 64;
/// Frames of one product.
const FRAMES: usize = 512;

/// The directions of a recurrent layer that are trained here.
pub(in crate::train) struct RecurrentLayer {
    birnn: BiRnn,
    /// Units of a part whose gradient one thread computes.
    block: usize,
    directions: Vec<Walker>,
    /// The pairs of the step at hand.
    packs: Vec<Packed>,
}

/// One direction.
struct Walker {
    direction: Direction,
    parameters: Weights,
    first_moments: Weights,
    second_moments: Weights,
    /// U of all frames, (frames, units).
    mapped: Vec<f32>,
    /// Of each pack.
    walks: Vec<Walk>,
}

impl RecurrentLayer {
    /// The directions whose units are `owned`.
    pub(in crate::train) fn new(
        birnn: BiRnn,
        block: usize,
        owned: &[ChannelRange],
        state: &LayerState,
    ) -> Self {
        let walker = |&units: &ChannelRange| Walker {
            direction: if units.start == 0 { Direction::Forward } else { Direction::Backward },
            parameters: Weights::of(&state.parameters, units),
            first_moments: Weights::of(&state.first_moments, units),
            second_moments: Weights::of(&state.second_moments, units),
            mapped: Vec::new(),
            walks: Vec::new(),
        };
        Self { birnn, block, directions: owned.iter().map(walker).collect(), packs: Vec::new() }
    }

    /// How many frames count of each pair.
    pub(in crate::train) fn lengths(&self, input: &PairedSequences) -> Vec<usize> {
        match self.birnn.padding {
            SequencePadding::Masked => input.lengths(),
            SequencePadding::Counts => {
                let longest = input.sequences().lengths().max().unwrap_or(0);
                vec![longest; input.pairs().len()]
            }
        }
    }

    /// Sums of squares of every frame of every pair, one pair after another: (directions, frames of all pairs).
    pub(in crate::train) fn forward(&mut self, input: &PairedSequences) -> Array2<f32> {
        let lengths = self.lengths(input);
        self.packs = Packed::all(&lengths, PAIRS);
        let Self { directions, packs, .. } = self;
        directions.par_iter_mut().for_each(|walker| walker.walk(input, packs));
        let offsets = offsets(&lengths);
        let mut partial = Array2::zeros((directions.len(), lengths.iter().sum()));
        for (walker, mut partial) in directions.iter().zip(partial.outer_iter_mut()) {
            for (pack, walk) in packs.iter().zip(&walker.walks) {
                for ((place, step), &squares) in pack.cells().zip(&walk.squares) {
                    let frame = walker.direction.frame(step, pack.length(place));
                    partial[offsets[pack.members()[place]] + frame] = squares;
                }
            }
        }
        partial
    }

    /// `coefficients`: 2/C dL/dg of every frame of every pair, one pair after another.
    pub(in crate::train) fn backward(
        &mut self,
        input: &PairedSequences,
        coefficients: &[f32],
        update: &Update,
    ) {
        let offsets = offsets(&self.lengths(input));
        let Self { directions, packs, block, birnn } = self;
        directions.par_iter_mut().for_each(|walker| {
            let Walker { direction, parameters, first_moments, second_moments, walks, .. } = walker;
            let passed = Passed {
                input,
                direction: *direction,
                packs,
                walks,
                units: birnn.hidden,
                coefficients,
                offsets: &offsets,
            };
            let moments = first_moments.parts(*block).zip(second_moments.parts(*block));
            let parts: Vec<_> = parameters.parts(*block).zip(moments).enumerate().collect();
            parts.into_par_iter().for_each(|(index, (values, (first, second)))| {
                let start = index * *block;
                let gradient = Gradient::new(passed, start..(start + *block).min(birnn.hidden));
                apply(update, values, first, second, &gradient);
            });
        });
    }

    /// The standardised states of both directions in every frame of the first `pairs` pairs, never of padding, by the
    /// weights before the update.
    pub(in crate::train) fn passed_on(&self, input: &PairedSequences, pairs: usize) -> Sequences {
        let hidden = self.birnn.hidden;
        let mut passed_on = Sequences::zeros(2 * hidden, input.lengths().into_iter().take(pairs));
        let mut rows = passed_on.rows_mut();
        for (index, walker) in self.directions.iter().enumerate() {
            for (pack, walk) in self.packs.iter().zip(&walker.walks) {
                for (place, &pair) in pack.members().iter().enumerate().filter(|(_, pair)| **pair < pairs) {
                    for (frame, out) in rows[pair].chunks_exact_mut(2 * hidden).enumerate() {
                        // Walking backward is its own inverse.
                        let step = walker.direction.frame(frame, pack.length(place));
                        out[index * hidden..][..hidden]
                            .copy_from_slice(walk.state(pack, place, step, hidden));
                    }
                }
            }
        }
        passed_on
    }

    /// Whether all parameters are finite.
    pub(in crate::train) fn is_finite(&self) -> bool {
        self.directions.iter().all(|walker| walker.parameters.is_finite())
    }

    /// A copy of all that training carries on, after so many steps.
    pub(in crate::train) fn state(&self, step: Step) -> LayerState {
        let specs = LayerMap::BiRnn(self.birnn).tensors();
        let all = |of: fn(&Walker) -> &Weights| {
            Weights::assemble(&self.directions.iter().map(of).collect::<Vec<_>>(), &specs)
        };
        LayerState {
            step,
            parameters: all(|walker| &walker.parameters),
            first_moments: all(|walker| &walker.first_moments),
            second_moments: all(|walker| &walker.second_moments),
        }
    }
}

impl Walker {
    fn walk(&mut self, input: &PairedSequences, packs: &[Packed]) {
        self.map(input.sequences());
        self.walks.resize_with(packs.len(), Walk::default);
        let Self { direction, parameters, mapped, walks, .. } = self;
        let bias = parameters.bias();
        let way = Way {
            direction: *direction,
            mapped,
            weight: parameters.states.view(),
            bias: bias.as_slice().expect("contiguous"),
        };
        walks.par_iter_mut().zip(packs).for_each(|(walk, pack)| walk.walk(input, pack, way));
    }

    /// U of all frames.
    fn map(&mut self, sequences: &Sequences) {
        let (units, frames) = (self.parameters.frames.nrows(), sequences.frames());
        self.mapped.resize(frames.nrows() * units, 0.0);
        let weight = self.parameters.frames.view();
        let chunks = frames.axis_chunks_iter(Axis(0), FRAMES).into_par_iter();
        self.mapped.par_chunks_mut(FRAMES * units).zip(chunks).for_each(|(mapped, frames)| {
            product(frames, weight, &mut matrix_mut(mapped, units));
        });
    }
}

/// Updates some units' parameters.
fn apply(update: &Update, values: Part<'_>, first: Part<'_>, second: Part<'_>, gradient: &Gradient) {
    let gradients: [&[f32]; 4] = [&gradient.frames, &gradient.states, &gradient.bias, &gradient.bias];
    for (((values, first), second), gradient) in values.into_iter().zip(first).zip(second).zip(gradients) {
        update.apply(values, first, second, gradient, 0.0);
    }
}

/// Where the numbers of each pair begin.
fn offsets(lengths: &[usize]) -> Vec<usize> {
    let mut end = 0;
    let start = |length: &usize| {
        end += length;
        end - length
    };
    lengths.iter().map(start).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, concatenate};

    use super::*;
    use crate::fixture::Fixture;
    use crate::layer::{MapShape, Summary, Tensors};

    const SHAPE: BiRnn = BiRnn {
        input: MapShape { height: 7, width: 1, channels: 5 },
        hidden: 6,
        padding: SequencePadding::Masked,
        summary: Summary::Last,
    };

    fn state(fixture: &Fixture) -> LayerState {
        let specs = LayerMap::BiRnn(SHAPE).tensors();
        let names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
        let tensor = |(spec, name): (&crate::layer::TensorSpec, &str)| {
            let parts = ["rnn_f", "rnn_b"].map(|way| fixture.vector(&format!("in.{way}.{name}")));
            let values = concatenate(Axis(0), &parts.each_ref().map(|part| part.view())).unwrap();
            spec.of(values.into_shape_with_order(spec.shape.as_slice()).unwrap())
        };
        let parameters = specs.iter().zip(names).map(tensor).collect();
        let [first_moments, second_moments] = [(); 2].map(|()| Tensors::zeros(&specs));
        LayerState { step: Step(0), parameters, first_moments, second_moments }
    }

    /// What is not seen from outside: goodness is of these, before they are standardised.
    #[test]
    fn hidden_states_match_pytorch() {
        let fixture = Fixture::open("birnn");
        let frames = fixture.vector("in.x").into_shape_with_order((4 * 7, 5)).unwrap();
        let input = PairedSequences::make(Sequences::new(frames, [7; 4]), false, &[1]);
        let units = [ChannelRange { start: 0, end: 6 }, ChannelRange { start: 6, end: 12 }];
        let mut layer = RecurrentLayer::new(SHAPE, 4, &units, &state(&fixture));
        layer.forward(&input);
        let mut hidden = Array3::<f32>::zeros((8, 7, 12));
        for (index, walker) in layer.directions.iter().enumerate() {
            for (pack, walk) in layer.packs.iter().zip(&walker.walks) {
                let rows = Array2::from_shape_vec((pack.count(), 6), walk.hidden.clone()).unwrap();
                for ((place, step), row) in pack.cells().zip(rows.outer_iter()) {
                    let frame = walker.direction.frame(step, 7);
                    let own = ndarray::s![pack.members()[place], frame, 6 * index..6 * index + 6];
                    hidden.slice_mut(own).assign(&row);
                }
            }
        }
        let (positive, negative) = hidden.view().split_at(Axis(0), 4);
        fixture.check("hidden_pos", positive.iter());
        fixture.check("hidden_neg", negative.iter());
    }
}
