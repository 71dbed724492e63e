//! What a layer in training carries.

use rand_chacha::rand_core::Rng;

use super::linear::LinearMap;
use super::tensors::{ShapeError, Tensors};
use crate::batch::Step;
use crate::seed::symmetric;

/// Everything that a layer in training carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerState {
    /// Steps taken so far.
    pub step: Step,
    /// Weights and biases.
    pub parameters: Tensors,
    /// AdamW's first moments.
    pub first_moments: Tensors,
    /// AdamW's second moments.
    pub second_moments: Tensors,
}

impl LayerState {
    /// Errors unless all tensors have the shape of `map`'s parameters.
    pub fn check(&self, map: &LinearMap) -> Result<(), ShapeError> {
        self.parameters.check("parameters", map)?;
        self.first_moments.check("first moments", map)?;
        self.second_moments.check("second moments", map)
    }

    /// Whether all parameters and moments are finite.
    pub fn is_finite(&self) -> bool {
        [&self.parameters, &self.first_moments, &self.second_moments].into_iter().all(Tensors::is_finite)
    }

    /// The layer's state, of those of its shards in channel order.
    ///
    /// # Panics
    ///
    /// Where there is none, or they are of different layers or steps.
    pub fn assemble(shards: &[Self]) -> Self {
        let step = shards.first().expect("a shard").step;
        assert!(shards.iter().all(|shard| shard.step == step), "shards of one step");
        let part = |of: fn(&Self) -> &Tensors| Tensors::assemble(&shards.iter().map(of).collect::<Vec<_>>());
        Self {
            step,
            parameters: part(|shard| &shard.parameters),
            first_moments: part(|shard| &shard.first_moments),
            second_moments: part(|shard| &shard.second_moments),
        }
    }

    /// The state before the first step: weights and biases uniform (dense layers in +-1/sqrt(fan-in), convolutions
    /// within Xavier's bound, biases in +-1/sqrt(fan-in)), moments zero.
    pub fn initial(map: &LinearMap, random: &mut impl Rng) -> Self {
        let mut parameters = Tensors::zeros(map);
        parameters.weight.map_inplace(|value| *value = symmetric(random, map.initial_bound()));
        parameters.bias.map_inplace(|value| *value = symmetric(random, map.initial_bias_bound()));
        Self {
            step: Step(0),
            parameters,
            first_moments: Tensors::zeros(map),
            second_moments: Tensors::zeros(map),
        }
    }
}
