//! A layer's tensors: an ordered list of named arrays.
//!
//! Their order, names and shapes are those of the layer's specification. It is the order in which initial values are
//! drawn and hashes are taken. What computes with them picks them by name, once, and keeps them in the form it needs.

use ndarray::{Array1, Array2, ArrayD, ArrayView1, ArrayView2, Axis, concatenate};

use crate::finite::all_finite;

/// The name of a linear map's weight.
pub(super) const WEIGHT: &str = "weight";
/// The name of a linear map's bias.
pub(super) const BIAS: &str = "bias";

/// What is fixed about one of a layer's tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Its name, as it stands in files.
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The axis along which the layer's channels stand: shards divide it.
    pub channels: Axis,
    /// Initial values are uniform in plus or minus this.
    pub initial_bound: f32,
}

impl TensorSpec {
    /// All zero.
    pub fn zeros(&self) -> Tensor {
        self.of(ArrayD::zeros(self.shape.as_slice()))
    }

    /// The tensor, or that of a shard, with these values.
    pub fn of(&self, values: ArrayD<f32>) -> Tensor {
        Tensor { name: self.name, channels: self.channels, values }
    }

    /// Whether it is of this shape, but for the number of channels.
    fn fits_shard(&self, shape: &[usize]) -> bool {
        let others = |shape: &[usize]| {
            let mut others = shape.to_vec();
            others.remove(self.channels.index());
            others
        };
        shape.len() == self.shape.len() && others(shape) == others(&self.shape)
    }
}

/// One of a layer's tensors, or one of its optimiser's moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: &'static str,
    /// The axis along which the layer's channels stand.
    pub channels: Axis,
    /// Its values.
    pub values: ArrayD<f32>,
}

/// All tensors of a layer, or as many moments, in order; or those of a shard, which has some of the channels of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors(Vec<Tensor>);

impl FromIterator<Tensor> for Tensors {
    fn from_iter<I: IntoIterator<Item = Tensor>>(tensors: I) -> Self {
        Self(tensors.into_iter().collect())
    }
}

impl Tensors {
    /// All zero.
    pub fn zeros(specs: &[TensorSpec]) -> Self {
        specs.iter().map(TensorSpec::zeros).collect()
    }

    /// Those of a linear map: weights (channels, fan-in) and biases (channels).
    pub fn linear(weight: Array2<f32>, bias: Array1<f32>) -> Self {
        let tensor = |name, values| Tensor { name, channels: Axis(0), values };
        Self(vec![tensor(WEIGHT, weight.into_dyn()), tensor(BIAS, bias.into_dyn())])
    }

