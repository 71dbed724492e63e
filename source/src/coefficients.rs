//! Numbers of frames, normalised over the frames of many sequences.

use super::examples::Examples;

/// The mean and the deviation of each number of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct CoefficientScales {
    /// (mean, deviation) of each.
    moments: Vec<(f64, f64)>,
}

impl CoefficientScales {
    /// Over all frames of `examples`, which are sequences.
    pub fn of(examples: &Examples) -> Self {
        let channels = examples.shape().channels;
        let count = examples.frames().count().max(1) as f64;
        let sums = |of: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; channels];
            for frame in examples.frames() {
                for (channel, (sum, &value)) in sums.iter_mut().zip(frame).enumerate() {
                    *sum += of(channel, f64::from(value));
                }
            }
            sums
        };
        let means: Vec<f64> = sums(&|_, value| value).iter().map(|sum| sum / count).collect();
        let squares = sums(&|channel, value| (value - means[channel]).powi(2));
        let deviation = |square: f64| match (square / count).sqrt() {
            // A number that is always the same has nothing to say.
            0.0 => 1.0,
            deviation => deviation,
        };
        Self { moments: means.into_iter().zip(squares.into_iter().map(deviation)).collect() }
    }

    /// Subtracts the means of all frames of `examples`, and divides by the deviations.
    pub fn apply(&self, examples: &mut Examples) {
        for frame in examples.frames_mut() {
            for (value, (mean, deviation)) in frame.iter_mut().zip(&self.moments) {
                *value = ((f64::from(*value) - mean) / deviation) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_frame_gets_mean_0_and_deviation_1_over_all_frames() {
        let sequences = [vec![1.0, 7.0, 3.0, 7.0], vec![5.0, 7.0]];
        let mut examples = Examples::from_sequences(2, 2, sequences, vec![0, 1]);
        CoefficientScales::of(&examples).apply(&mut examples);
        let found: Vec<f32> = examples.frames().flatten().copied().collect();
        let end = 1.5_f32.sqrt();
        for (found, expected) in found.iter().zip([-end, 0.0, 0.0, 0.0, end, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}
