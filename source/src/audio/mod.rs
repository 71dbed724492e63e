//! Recordings: WAV files in, sequences of frames out.

mod error;
mod wav;
mod resample;
mod mel;
mod mfcc;
mod delta;
mod features;

#[cfg(test)]
mod golden;

pub use error::RecordingError;
pub use features::{MfccOptions, Normalize, sequences};
