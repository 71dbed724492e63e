//! Operations of our own, with their gradients: what the library would compute on one thread, from many small operations.
//!
//! They are computed on all threads of the pool that they are called from, in parts that do not depend on how many those are.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

/// Rows of about so many numbers are computed by one thread at a time.
const NUMBERS_AT_ONCE: usize = 1 << 14;

/// What is computed of each row alone.
pub trait OfRows: Send + Sync + 'static {
    /// What it is called in errors.
    const NAME: &'static str;

    /// Numbers of a row that it reads.
    fn inputs(&self) -> usize;

    /// Numbers of a row that it writes.
    fn outputs(&self) -> usize;

    /// Writes the result for `row` to `out`.
    fn forward(&self, row: &[f32], out: &mut [f32]);

    /// Writes to `out`, which holds zeros, the gradient of `row`, whose result is `result`, for the `gradient` of the result.
    fn backward(&self, row: &[f32], result: &[f32], gradient: &[f32], out: &mut [f32]);
}

/// Applies an operation to every row: (rows, inputs) to (rows, outputs).
pub fn of_rows(operation: impl OfRows, rows: &Tensor) -> Result<Tensor> {
    rows.contiguous()?.apply_op1(OnRows(operation))
}

struct OnRows<O>(O);

impl<O: OfRows> OnRows<O> {
    fn rows_at_once(&self) -> usize {
        (NUMBERS_AT_ONCE / self.0.inputs().max(self.0.outputs())).max(1)
    }
}

impl<O: OfRows> CustomOp1 for OnRows<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (operation, rows_at_once) = (&self.0, self.rows_at_once());
        let (inputs, outputs) = (operation.inputs(), operation.outputs());
        let (count, found) = layout.shape().dims2()?;
        assert_eq!(found, inputs, "rows of {}", O::NAME);
        let rows = numbers(storage, layout)?;
        let mut out = vec![0.0; count * outputs];
        let parts = rows.par_chunks(rows_at_once * inputs).zip(out.par_chunks_mut(rows_at_once * outputs));
        parts.for_each(|(rows, out)| {
            for (row, out) in rows.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
                operation.forward(row, out);
            }
        });
        Ok((CpuStorage::F32(out), (count, outputs).into()))
    }

    fn bwd(&self, rows: &Tensor, results: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (operation, rows_at_once) = (&self.0, self.rows_at_once());
        let (inputs, outputs) = (operation.inputs(), operation.outputs());
        let mut out = vec![0.0; rows.elem_count()];
        with_numbers([rows, results, gradient], |[rows, results, gradient]| {
            let parts = rows
                .par_chunks(rows_at_once * inputs)
                .zip(results.par_chunks(rows_at_once * outputs))
                .zip(gradient.par_chunks(rows_at_once * outputs))
                .zip(out.par_chunks_mut(rows_at_once * inputs));
            parts.for_each(|(((rows, results), gradient), out)| {
                let rows = rows.chunks_exact(inputs).zip(results.chunks_exact(outputs));
                let gradients = gradient.chunks_exact(outputs).zip(out.chunks_exact_mut(inputs));
                for ((row, result), (gradient, out)) in rows.zip(gradients) {
                    operation.backward(row, result, gradient, out);
                }
            });
        })?;
        Ok(Some(Tensor::from_vec(out, rows.shape(), &Device::Cpu)?))
    }
}

/// The numbers of a contiguous tensor.
pub fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().expect("a contiguous tensor");
    Ok(&storage.as_slice()?[start..end])
}

/// Lets `read` see the numbers of some tensors, in the order of their last axis.
pub fn with_numbers<const N: usize, T>(
    tensors: [&Tensor; N],
    read: impl FnOnce([&[f32]; N]) -> T,
) -> Result<T> {
    let tensors: Vec<Tensor> = tensors.into_iter().map(Tensor::contiguous).collect::<Result<_>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let slices = guards.iter().map(|(storage, layout)| match &**storage {
        Storage::Cpu(storage) => numbers(storage, layout),
        Storage::Cuda(_) | Storage::Metal(_) => unreachable!("all tensors are in the processor's memory"),
    });
    let slices: Vec<&[f32]> = slices.collect::<Result<_>>()?;
    Ok(read(slices.try_into().expect("as many as there are tensors")))
}

#[cfg(test)]
pub(crate) mod tests {
    use candle_core::Var;
    use scff::batch::{Epoch, Step};
    use scff::seed::{NO_LAYER, Purpose, Seed, permutation, symmetric};

    use super::*;

    /// How far numbers are moved; half of the least difference between those of [`distinct`].
    const STEP: f32 = 0.01;

    /// Numbers around zero no two of which are closer to each other, or to zero, than twice a step: (rows, columns).
    pub fn distinct(rows: usize, columns: usize) -> Tensor {
        let count = rows * columns;
        let mut random = Seed(9).stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(0));
        let order = permutation(&mut random, count as u32);
        let number = |place: u32| (place as f32 - count as f32 / 2.0 + 0.5) * 2.5 * STEP;
        Tensor::from_vec(order.into_iter().map(number).collect(), (rows, columns), &Device::Cpu).unwrap()
    }

    /// Compares the gradients of all `inputs` of an operation with finite differences, of its results' sum with random weights.
    pub fn check_gradients(inputs: &[Tensor], operation: impl Fn(&[Tensor]) -> Tensor) {
        let variables: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
        let tensors = || variables.iter().map(|variable| variable.as_tensor().clone()).collect::<Vec<_>>();
        let shape = operation(&tensors()).shape().clone();
        let mut random = Seed(8).stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(0));
        let weights = (0..shape.elem_count()).map(|_| symmetric(&mut random, 1.0)).collect();
        let weights = Tensor::from_vec(weights, shape, &Device::Cpu).unwrap();
        let total = || (operation(&tensors()) * &weights).unwrap();
        let gradients = total().sum_all().unwrap().backward().unwrap();
        let sum = || -> f64 {
            let all = total().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all.into_iter().map(f64::from).sum()
        };
        for (place, variable) in variables.iter().enumerate() {
            let values = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let gradient = gradients.get(variable).unwrap();
            assert_eq!(gradient.shape(), variable.shape());
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let largest = gradient.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
            for index in 0..values.len() {
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[index] += by;
                    let moved = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
                    variable.set(&moved).unwrap();
                    sum()
                };
                let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                moved(0.0);
                let error = (slope - f64::from(gradient[index])).abs();
                assert!(
                    error < 0.005 * f64::from(largest),
                    "input {place}, number {index}: {slope} and {gradient:?}"
                );
            }
        }
    }
}
