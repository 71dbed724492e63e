//! Recordings: WAV files in, sequences of frames out.

mod wav;
mod resample;
mod mel;
mod mfcc;
mod delta;
mod features;

#[cfg(test)]
mod golden;

pub use features::{Decoder, MfccOptions, Normalize, frames, sequences};
