//! How coefficients change in time.

/// Frames to either side that a change is taken over.
const REACH: isize = 2;

/// The same frames with the change of each coefficient behind the coefficients: d_t = sum_(n = 1, 2) n (c_(t+n) - c_(t-n)) / 10,
/// the first and the last frame repeated beyond the ends (torchaudio's `compute_deltas`).
pub fn with_deltas(frames: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let scale: f64 = (1..=REACH).map(|n| 2.0 * (n * n) as f64).sum();
    let at = |t: isize| &frames[t.clamp(0, frames.len() as isize - 1) as usize];
    let deltas = |t: isize| {
        let delta = move |c: usize| {
            (1..=REACH).map(|n| n as f64 * (at(t + n)[c] - at(t - n)[c])).sum::<f64>() / scale
        };
        (0..at(t).len()).map(delta)
    };
    (0..frames.len()).map(|t| frames[t].iter().copied().chain(deltas(t as isize)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coefficient_that_grows_evenly_changes_evenly() {
        let frames: Vec<Vec<f64>> = (0..6).map(|t| vec![3.0 * f64::from(t), 7.0]).collect();
        let found = with_deltas(&frames);
        assert!(found.iter().all(|frame| frame.len() == 4 && frame[3].abs() < 1e-12));
        // One and two frames from the ends, what is repeated does not change: 3 (1 + 2 * 2) / 10 in place of 3.
        let changes: Vec<f64> = found.iter().map(|frame| frame[2]).collect();
        for (found, expected) in changes.iter().zip([1.5, 2.4, 3.0, 3.0, 2.4, 1.5]) {
            assert!((found - expected).abs() < 1e-12, "{changes:?}");
        }
        assert_eq!(with_deltas(&frames[..1]), [[0.0, 7.0, 0.0, 0.0]]);
    }
}
