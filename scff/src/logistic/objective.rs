//! The penalised cross entropy, and its minimum.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::classifier::Classifier;
use super::lbfgs::minimize;

/// The classifier of the least penalised cross entropy, searched from `start` on.
pub fn fit(inputs: &Array2<f64>, labels: &[u32], strength: f64, start: Classifier) -> Classifier {
    let (width, classes) = start.weight.dim();
    let mut point = start.weight.into_raw_vec_and_offset().0;
    point.extend(start.bias);
    let minimum = minimize(point, |point, gradient| {
        let (weight, bias) = point.split_at(width * classes);
        let weight = ArrayView2::from_shape((width, classes), weight).expect("so many");
        let mut logits = inputs.dot(&weight) + ArrayView1::from(bias);
        let loss = cross_entropy(&mut logits, labels);
        let of_weight = inputs.t().dot(&logits) + &weight * strength;
        let of_bias = logits.sum_axis(Axis(0));
        gradient.iter_mut().zip(of_weight.iter().chain(&of_bias)).for_each(|(out, value)| *out = *value);
        loss + strength / 2.0 * weight.iter().map(|value| value * value).sum::<f64>()
    });
    let (weight, bias) = minimum.split_at(width * classes);
    Classifier {
        weight: Array2::from_shape_vec((width, classes), weight.to_vec()).expect("so many"),
        bias: Array1::from(bias.to_vec()),
    }
}

/// The mean cross entropy of logits (samples, classes), in whose place comes its gradient.
pub fn cross_entropy(logits: &mut Array2<f64>, labels: &[u32]) -> f64 {
    let count = labels.len() as f64;
    let mut loss = 0.0;
    for (mut row, &label) in logits.outer_iter_mut().zip(labels) {
        let most = row[largest(row.view())];
        let total: f64 = row.iter().map(|logit| libm::exp(logit - most)).sum();
        loss += (libm::log(total) + most - row[label as usize]) / count;
        for (class, logit) in row.iter_mut().enumerate() {
            let target = f64::from(u8::from(class == label as usize));
            *logit = (libm::exp(*logit - most) / total - target) / count;
        }
    }
    loss
}

/// Where the largest number is, the first of several.
pub fn largest(values: ArrayView1<'_, f64>) -> usize {
    values.iter().enumerate().fold(0, |best, (index, value)| if *value > values[best] { index } else { best })
}
