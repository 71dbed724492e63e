//! The minimum of a smooth convex function by L-BFGS (Nocedal and Wright, "Numerical Optimization", algorithms 7.4 and 7.5), with
//! steps that are halved until they decrease the function enough (algorithm 3.1).
//!
//! It is here, and not a library's, because those that there are keep time or bring generators of random numbers with them, which this
//! crate does without.

use std::collections::VecDeque;

/// Steps whose curvature is remembered.
const MEMORY: usize = 10;
/// The largest component of a gradient at which the search ends.
const TOLERANCE: f64 = 1e-8;
/// Steps, at most. Well-scaled problems take tens.
const STEPS: usize = 2000;
/// The share of the decrease that a straight line would promise which a step has to bring.
const SUFFICIENT: f64 = 1e-4;
/// Halvings of a step, at most: beyond these rounding decides.
const HALVINGS: usize = 40;

/// A step, what it changed of the gradient, and one divided by their product.
struct Curvature {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
}

/// The point where `function` is least, searched from `point` on. It gets a point, writes the gradient there, and returns its value.
pub fn minimize(mut point: Vec<f64>, function: impl Fn(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let mut memory: VecDeque<Curvature> = VecDeque::with_capacity(MEMORY);
    for _ in 0..STEPS {
        if gradient.iter().all(|component| component.abs() <= TOLERANCE) {
            break;
        }
        let direction = direction(&memory, &gradient);
        let slope = dot(&direction, &gradient);
        // Without a memory nothing is known of the scale: a step of length 1.
        let mut length =
            if memory.is_empty() { dot(&gradient, &gradient).sqrt().recip().min(1.0) } else { 1.0 };
        let mut there = gradient.clone();
        let mut found = None;
        for _ in 0..HALVINGS {
            let next: Vec<f64> =
                point.iter().zip(&direction).map(|(start, along)| start + length * along).collect();
            let reached = function(&next, &mut there);
            if reached <= value + SUFFICIENT * length * slope {
                found = Some((next, reached));
                break;
            }
            length /= 2.0;
        }
        let Some((next, reached)) = found else {
            // Where no step helps along the gradient either, the rest is rounding. What was remembered may have been.
            if memory.is_empty() {
                break;
            }
            memory.clear();
            continue;
        };
        remember(&mut memory, difference(&next, &point), difference(&there, &gradient));
        (point, gradient, value) = (next, there, reached);
    }
    point
}

/// Where to go: the gradient, times an estimate of the inverse of the second derivatives, downwards (algorithm 7.4).
fn direction(memory: &VecDeque<Curvature>, gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|component| -component).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for Curvature { step, change, inverse } in memory.iter().rev() {
        let share = inverse * dot(step, &direction);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some(Curvature { change, inverse, .. }) = memory.back() {
        let scale = 1.0 / (inverse * dot(change, change));
        for component in &mut direction {
            *component *= scale;
        }
    }
    for (Curvature { step, change, inverse }, share) in memory.iter().zip(shares.into_iter().rev()) {
        let other = inverse * dot(change, &direction);
        add(&mut direction, share - other, step);
    }
    direction
}

/// Keeps a step in mind, if it says anything of the curvature.
fn remember(memory: &mut VecDeque<Curvature>, step: Vec<f64>, change: Vec<f64>) {
    let product = dot(&step, &change);
    if product <= f64::EPSILON * dot(&change, &change) {
        return;
    }
    if memory.len() == MEMORY {
        memory.pop_front();
    }
    memory.push_back(Curvature { step, change, inverse: product.recip() });
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn difference(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

fn add(sum: &mut [f64], times: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += times * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_stretched_bowl_is_found() {
        // sum_i c_i (x_i - i)², with c from 1 to 10,000.
        let stretch = |index: usize| 10.0_f64.powi((index % 5) as i32);
        let found = minimize(vec![0.0; 20], |point, gradient| {
            let mut value = 0.0;
            for (index, (x, out)) in point.iter().zip(gradient).enumerate() {
                let off = x - index as f64;
                value += stretch(index) * off * off;
                *out = 2.0 * stretch(index) * off;
            }
            value
        });
        for (index, x) in found.iter().enumerate() {
            assert!((x - index as f64).abs() < 1e-7, "{index}: {x}");
        }
    }

    #[test]
    fn a_function_that_is_no_bowl_is_descended_too() {
        // log(cosh(x)) summed, with a tilt: its minimum is where tanh(x) = tilt.
        let tilt = 0.9;
        let found = minimize(vec![30.0, -30.0], |point, gradient| {
            point.iter().zip(gradient.iter_mut()).for_each(|(x, out)| *out = x.tanh() - tilt);
            // log(cosh(x)) without overflow.
            let bowl = |x: &f64| x.abs() + (-2.0 * x.abs()).exp().ln_1p() - std::f64::consts::LN_2 - tilt * x;
            point.iter().map(bowl).sum()
        });
        for x in found {
            assert!((x - tilt.atanh()).abs() < 1e-6, "{x}");
        }
    }
}
