//! Convolutions as products of patches, as in `scff`, with their gradients.

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;
use scff::layer::{Conv, MapShape};

use crate::operation::{OfRows, numbers, of_rows, with_numbers};

/// A batch is computed in so many parts, each by one product on one thread: as many however many threads there are, for the
/// gradients of the weights are sums over the parts.
const PARTS: usize = 8;

/// The reflect-padded maps: (samples, elements) to (samples, elements).
pub fn pad(conv: &Conv, maps: &Tensor) -> Result<Tensor> {
    if conv.padding == 0 { Ok(maps.clone()) } else { of_rows(Reflection(*conv), maps) }
}

/// W x + b of every patch that the kernel sees in padded maps: (samples, elements), (channels, fan-in), (channels) to (samples *
/// positions, channels).
pub fn convolve(conv: &Conv, padded: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    padded.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Convolution(*conv))
}

struct Reflection(Conv);

impl Reflection {
    /// The places of a padded axis, each with the place of the axis, of length `side`, that stands there.
    fn places(&self, side: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let padding = self.0.padding;
        (0..side + 2 * padding).map(move |place| (place, reflected(place, side, padding)))
    }

    /// Calls `each` with where every position of the padded map begins, and where the position of the map that stands there does.
    fn positions(&self, mut each: impl FnMut(usize, usize)) {
        let MapShape { height, width, channels } = self.0.input;
        let padded_width = self.0.padded().width;
        for (padded_row, row) in self.places(height) {
            for (padded_column, column) in self.places(width) {
                each(
                    (padded_row * padded_width + padded_column) * channels,
                    (row * width + column) * channels,
                );
            }
        }
    }
}

/// The place of an axis of length `side` that stands at `place` of the padded axis: the edge is not repeated.
fn reflected(place: usize, side: usize, padding: usize) -> usize {
    let distance = place.abs_diff(padding);
    if place < side + padding { distance } else { 2 * (side - 1) - distance }
}

impl OfRows for Reflection {
    const NAME: &'static str = "reflection";

    fn inputs(&self) -> usize {
        self.0.input.len()
    }

    fn outputs(&self) -> usize {
        self.0.padded().len()
    }

    fn forward(&self, map: &[f32], out: &mut [f32]) {
        let channels = self.0.input.channels;
        self.positions(|padded, inner| {
            out[padded..padded + channels].copy_from_slice(&map[inner..inner + channels]);
        });
    }

    fn backward(&self, _map: &[f32], _padded: &[f32], gradient: &[f32], out: &mut [f32]) {
        let channels = self.0.input.channels;
        self.positions(|padded, inner| {
            add(&mut out[inner..inner + channels], &gradient[padded..padded + channels]);
        });
    }
}

struct Convolution(Conv);

/// What a part of a batch adds to the gradients of weights, (channels, fan-in), and biases, (channels).
type Gradients = (Array2<f32>, Array1<f32>);

impl Convolution {
    /// Maps of each part of a batch.
    fn samples_at_once(samples: usize) -> usize {
        samples.div_ceil(PARTS).max(1)
    }

    /// Where in a padded map the rows of all patches begin, patch by patch and each from the top down.
    fn rows(&self) -> impl Iterator<Item = usize> + use<> {
        let (output, kernel, padded) = (self.0.output(), self.0.kernel, self.0.padded());
        let columns = move |row: usize| (0..output.width).map(move |column| (row, column));
        let rows = move |(row, column)| {
            (row..row + kernel).map(move |row| (row * padded.width + column) * padded.channels)
        };
        (0..output.height).flat_map(columns).flat_map(rows)
    }

    /// Numbers of a row of a patch.
    fn row(&self) -> usize {
        self.0.kernel * self.0.input.channels
    }

    /// The patches that the kernel sees in padded maps, each (row, column, channel): (samples * positions, fan-in).
    fn patches(&self, maps: &[f32]) -> Array2<f32> {
        let (output, fan_in) = (self.0.output(), self.0.fan_in());
        let padded = self.0.padded().len();
        let count = maps.len() / padded * output.height * output.width;
        let mut patches = Vec::with_capacity(count * fan_in);
        for map in maps.chunks_exact(padded) {
            self.rows().for_each(|start| patches.extend_from_slice(&map[start..start + self.row()]));
        }
        Array2::from_shape_vec((count, fan_in), patches).expect("whole patches")
    }

    /// Adds the patches' gradients to those of their maps.
    fn put_back(&self, patches: &Array2<f32>, maps: &mut [f32]) {
        let mut rows = patches.as_slice().expect("contiguous").chunks_exact(self.row());
        for map in maps.chunks_exact_mut(self.0.padded().len()) {
            for (start, row) in self.rows().zip(&mut rows) {
                add(&mut map[start..start + self.row()], row);
            }
        }
    }

