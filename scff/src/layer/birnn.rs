//! Bidirectional recurrent layers over sequences of frames.
//!
//! Per direction, from its first frame to its last: h_t = relu(W_ih e_t + b_ih + W_hh n_{t-1} + b_hh), where n_t is h_t
//! standardised over the direction's hidden units, n before the first frame is 0, and e_t is the pair's input. Channels are
//! the units of both directions: first those of the direction that walks forward, then those of the one that walks
//! backward, also where tensors hold both.

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::map::MapShape;
use super::tensors::TensorSpec;

/// The name of the weights of frames, (2 * hidden, features).
pub(crate) const WEIGHT_IH: &str = "weight_ih";
/// The name of the weights of the hidden state before, (2 * hidden, hidden).
pub(crate) const WEIGHT_HH: &str = "weight_hh";
/// The name of the biases that come with frames, (2 * hidden).
pub(crate) const BIAS_IH: &str = "bias_ih";
/// The name of the biases that come with the hidden state, (2 * hidden).
pub(crate) const BIAS_HH: &str = "bias_hh";

/// The shape of a bidirectional recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BiRnn {
    /// The longest sequence that it reads: its height is the number of frames; a frame is all numbers of a row of the map,
    /// side by side. Others may be shorter, by whole frames.
    pub input: MapShape,
    /// Hidden units of each direction, H.
    pub hidden: usize,
    /// What a batch makes of sequences of different lengths.
    pub padding: SequencePadding,
    /// What the readout reads of a sequence.
    pub summary: Summary,
}

/// What a training step makes of sequences of different lengths. Frozen layers never see any padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SequencePadding {
    /// A pair has the frames that both of its halves have, and nothing else counts: what it adds to loss and gradients
    /// does not depend on who shares its batch.
    #[default]
    Masked,
    /// As in the paper's code: all are padded with frames of zeros to the longest of the batch, these count in goodness,
    /// loss and penalty like any others, and the backward direction starts in them.
    Counts,
}

/// What the readout reads of the hidden states of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Summary {
    /// The last state of each direction (the paper).
    #[default]
    Last,
    /// Their mean over all frames, standardised for each direction.
    Mean,
    /// Their means over the first, the middle and the last third of the frames, each standardised for each direction.
    Thirds,
}

impl BiRnn {
    /// Frames of the longest sequence.
    pub fn frames(&self) -> usize {
        self.input.height
    }

    /// Numbers of a frame, F.
    pub fn features(&self) -> usize {
        self.input.width * self.input.channels
    }

    /// The shape of what it makes of the longest sequence: in each frame, the units of both directions.
    pub fn output(&self) -> MapShape {
        MapShape { height: self.frames(), width: 1, channels: 2 * self.hidden }
    }

    /// Elements that the readout reads.
    pub fn summarized(&self) -> usize {
        let states = match self.summary {
            Summary::Last | Summary::Mean => 1,
            Summary::Thirds => 3,
        };
        states * 2 * self.hidden
    }

    /// Weights of a unit: those of a frame and those of the state before.
    pub fn fan_in(&self) -> usize {
        self.features() + self.hidden
    }

    /// Its tensors, all uniform in plus or minus 1/sqrt(H) at first (PyTorch's default).
    pub(super) fn tensors(&self) -> Vec<TensorSpec> {
        let units = 2 * self.hidden;
        let initial_bound = 1.0 / (self.hidden as f32).sqrt();
        let of = |name, shape| TensorSpec { name, shape, channels: Axis(0), initial_bound };
        vec![
            of(WEIGHT_IH, vec![units, self.features()]),
            of(WEIGHT_HH, vec![units, self.hidden]),
            of(BIAS_IH, vec![units]),
            of(BIAS_HH, vec![units]),
        ]
    }
}
