//! A bidirectional recurrent layer, with gradients through time.
//!
//! Sequences are walked the longest first, so that those that have ended drop out of later products; nothing is padded. What
//! stands in the order of walking is chosen from what stands in the order of frames, and back.

use candle_core::{Device, Result, Tensor};
use scff::layer::{BiRnn, Summary};

use crate::activations::indices;
use crate::parameters::Parameters;
use crate::standardize::standardize;

/// In which order the frames of some sequences are walked.
struct Walk {
    /// How many sequences are walked in each step.
    active: Vec<usize>,
    /// For each row in the order of walking, the frame's place among all.
    frames: Vec<usize>,
}

impl Walk {
    fn new(lengths: &[usize], backward: bool) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
        let starts = starts(lengths);
        let steps = lengths.iter().copied().max().unwrap_or(0);
        let active: Vec<usize> =
            (0..steps).map(|step| lengths.iter().filter(|length| **length > step).count()).collect();
        let frame = |step: usize, sequence: usize| {
            starts[sequence] + if backward { lengths[sequence] - 1 - step } else { step }
        };
        let frames = active
            .iter()
            .enumerate()
            .flat_map(|(step, &count)| order[..count].iter().map(move |&sequence| frame(step, sequence)))
            .collect();
        Self { active, frames }
    }

    /// For each frame, its row in the order of walking.
    fn rows(&self) -> Vec<usize> {
        let mut rows = vec![0; self.frames.len()];
        for (row, &frame) in self.frames.iter().enumerate() {
            rows[frame] = row;
        }
        rows
    }
}

/// Where each sequence begins among all frames.
fn starts(lengths: &[usize]) -> Vec<usize> {
    lengths.iter().scan(0, |next, length| Some(std::mem::replace(next, *next + length))).collect()
}

/// The standardised states of both directions in each frame: (frames of all, features) to (frames of all, 2 * hidden).
/// `copies`: how often a sample is seen at once.
pub fn states(
    birnn: &BiRnn,
    parameters: &Parameters,
    frames: &Tensor,
    lengths: &[usize],
    copies: usize,
) -> Result<Tensor> {
    let hidden = birnn.hidden;
    let bias = (parameters.get("bias_ih") + parameters.get("bias_hh"))?;
    let mapped = (frames.matmul(&parameters.get("weight_ih").t()?)? * copies as f64)?.broadcast_add(&bias)?;
    let directions = [false, true].into_iter().enumerate().map(|(direction, backward)| {
        let walk = Walk::new(lengths, backward);
        let units = direction * hidden;
        let mapped = mapped.narrow(1, units, hidden)?.contiguous()?;
        let mapped = mapped.index_select(&indices(walk.frames.iter().copied())?, 0)?;
        let weight = parameters.get("weight_hh").narrow(0, units, hidden)?.t()?;
        let states = walk_states(&walk, &mapped, &weight)?;
        states.index_select(&indices(walk.rows())?, 0)
    });
    Tensor::cat(&directions.collect::<Result<Vec<_>>>()?, 1)
}

/// The states of one direction in the order of walking: (rows, hidden), of what the frames add to them.
fn walk_states(walk: &Walk, mapped: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut states: Vec<Tensor> = Vec::with_capacity(walk.active.len());
    let mut row = 0;
    for &active in &walk.active {
        let mapped = mapped.narrow(0, row, active)?;
        let fresh = match states.last() {
            Some(before) => (mapped + before.narrow(0, 0, active)?.matmul(weight)?)?,
            None => mapped,
        };
        states.push(standardize(&fresh.relu()?, 1)?);
        row += active;
    }
    Tensor::cat(&states, 0)
}

/// What the readout reads of states, (frames of all, 2 * hidden): (sequences, features).
pub fn summarize(birnn: &BiRnn, states: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let hidden = birnn.hidden;
    let parts = match birnn.summary {
        Summary::Last => {
            let last = starts(lengths).into_iter().zip(lengths).map(|(start, length)| start + length - 1);
            let forward = states.narrow(1, 0, hidden)?.contiguous()?.index_select(&indices(last)?, 0)?;
            let backward = states.narrow(1, hidden, hidden)?.contiguous()?;
            return Tensor::cat(&[forward, backward.index_select(&indices(starts(lengths))?, 0)?], 1);
        }
        Summary::Mean => 1,
        Summary::Thirds => 3,
    };
    let means = shares(lengths, parts)?.matmul(states)?;
    // Standardised for each part and direction.
    standardize(&means.reshape((lengths.len() * parts * 2, hidden))?, 1)?
        .reshape((lengths.len(), parts * 2 * hidden))
}

/// How much each frame adds to the mean of each part of each sequence: (sequences * parts, frames of all).
fn shares(lengths: &[usize], parts: usize) -> Result<Tensor> {
    let total: usize = lengths.iter().sum();
    let mut shares = vec![0.0_f32; lengths.len() * parts * total];
    let mut rows = shares.chunks_exact_mut(total.max(1));
    for (first, &length) in starts(lengths).into_iter().zip(lengths) {
        for (part, row) in (0..parts).zip(&mut rows) {
            // Of fewer frames than parts, some belong to several.
            let start = part * length / parts;
            let end = ((part + 1) * length / parts).max(start + 1);
            row[first + start..first + end].fill(1.0 / (end - start) as f32);
        }
    }
    Tensor::from_vec(shares, (lengths.len() * parts, total), &Device::Cpu)
}