    /// What the `gradient` of some maps' results adds to those of weights and biases; writes that of the maps to `of_maps`, which
    /// holds zeros, unless it is empty.
    fn gradients(
        &self,
        maps: &[f32],
        weight: ArrayView2<'_, f32>,
        gradient: &[f32],
        of_maps: &mut [f32],
    ) -> Gradients {
        let mut patches = self.patches(maps);
        let gradient = ArrayView2::from_shape((patches.nrows(), self.0.channels), gradient);
        let gradient = gradient.expect("a number for each patch and channel");
        let mut of_weight = Array2::zeros(weight.dim());
        general_mat_mul(1.0, &gradient.t(), &patches, 0.0, &mut of_weight);
        if !of_maps.is_empty() {
            general_mat_mul(1.0, &gradient, &weight, 0.0, &mut patches);
            self.put_back(&patches, of_maps);
        }
        (of_weight, gradient.sum_axis(Axis(0)))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        maps: &CpuStorage,
        maps_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let conv = &self.0;
        let (samples, elements) = maps_layout.shape().dims2()?;
        assert_eq!(elements, conv.padded().len(), "maps with their padding");
        let bias = numbers(bias, bias_layout)?;
        let weight = numbers(weight, weight_layout)?;
        let weight = ArrayView2::from_shape((conv.channels, conv.fan_in()), weight)
            .expect("a kernel for each channel");
        let (at_once, output) = (Self::samples_at_once(samples), conv.output());
        let mut out = bias.repeat(samples * output.height * output.width);
        let maps = numbers(maps, maps_layout)?.par_chunks(at_once * elements);
        maps.zip(out.par_chunks_mut(at_once * output.len())).for_each(|(maps, out)| {
            let patches = self.patches(maps);
            let mut out = ArrayViewMut2::from_shape((patches.nrows(), conv.channels), out)
                .expect("a number for each patch and channel");
            general_mat_mul(1.0, &patches, &weight.t(), 1.0, &mut out);
        });
        Ok((CpuStorage::F32(out), (samples * output.height * output.width, conv.channels).into()))
    }

    fn bwd(
        &self,
        maps: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _results: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (samples, elements) = maps.dims2()?;
        let at_once = Self::samples_at_once(samples);
        // Of what does not follow from anything that is learnt, nobody asks for the gradient.
        let mut of_maps = maps.track_op().then(|| vec![0.0; maps.elem_count()]);
        let shape = weight.dims2()?;
        let gradients = with_numbers([maps, weight, gradient], |[maps, weight, gradient]| {
            let weight = ArrayView2::from_shape(shape, weight).expect("its own shape");
            let parts =
                maps.par_chunks(at_once * elements).zip(gradient.par_chunks(at_once * self.0.output().len()));
            match &mut of_maps {
                Some(of_maps) => parts
                    .zip(of_maps.par_chunks_mut(at_once * elements))
                    .map(|((maps, gradient), of_maps)| self.gradients(maps, weight, gradient, of_maps))
                    .collect::<Vec<_>>(),
                None => {
                    parts.map(|(maps, gradient)| self.gradients(maps, weight, gradient, &mut [])).collect()
                }
            }
        })?;
        let total = gradients
            .into_iter()
            .reduce(|(weights, biases), (weight, bias)| (weights + weight, biases + bias));
        let (of_weight, of_bias) = total.expect("samples");
        let tensor = |values: Vec<f32>, of: &Tensor| Tensor::from_vec(values, of.shape(), &Device::Cpu);
        let of_maps = of_maps.map(|values| tensor(values, maps)).transpose()?;
        let of_weight = tensor(of_weight.into_raw_vec_and_offset().0, weight)?;
        let of_bias = tensor(of_bias.into_raw_vec_and_offset().0, bias)?;
        Ok((of_maps, Some(of_weight), Some(of_bias)))
    }
}

fn add(out: &mut [f32], values: &[f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += value;
    }
}

#[cfg(test)]
mod tests {
    use scff::layer::Algorithm;

    use super::*;
    use crate::operation::tests::{check_gradients, distinct};

    #[test]
    fn gradients_are_finite_differences() {
        let input = MapShape { height: 5, width: 4, channels: 2 };
        for (kernel, padding) in [(3, 1), (3, 0), (4, 2)] {
            let conv = Conv { input, channels: 3, kernel, padding, algorithm: Algorithm::Direct };
            // More samples than parts.
            check_gradients(&[distinct(PARTS + 1, input.len())], |inputs| pad(&conv, &inputs[0]).unwrap());
            let bias = distinct(1, conv.channels).squeeze(0).unwrap();
            let inputs =
                [distinct(PARTS + 1, conv.padded().len()), distinct(conv.channels, conv.fan_in()), bias];
            check_gradients(&inputs, |inputs| convolve(&conv, &inputs[0], &inputs[1], &inputs[2]).unwrap());
        }
    }
}
