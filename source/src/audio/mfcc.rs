//! Mel-frequency cepstral coefficients, as torchaudio defines them (HTK's mel scale).
//!
//! A recording at 16 kHz is mirrored at both ends by 200 samples and cut into frames of 400, 200 apart. Of each frame, under
//! a periodic Hann window: the power spectrum (201 bins), 128 mel filters over it, 10 log10 of these (not less than 1e-10,
//! and not less than 80 dB under the recording's largest), and the first 40 of their cosine transform.
//!
//! All is computed in double precision by kernels that are the same for all processors, with sines and logarithms of
//! `libm`, for the bits of samples are part of the bits of weights.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use super::mel::{Filter, cosine_transform, filters};

/// Samples a second.
pub const RATE: u32 = 16_000;
/// Coefficients of a frame.
pub const COEFFICIENTS: usize = 40;
/// Samples of a frame.
const FRAME: usize = 400;
/// Samples from one frame to the next; as many are mirrored at each end, which a recording must have more of.
pub const HOP: usize = 200;
/// Bins of a power spectrum.
const BINS: usize = FRAME / 2 + 1;
/// Mel filters.
const FILTERS: usize = 128;
/// The least power that has a logarithm.
const LEAST: f64 = 1e-10;
/// How far below a recording's loudest everything else may lie, in decibels.
const RANGE: f64 = 80.0;

/// What makes coefficients of samples.
pub struct Mfcc {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    filters: Vec<Filter>,
    cosines: Vec<Vec<f64>>,
}

impl Mfcc {
    /// Windows, filters and transforms.
    pub fn new() -> Self {
        let hann = |at: usize| 0.5 - 0.5 * libm::cos(2.0 * PI * at as f64 / FRAME as f64);
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(FRAME),
            window: (0..FRAME).map(hann).collect(),
            filters: filters(FILTERS, BINS, f64::from(RATE / 2)),
            cosines: cosine_transform(COEFFICIENTS, FILTERS),
        }
    }

    /// The coefficients of samples at 16 kHz, more than 200 of them: (frames, 40), where frames = 1 + samples / 200.
    pub fn of(&self, samples: &[f64]) -> Vec<Vec<f64>> {
        self.cepstra(&decibels(self.mel(&self.power(samples))))
    }

    /// Power spectra, (frames, 201).
    fn power(&self, samples: &[f64]) -> Vec<Vec<f64>> {
        let (mut frame, mut spectrum) = (self.fft.make_input_vec(), self.fft.make_output_vec());
        let mut power = |start: usize| {
            for (at, (value, window)) in frame.iter_mut().zip(&self.window).enumerate() {
                *value = mirrored(samples, (start + at) as isize - HOP as isize) * window;
            }
            self.fft.process(&mut frame, &mut spectrum).expect("buffers of the plan's lengths");
            spectrum.iter().map(|bin| bin.re * bin.re + bin.im * bin.im).collect()
        };
        (0..=samples.len() / HOP).map(|frame| power(frame * HOP)).collect()
    }

    /// What the filters pass, (frames, 128).
    fn mel(&self, power: &[Vec<f64>]) -> Vec<Vec<f64>> {
        power.iter().map(|power| self.filters.iter().map(|filter| filter.of(power)).collect()).collect()
    }

    /// Their cosine transform, (frames, 40).
    fn cepstra(&self, decibels: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let dot = |row: &Vec<f64>, frame: &Vec<f64>| row.iter().zip(frame).map(|(a, b)| a * b).sum();
        decibels.iter().map(|frame| self.cosines.iter().map(|row| dot(row, frame)).collect()).collect()
    }
}

/// Sample `at`, where indices outside of the recording go back into it, the ends not repeated.
fn mirrored(samples: &[f64], at: isize) -> f64 {
    let last = samples.len() as isize - 1;
    let inside = at.abs();
    samples[if inside > last { 2 * last - inside } else { inside } as usize]
}

/// The same in decibels, none of them too far below the loudest of all.
fn decibels(mut mel: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut loudest = f64::NEG_INFINITY;
    for value in mel.iter_mut().flatten() {
        *value = 10.0 * libm::log10(value.max(LEAST));
        loudest = loudest.max(*value);
    }
    mel.iter_mut().flatten().for_each(|value| *value = value.max(loudest - RANGE));
    mel
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::golden::{Golden, column};
    use crate::audio::resample::resample;

    #[test]
    fn every_stage_is_that_of_torchaudio() {
        let golden = Golden::open();
        let wave = resample(&golden.values("in.wave_8k"), 8_000, RATE);
        golden.check("f64.wave_16k", &column(&wave));
        let mfcc = Mfcc::new();
        let power = mfcc.power(&wave);
        golden.check("f64.power_frame", &column(&power[10]));
        let mel = mfcc.mel(&power);
        golden.check("f64.mel", &mel);
        let decibels = decibels(mel);
        golden.check("f64.mel_db", &decibels);
        golden.check("f64.mfcc40", &mfcc.cepstra(&decibels));
    }
}
