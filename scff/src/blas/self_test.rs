//! A self-test of the kernel in use: whether its products are right, and which bits they have.
//!
//! Two processes whose answers have the same bytes compute the same weights, whatever their libraries and kernels are
//! called. So the shapes are those in which kernels were found to differ: rows and channels that leave remainders of 12
//! and 16, inner dimensions that are cut into several panels, products that are added up, and very small ones.

use ndarray::Array2;
use ndarray::linalg::general_mat_mul;

use super::{product, product_row_by_row, product_without_blas, row_period};
use crate::batch::{Epoch, Step};
use crate::seed::{NO_LAYER, Purpose, Seed, symmetric};

/// Which product it is, of those that training and transforming call for.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Rows times weights.
    Forward,
    /// The same, with all rows alike.
    RowByRow,
    /// The gradient of weights: of rows, and once more of them, added up.
    Gradient,
    /// Rows times weights that stand as (inputs, channels).
    Across,
    /// The gradient of such weights.
    GradientAcross,
}

/// Rows, inputs and channels.
type Shape = (usize, usize, usize);

const PRODUCTS: [(Form, Shape); 18] = [
    (Form::Forward, (100, 784, 200)),
    (Form::Forward, (53, 2000, 61)),
    (Form::Forward, (35, 3456, 48)),
    (Form::Forward, (517, 75, 96)),
    (Form::Forward, (1031, 27, 24)),
    (Form::Forward, (13, 17, 19)),
    (Form::Forward, (5, 7, 3)),
    (Form::Forward, (1, 33, 1)),
    (Form::RowByRow, (29, 784, 50)),
    (Form::RowByRow, (7, 2000, 33)),
    (Form::Gradient, (100, 784, 200)),
    (Form::Gradient, (517, 75, 96)),
    (Form::Gradient, (1031, 27, 24)),
    (Form::Gradient, (7, 100, 17)),
    // The first of each is small enough for kernels that do not pack what they multiply.
    (Form::Across, (128, 75, 96)),
    (Form::Across, (500, 147, 96)),
    (Form::GradientAcross, (128, 75, 96)),
    (Form::GradientAcross, (500, 147, 96)),
];

/// A product that is not what it should be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "a product of {rows} rows, {inputs} inputs and {channels} channels holds {found}, expected {expected}"
)]
pub struct WrongProduct {
    rows: usize,
    inputs: usize,
    channels: usize,
    found: f32,
    expected: f32,
}

/// What the self-test asks: whoever remembers an answer remembers it for this.
pub fn question() -> String {
    format!("{PRODUCTS:?}")
}

/// The bits of all products, each of which is right.
pub fn answer() -> Result<Vec<u8>, WrongProduct> {
    // How rows are laid out depends on it.
    let mut answer = (row_period().unwrap_or(0) as u64).to_le_bytes().to_vec();
    for (index, (form, shape)) in PRODUCTS.into_iter().enumerate() {
        let factors = Factors::new(form, shape, index as u64);
        let result = factors.product();
        check(shape, &result, &factors.product_without_blas())?;
        answer.extend(result.iter().flat_map(|number| number.to_le_bytes()));
    }
    Ok(answer)
}

/// What is multiplied.
struct Factors {
    form: Form,
    rows: Array2<f32>,
    /// Weights, (channels, inputs); of a gradient, what is to be passed back, (rows, channels).
    other: Array2<f32>,
}

impl Factors {
    fn new(form: Form, (rows, inputs, channels): Shape, index: u64) -> Self {
        let mut random = Seed(index).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
        let mut matrix = |shape| Array2::from_shape_simple_fn(shape, || symmetric(&mut random, 1.0));
        let rows_of_inputs = matrix((rows, inputs));
        let other = match form {
            Form::Gradient | Form::GradientAcross => matrix((rows, channels)),
            Form::Forward | Form::RowByRow => matrix((channels, inputs)),
            Form::Across => matrix((inputs, channels)),
        };
        Self { form, rows: rows_of_inputs, other }
    }

    fn product(&self) -> Array2<f32> {
        let Self { form, rows, other } = self;
        let mut result = self.zeros();
        match form {
            Form::Forward => product(rows.view(), other.view(), &mut result.view_mut()),
            Form::RowByRow => product_row_by_row(rows.view(), other.view(), &mut result.view_mut()),
            Form::Across => general_mat_mul(1.0, rows, other, 0.0, &mut result),
            Form::Gradient | Form::GradientAcross => {
                for begun in [0.0, 1.0] {
                    match form {
                        Form::Gradient => general_mat_mul(1.0, &other.t(), rows, begun, &mut result),
                        _ => general_mat_mul(1.0, &rows.t(), other, begun, &mut result),
                    }
                }
            }
        }
        result
    }

    fn product_without_blas(&self) -> Array2<f32> {
        let Self { form, rows, other } = self;
        let mut result = self.zeros();
        match form {
            Form::Forward | Form::RowByRow => {
                product_without_blas(rows.view(), other.view(), &mut result.view_mut());
            }
            Form::Across => product_without_blas(rows.view(), other.t(), &mut result.view_mut()),
            Form::GradientAcross => {
                product_without_blas(rows.t(), other.t(), &mut result.view_mut());
                result *= 2.0;
            }
            Form::Gradient => {
                product_without_blas(other.t(), rows.t(), &mut result.view_mut());
                result *= 2.0;
            }
        }
        result
    }

    fn zeros(&self) -> Array2<f32> {
        let Self { form, rows, other } = self;
        Array2::zeros(match form {
            Form::Forward | Form::RowByRow => (rows.nrows(), other.nrows()),
            Form::Across => (rows.nrows(), other.ncols()),
            Form::Gradient => (other.ncols(), rows.ncols()),
            Form::GradientAcross => (rows.ncols(), other.ncols()),
        })
    }
}

/// No factor is larger than 1, so a sum of n products that is added up in another order, or twice, is off by far less.
fn check(shape: Shape, found: &Array2<f32>, expected: &Array2<f32>) -> Result<(), WrongProduct> {
    let (rows, inputs, channels) = shape;
    let tolerance = 4.0 * rows.max(inputs) as f32 * f32::EPSILON;
    let close = |found: f32, expected: f32| (found - expected).abs() <= tolerance;
    match found.iter().zip(expected).find(|&(&found, &expected)| !close(found, expected)) {
        None => Ok(()),
        Some((&found, &expected)) => Err(WrongProduct { rows, inputs, channels, found, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_kernel_answers_alike() {
        crate::blas::use_one_thread_per_call();
        let first = answer().unwrap();
        assert_eq!(first, answer().unwrap());
        let numbers: usize = PRODUCTS
            .iter()
            .map(|(form, (rows, inputs, channels))| match form {
                Form::Gradient | Form::GradientAcross => channels * inputs,
                _ => rows * channels,
            })
            .sum();
        assert_eq!(first.len(), 8 + 4 * numbers);
    }

    #[test]
    fn a_wrong_number_is_found_and_another_order_of_sums_is_not() {
        let factors = Factors::new(Form::Forward, (7, 2000, 5), 0);
        let right = factors.product_without_blas();
        let mut product = right.clone();
        product[[3, 2]] += 1e-5;
        assert_eq!(check((7, 2000, 5), &product, &right), Ok(()));
        for wrong in [0.1, f32::NAN] {
            product[[3, 2]] = right[[3, 2]] + wrong;
            let error = check((7, 2000, 5), &product, &right).unwrap_err().to_string();
            assert!(error.starts_with("a product of 7 rows, 2000 inputs and 5 channels holds "), "{error}");
        }
    }
}