    /// The weights of a linear map, (channels, fan-in).
    ///
    /// # Panics
    ///
    /// Where these are the tensors of something else.
    pub fn weight(&self) -> ArrayView2<'_, f32> {
        self.matrix(WEIGHT)
    }

    /// The biases of a linear map, (channels).
    ///
    /// # Panics
    ///
    /// Where these are the tensors of something else.
    pub fn bias(&self) -> ArrayView1<'_, f32> {
        self.vector(BIAS)
    }

    /// The matrix of this name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn matrix(&self, name: &str) -> ArrayView2<'_, f32> {
        self.values(name).view().into_dimensionality().expect("a matrix")
    }

    /// The vector of this name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn vector(&self, name: &str) -> ArrayView1<'_, f32> {
        self.values(name).view().into_dimensionality().expect("a vector")
    }

    fn values(&self, name: &str) -> &ArrayD<f32> {
        let tensor = self.0.iter().find(|tensor| tensor.name == name);
        &tensor.unwrap_or_else(|| panic!("a layer with a tensor `{name}`")).values
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.0.iter()
    }

    /// The channels of `parts`, in order.
    ///
    /// # Panics
    ///
    /// Where there is no part, or they are of different layers.
    pub fn assemble(parts: &[&Self]) -> Self {
        let joined = |(place, tensor): (usize, &Tensor)| {
            let values: Vec<_> = parts.iter().map(|part| part.0[place].values.view()).collect();
            Tensor { values: concatenate(tensor.channels, &values).expect("parts of one layer"), ..*tensor }
        };
        parts.first().expect("a part").iter().enumerate().map(joined).collect()
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        self.iter().all(|tensor| all_finite(&tensor.values))
    }

    /// Errors unless these are all tensors of `specs` in their shapes; `what` they are, for the error.
    pub fn check(&self, what: &'static str, specs: &[TensorSpec]) -> Result<(), ShapeError> {
        self.check_each(what, specs, |spec, shape| spec.shape == shape)
    }

    /// The same of a shard, which has any number of channels.
    pub fn check_shard(&self, what: &'static str, specs: &[TensorSpec]) -> Result<(), ShapeError> {
        self.check_each(what, specs, TensorSpec::fits_shard)
    }

    fn check_each(
        &self,
        what: &'static str,
        specs: &[TensorSpec],
        fits: impl Fn(&TensorSpec, &[usize]) -> bool,
    ) -> Result<(), ShapeError> {
        assert_eq!(self.0.len(), specs.len(), "as many {what} as the layer has tensors");
        for (tensor, spec) in self.iter().zip(specs) {
            assert_eq!(tensor.name, spec.name, "{what} in the order of the layer's tensors");
            if !fits(spec, tensor.values.shape()) {
                let (found, expected) = (tensor.values.shape().to_vec(), spec.shape.clone());
                return Err(ShapeError { what, tensor: spec.name, found, expected });
            }
        }
        Ok(())
    }
}

/// A tensor that does not fit the layer it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: found a {tensor} of shape {found:?}, expected {expected:?}")]
pub struct ShapeError {
    /// Which tensors.
    pub what: &'static str,
    /// The name of the one that does not fit.
    pub tensor: &'static str,
    /// Its shape.
    pub found: Vec<usize>,
    /// The shape that it has in the layer.
    pub expected: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    /// As a recurrent layer's might be: gates before channels, and more than two.
    fn specs(channels: usize) -> Vec<TensorSpec> {
        let of = |name, shape, axis| TensorSpec { name, shape, channels: Axis(axis), initial_bound: 1.0 };
        vec![
            of("gates", vec![3, channels, 4], 1),
            of("hidden", vec![channels, 5], 0),
            of("bias", vec![channels], 0),
        ]
    }

    fn numbered(channels: usize, first: usize) -> Tensors {
        let value = |channel: usize| (first + channel) as f32;
        let values = [
            Array3::from_shape_fn((3, channels, 4), |(_, channel, _)| value(channel)).into_dyn(),
            Array2::from_shape_fn((channels, 5), |(channel, _)| value(channel)).into_dyn(),
            Array1::from_shape_fn(channels, value).into_dyn(),
        ];
        specs(channels).iter().zip(values).map(|(spec, values)| spec.of(values)).collect()
    }

    #[test]
    fn shards_are_put_together_along_the_channels_of_each_tensor() {
        let (low, high) = (numbered(2, 0), numbered(4, 2));
        assert_eq!(Tensors::assemble(&[&low, &high]), numbered(6, 0));
        low.check_shard("shard", &specs(6)).unwrap();
        let error = low.check("shard", &specs(6)).unwrap_err().to_string();
        assert_eq!(error, "shard: found a gates of shape [3, 2, 4], expected [3, 6, 4]");
        let other = Tensors::linear(array![[1.0]], array![1.0]);
        let specs =
            [TensorSpec { shape: vec![1, 2], name: WEIGHT, ..specs(1)[1].clone() }, specs(1)[2].clone()];
        assert!(other.check_shard("shard", &specs).is_err());
    }

    #[test]
    fn a_number_that_is_not_finite_is_found_in_every_tensor() {
        assert!(numbered(2, 0).is_finite());
        for tensor in 0..3 {
            let mut tensors = numbered(2, 0);
            *tensors.0[tensor].values.last_mut().unwrap() = f32::NAN;
            assert!(!tensors.is_finite());
        }
    }
}
