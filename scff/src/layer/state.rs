//! What a layer in training carries.

use rand_chacha::rand_core::Rng;

use super::layer_map::LayerMap;
use super::tensors::{ShapeError, TensorSpec, Tensors};
use crate::batch::Step;
use crate::seed::symmetric;

/// Everything that a layer in training carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerState {
    /// Steps taken so far.
    pub step: Step,
    /// What it has learnt.
    pub parameters: Tensors,
    /// AdamW's first moments.
    pub first_moments: Tensors,
    /// AdamW's second moments.
    pub second_moments: Tensors,
}

impl LayerState {
    /// Errors unless all tensors have the shape of `map`'s parameters.
    pub fn check(&self, map: &LayerMap) -> Result<(), ShapeError> {
        let specs = map.tensors();
        self.parts().into_iter().try_for_each(|(what, tensors)| tensors.check(what, &specs))
    }

    /// The same of a shard, which has some of the channels.
    pub fn check_shard(&self, map: &LayerMap) -> Result<(), ShapeError> {
        let specs = map.tensors();
        self.parts().into_iter().try_for_each(|(what, tensors)| tensors.check_shard(what, &specs))
    }

    fn parts(&self) -> [(&'static str, &Tensors); 3] {
        [
            ("parameters", &self.parameters),
            ("first moments", &self.first_moments),
            ("second moments", &self.second_moments),
        ]
    }

    /// Whether all parameters and moments are finite.
    pub fn is_finite(&self) -> bool {
        self.parts().into_iter().all(|(_, tensors)| tensors.is_finite())
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

    /// The state before the first step: parameters uniform within their tensors' bounds, drawn in order; moments zero.
    pub fn initial(map: &LayerMap, random: &mut impl Rng) -> Self {
        let specs = map.tensors();
        let mut drawn = |spec: &TensorSpec| {
            let mut tensor = spec.zeros();
            tensor.values.map_inplace(|value| *value = symmetric(random, spec.initial_bound));
            tensor
        };
        Self {
            step: Step(0),
            parameters: specs.iter().map(&mut drawn).collect(),
            first_moments: Tensors::zeros(&specs),
            second_moments: Tensors::zeros(&specs),
        }
    }
}
