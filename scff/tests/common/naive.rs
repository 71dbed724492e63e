//! The slow twin: plain loops in f64 that follow the paper's code. Pairs are concatenated in so many words, every
//! concatenation is standardised, and both halves are mapped for every pair that they are part of.

use scff::goodness::LossParameters;
use scff::layer::{Tensors, Transmit};
use scff::optimizer::OptimizerParameters;

pub type Rows = Vec<Vec<f64>>;

/// What a layer sees of a pair: two halves that meet the same weights, or one (algorithm 1).
pub type Halves = Vec<Vec<f64>>;

/// The pairs of a batch.
pub struct Pairs {
    pub positive: Vec<Halves>,
    pub negative: Vec<Halves>,
}

impl Pairs {
    /// Pairs made of samples: `first` and `second` are the views of the two halves.
    pub fn make(first: &Rows, second: &Rows, shifts: &[usize]) -> Self {
        let standardized = |rows: &Rows| rows.iter().map(|row| standardize(row)).collect::<Rows>();
        let (first, second) = (standardized(first), standardized(second));
        let join = |i: usize, j: usize| {
            let concatenation = standardize(&[first[i].as_slice(), second[j].as_slice()].concat());
            concatenation.chunks(first[i].len()).map(<[f64]>::to_vec).collect()
        };
        let batch = first.len();
        let shifted = |&shift: &usize| (0..batch).map(move |i| (i, (i + shift) % batch));
        Self {
            positive: (0..batch).map(|i| join(i, i)).collect(),
            negative: shifts.iter().flat_map(shifted).map(|(i, j)| join(i, j)).collect(),
        }
    }

    /// Pairs taken from the layer below.
    pub fn take(positive: &Rows, negative: &Rows) -> Self {
        let whole = |rows: &Rows| rows.iter().map(|row| vec![standardize(row)]).collect();
        Self { positive: whole(positive), negative: whole(negative) }
    }
}

/// Minus the mean, divided by 1e-10 plus the unbiased deviation.
pub fn standardize(x: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    x.iter().map(|x| (x - mean) / (1e-10 + deviation)).collect()
}

/// Weights (channels, fan-in) and biases of a layer, or their gradients.
#[derive(Clone, Debug)]
pub struct Layer {
    pub weight: Rows,
    pub bias: Vec<f64>,
}

impl Layer {
    pub fn new(tensors: &Tensors) -> Self {
        Self {
            weight: tensors.weight().outer_iter().map(widen).collect(),
            bias: tensors.bias().iter().map(|&b| f64::from(b)).collect(),
        }
    }

    /// z: the sum over the halves of W x + b.
    pub fn outputs(&self, halves: &Halves) -> Vec<f64> {
        let unit = |(weights, bias): (&Vec<f64>, &f64)| {
            halves.iter().map(|half| dot(weights, half) + bias).sum::<f64>()
        };
        self.weight.iter().zip(&self.bias).map(unit).collect()
    }

    /// What the layer passes on.
    pub fn transmit(&self, halves: &Halves, kind: Transmit) -> Vec<f64> {
        let z = self.outputs(halves);
        let mean = match kind {
            Transmit::Triangle => z.iter().sum::<f64>() / z.len() as f64,
            Transmit::Relu | Transmit::Standardized => 0.0,
        };
        z.iter().map(|z| (z - mean).max(0.0)).collect()
    }

    /// The loss of a batch; a dense layer's goodness is its own norm.
    pub fn loss(&self, pairs: &Pairs, loss: &LossParameters) -> f64 {
        let (theta_pos, theta_neg) = (f64::from(loss.theta_pos), f64::from(loss.theta_neg));
        let positive = |g: f64| (1.0 + (theta_pos - g).exp()).ln() + f64::from(loss.lambda) * (g * g).sqrt();
        let negative = |g: f64| (1.0 + (g - theta_neg).exp()).ln();
        mean(pairs.positive.iter().map(|pair| positive(goodness(&self.outputs(pair)))))
            + mean(pairs.negative.iter().map(|pair| negative(goodness(&self.outputs(pair)))))
    }

    /// dL/dW and dL/db.
    pub fn gradient(&self, pairs: &Pairs, loss: &LossParameters) -> Self {
        let mut gradient = Self {
            weight: self.weight.iter().map(|row| vec![0.0; row.len()]).collect(),
            bias: vec![0.0; self.bias.len()],
        };
        let logistic = |u: f64| 1.0 / (1.0 + (-u).exp());
        for pair in &pairs.positive {
            let z = self.outputs(pair);
            let g = goodness(&z);
            let pull = if g > 0.0 { f64::from(loss.lambda) } else { 0.0 };
            let slope = pull - logistic(f64::from(loss.theta_pos) - g);
            gradient.add_pair(pair, &z, slope / pairs.positive.len() as f64);
        }
        for pair in &pairs.negative {
            let z = self.outputs(pair);
            let slope = logistic(goodness(&z) - f64::from(loss.theta_neg));
            gradient.add_pair(pair, &z, slope / pairs.negative.len() as f64);
        }
        gradient
    }

    /// Adds a pair's part of the gradient; `slope`: dL/dg.
    pub fn add_pair(&mut self, halves: &Halves, z: &[f64], slope: f64) {
        let channels = z.len() as f64;
        for ((z, weights), bias) in z.iter().zip(&mut self.weight).zip(&mut self.bias) {
            let slope = slope * 2.0 * z.max(0.0) / channels;
            for half in halves {
                *bias += slope;
                for (weight, x) in weights.iter_mut().zip(half) {
                    *weight += slope * x;
                }
            }
        }
    }
}

/// One parameter of AdamW.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdamW {
    pub first: f64,
    pub second: f64,
}

impl AdamW {
    /// The parameter after step `t`, which counts from 1.
    pub fn step(&mut self, p: f64, gradient: f64, t: i32, optimizer: &OptimizerParameters) -> f64 {
        self.first = 0.9 * self.first + 0.1 * gradient;
        self.second = 0.999 * self.second + 0.001 * gradient * gradient;
        let rate = optimizer.learning_rate * optimizer.gamma.powi(t / optimizer.period as i32);
        let first = self.first / (1.0 - 0.9_f64.powi(t));
        let second = self.second / (1.0 - 0.999_f64.powi(t));
        p * (1.0 - rate * optimizer.weight_decay) - rate * first / (second.sqrt() + 1e-8)
    }
}

pub fn widen(row: ndarray::ArrayView1<'_, f32>) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

fn goodness(z: &[f64]) -> f64 {
    z.iter().map(|z| z.max(0.0).powi(2)).sum::<f64>() / z.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Within 1e-5 of the largest element.
pub fn check<'a>(what: &str, found: impl IntoIterator<Item = &'a f32>, expected: &[f64]) {
    let found: Vec<f64> = found.into_iter().map(|&value| f64::from(value)).collect();
    assert_eq!(found.len(), expected.len(), "{what}: elements");
    let largest = expected.iter().fold(0.0_f64, |max, value| max.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off <= 1e-5 * largest, "{what} [{index}]: {found}, not {expected}, off by {off:e}");
    }
}
