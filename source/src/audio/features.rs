//! From recordings to the sequences that layers read.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::delta::with_deltas;
use super::mfcc::{COEFFICIENTS, HOP, Mfcc, RATE};
use super::resample::resample;
use super::wav;
use crate::bad_file::BadFile;

/// What becomes of a frame's coefficients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MfccOptions {
    /// How they are normalised.
    #[serde(default, skip_serializing_if = "is_default")]
    pub normalize: Normalize,
    /// Whether the first coefficient, the loudness, is kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first: bool,
    /// Whether how each changes in time is put beside them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deltas: bool,
}

/// How coefficients are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// In each frame, the coefficients have mean 0 and deviation 1 (the paper). Changes are taken after that.
    #[default]
    Frames,
    /// Over all frames of the training set, each coefficient has, and so has each change.
    Coefficients,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl MfccOptions {
    /// Numbers of a frame.
    pub fn features(self) -> usize {
        let coefficients = if self.first { COEFFICIENTS } else { COEFFICIENTS - 1 };
        if self.deltas { 2 * coefficients } else { coefficients }
    }
}

/// What makes sequences of recordings.
pub struct Decoder {
    mfcc: Mfcc,
    options: MfccOptions,
}

impl Decoder {
    /// Makes them so.
    pub fn new(options: MfccOptions) -> Self {
        Self { mfcc: Mfcc::new(), options }
    }

    /// The sequence of the recording at `path`, (frames, features).
    pub fn sequence(&self, path: &Path) -> Result<Vec<f32>, BadFile> {
        let wav::Recording { rate, samples } = wav::read(path)?;
        check_length(path, samples.len(), rate)?;
        Ok(sequence_of(&self.mfcc, &samples, rate, self.options))
    }
}

/// The sequences of the recordings at `paths`, (frames, features) each, computed on all cores. Of several errors the first
/// file's is told.
pub fn sequences(paths: &[PathBuf], options: MfccOptions) -> Result<Vec<Vec<f32>>, BadFile> {
    let decoder = Decoder::new(options);
    let sequences: Vec<_> = paths.par_iter().map(|path| decoder.sequence(path)).collect();
    sequences.into_iter().collect()
}

/// Frames of the sequence of the recording at `path`, by its header.
pub fn frames(path: &Path) -> Result<usize, BadFile> {
    let (rate, samples) = wav::length(path)?;
    let samples = samples as usize;
    check_length(path, samples, rate)?;
    Ok(1 + (samples as u64 * u64::from(RATE)).div_ceil(rate.into()) as usize / HOP)
}

/// What is mirrored at the ends has to be there.
fn check_length(path: &Path, samples: usize, rate: u32) -> Result<(), BadFile> {
    if (samples as u64 * u64::from(RATE)).div_ceil(rate.into()) > HOP as u64 {
        return Ok(());
    }
    Err(BadFile::new(path, format_args!("{samples} samples at {rate} a second"), "more than 12.5 ms"))
}

/// The sequence of samples at `rate`, but for normalising over the training set: (frames, features).
fn sequence_of(mfcc: &Mfcc, samples: &[f64], rate: u32, options: MfccOptions) -> Vec<f32> {
    let mut frames = mfcc.of(&resample(samples, rate, RATE));
    for frame in &mut frames {
        if !options.first {
            frame.remove(0);
        }
        if options.normalize == Normalize::Frames {
            standardize(frame);
        }
    }
    let frames = if options.deltas { with_deltas(&frames) } else { frames };
    frames.iter().flatten().map(|&value| value as f32).collect()
}

/// Coefficients that differ by less are those of silence, all zero but for rounding, which must not be made large.
const SILENCE: f64 = 1e-6;

/// Subtracts the mean of the coefficients and divides by their unbiased deviation.
fn standardize(frame: &mut [f64]) {
    let count = frame.len() as f64;
    let mean = frame.iter().sum::<f64>() / count;
    let squares: f64 = frame.iter().map(|value| (value - mean) * (value - mean)).sum();
    let deviation = libm::sqrt(squares / (count - 1.0));
    for value in frame {
        *value = if deviation < SILENCE { 0.0 } else { (*value - mean) / deviation };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::golden::Golden;

    /// (frames, features)
    fn features(samples: &[f64], options: MfccOptions) -> Vec<Vec<f64>> {
        let sequence = sequence_of(&Mfcc::new(), samples, 8_000, options);
        sequence
            .chunks(options.features())
            .map(|frame| frame.iter().map(|&value| f64::from(value)).collect())
            .collect()
    }

    #[test]
    fn features_are_those_of_torchaudio() {
        let golden = Golden::open();
        let found = features(&golden.values("in.wave_8k"), MfccOptions::default());
        golden.check("f64.features39", &found);
    }

    #[test]
    fn coefficients_that_are_normalised_later_are_the_plain_ones() {
        let golden = Golden::open();
        let options = MfccOptions { normalize: Normalize::Coefficients, first: true, deltas: false };
        golden.check("f64.mfcc40", &features(&golden.values("in.wave_8k"), options));
    }

    #[test]
    fn changes_stand_behind_the_coefficients() {
        let samples = Golden::open().values("in.wave_8k");
        let plain = features(&samples, MfccOptions::default());
        let both = features(&samples, MfccOptions { deltas: true, ..MfccOptions::default() });
        assert_eq!(both.len(), plain.len());
        for (both, plain) in both.iter().zip(&plain) {
            assert_eq!((both.len(), &both[..39]), (78, &plain[..]));
        }
        let change = (plain[6][3] - plain[4][3] + 2.0 * (plain[7][3] - plain[3][3])) / 10.0;
        assert!((both[5][42] - change).abs() < 1e-6, "{} {change}", both[5][42]);
    }

    #[test]
    fn silence_is_zeros_and_no_noise() {
        let found = features(&[0.0; 2_000], MfccOptions::default());
        assert!(found.len() == 21 && found.iter().flatten().all(|&value| value == 0.0), "{found:?}");
    }
}
