//! Resampling by a windowed sinc, as torchaudio does it.
//!
//! With the ratio of the rates in lowest terms, o samples in for n out, output sample i = q n + p is
//!
//! y_i = sum_j k_p(j) x_(q o + j), where k_p(j) = (b / o) cos(pi u / 2L)^2 sinc(u), u = b (j / o - p / n),
//! b = 0.99 min(o, n), L = 6, and |u| < L;
//!
//! x is zero outside of the recording. There are ceil(n length / o) output samples.

use std::f64::consts::PI;

/// Zero crossings of the sinc on either side, L.
const ZERO_CROSSINGS: f64 = 6.0;
/// The cut-off frequency as a share of the lower Nyquist frequency.
const ROLLOFF: f64 = 0.99;

/// The samples at `rate` that sound like `samples` at `given` samples a second.
pub fn resample(samples: &[f64], given: u32, rate: u32) -> Vec<f64> {
    if given == rate {
        return samples.to_vec();
    }
    let divisor = greatest_common_divisor(given, rate);
    let (old, new) = ((given / divisor) as usize, (rate / divisor) as usize);
    let length = (new * samples.len()).div_ceil(old);
    // Of a short recording not all phases are met.
    let kernels: Vec<Kernel> = (0..new.min(length)).map(|phase| Kernel::new(old, new, phase)).collect();
    (0..length).map(|at| kernels[at % new].at(samples, at / new * old)).collect()
}

/// What one phase of the output is made with.
struct Kernel {
    /// Where its first tap lies from the period's first sample on.
    first: isize,
    taps: Vec<f64>,
}

impl Kernel {
    fn new(old: usize, new: usize, phase: usize) -> Self {
        let (o, shift) = (old as f64, phase as f64 / new as f64);
        let base = ROLLOFF * old.min(new) as f64;
        let reach = ZERO_CROSSINGS * o / base;
        let [first, last] = [(o * shift - reach).ceil(), (o * shift + reach).floor()];
        let tap = |j: isize| {
            let u = ((j as f64 / o - shift) * base).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS);
            let window = libm::cos(PI * u / (2.0 * ZERO_CROSSINGS));
            base / o * window * window * sinc(PI * u)
        };
        Self { first: first as isize, taps: (first as isize..=last as isize).map(tap).collect() }
    }

    /// The output whose period begins at sample `start`.
    fn at(&self, samples: &[f64], start: usize) -> f64 {
        let from = start as isize + self.first;
        let skipped = (-from).max(0) as usize;
        let within = samples.get((from + skipped as isize) as usize..).unwrap_or_default();
        within.iter().zip(self.taps.iter().skip(skipped)).map(|(sample, tap)| sample * tap).sum()
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { libm::sin(x) / x }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::golden::{Golden, column};

    /// One period of 440 Hz after another.
    fn tone(rate: u32, samples: usize) -> Vec<f64> {
        (0..samples).map(|at| (2.0 * PI * 440.0 * at as f64 / f64::from(rate)).sin()).collect()
    }

    #[test]
    fn a_tone_stays_the_same_tone_at_any_rate() {
        for given in [8_000, 11_025, 22_050, 44_100, 48_000, 15_999] {
            let seconds_tenth = given as usize / 10;
            let found = resample(&tone(given, seconds_tenth), given, 16_000);
            assert_eq!(found.len(), (160 * seconds_tenth * 100).div_ceil(given as usize));
            let expected = tone(16_000, found.len());
            // Away from the ends, where the sound begins out of nothing.
            for at in 200..found.len() - 200 {
                assert!(
                    (found[at] - expected[at]).abs() < 2e-3,
                    "{given} {at}: {} {}",
                    found[at],
                    expected[at]
                );
            }
        }
    }

    #[test]
    fn what_lies_above_the_new_nyquist_frequency_is_gone() {
        let high: Vec<f64> =
            (0..4_800).map(|at| (2.0 * PI * 12_000.0 * f64::from(at) / 48_000.0).sin()).collect();
        let found = resample(&high, 48_000, 16_000);
        assert!(found[100..1_500].iter().all(|value| value.abs() < 1e-2));
    }

    #[test]
    fn an_odd_number_of_samples_is_resampled_as_by_torchaudio() {
        let golden = Golden::open();
        let wave = resample(&golden.values("in.wave_8k_odd"), 8_000, 16_000);
        golden.check("f32.wave_16k_odd", &column(&wave));
    }

    #[test]
    fn a_recording_of_the_wanted_rate_is_left_as_it_is() {
        let samples = tone(16_000, 50);
        assert_eq!(resample(&samples, 16_000, 16_000), samples);
    }
}
