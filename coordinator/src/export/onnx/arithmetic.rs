//! Operations that layers have in common.

use ndarray::ArrayView2;
use scff::normalize::EPSILON;

use super::graph::{Builder, Value};
use super::messages::{Attribute, Type};

/// A value of single precision minus its mean over `axes`, divided by 1e-10 plus its deviation, whose square is `factor` times the
/// mean square: n / (n - 1) of n numbers, 2n / (2n - 1) of n that stand twice.
pub fn standardize(graph: &mut Builder, value: &Value, axes: &[i64], factor: f64) -> Value {
    let double = cast(graph, value, Type::Double);
    let mean = mean(graph, &double, axes, true);
    let difference = graph.node("Sub", &[&double, &mean], vec![]);
    let square = graph.node("Mul", &[&difference, &difference], vec![]);
    let square = self::mean(graph, &square, axes, true);
    let factor = graph.double(factor);
    let variance = graph.node("Mul", &[&square, &factor], vec![]);
    let deviation = graph.node("Sqrt", &[&variance], vec![]);
    let epsilon = graph.double(EPSILON);
    let divisor = graph.node("Add", &[&deviation, &epsilon], vec![]);
    let result = graph.node("Div", &[&difference, &divisor], vec![]);
    cast(graph, &result, Type::Float)
}

/// n / (n - 1), of a variance without bias.
pub fn unbiased(count: usize) -> f64 {
    count as f64 / (count as f64 - 1.0).max(1.0)
}

fn cast(graph: &mut Builder, value: &Value, to: Type) -> Value {
    graph.node("Cast", &[value], vec![Attribute::int("to", i64::from(to as i32))])
}

/// The mean over `axes`, which stay as sides of 1 if `kept`.
pub fn mean(graph: &mut Builder, value: &Value, axes: &[i64], kept: bool) -> Value {
    let attributes = vec![Attribute::ints("axes", axes), Attribute::int("keepdims", i64::from(kept))];
    graph.node("ReduceMean", &[value], attributes)
}

/// relu(value - its mean over the channels of `axis`).
pub fn triangle(graph: &mut Builder, value: &Value, axis: i64) -> Value {
    let mean = mean(graph, value, &[axis], true);
    let difference = graph.node("Sub", &[value, &mean], vec![]);
    graph.node("Relu", &[&difference], vec![])
}

/// Rows times `weight` (outputs, inputs) transposed, plus the bias.
pub fn linear(graph: &mut Builder, rows: &Value, weight: ArrayView2<'_, f32>, bias: Vec<f32>) -> Value {
    let (outputs, inputs) = weight.dim();
    let weight = graph.floats(&[outputs, inputs], weight.iter().copied());
    let bias = graph.floats(&[outputs], bias);
    graph.node("Gemm", &[rows, &weight, &bias], vec![Attribute::int("transB", 1)])
}

/// Values side by side along an axis.
pub fn concat(graph: &mut Builder, values: &[&Value], axis: i64) -> Value {
    graph.node("Concat", values, vec![Attribute::int("axis", axis)])
}

/// The same numbers in another shape; -1 stands for the side that follows from the others.
pub fn reshape(graph: &mut Builder, value: &Value, shape: &[i64]) -> Value {
    let shape = graph.integers(shape);
    graph.node("Reshape", &[value, &shape], vec![])
}

/// The places from `start` on and before `end` of an axis.
pub fn slice(graph: &mut Builder, value: &Value, axis: i64, start: &Value, end: &Value) -> Value {
    let axis = graph.integers(&[axis]);
    graph.node("Slice", &[value, start, end, &axis], vec![])
}
