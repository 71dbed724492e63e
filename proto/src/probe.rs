//! Probes of a link: bytes that a worker counts and throws away.

use bytes::Bytes;

use crate::wire;

/// Bytes of each part of a probe, at most.
pub const PART_BYTES: usize = 256 << 10;
/// Parts of a probe, at most: 16 MiB.
pub const PARTS: usize = 64;

/// The parts of a probe of so many bytes. They are noise: a tunnel that compresses what it carries gains nothing by them.
pub fn parts(bytes: usize) -> Vec<wire::ProbeRequest> {
    let noise = noise(bytes);
    let part = |first: usize| noise.slice(first..bytes.min(first + PART_BYTES));
    (0..bytes).step_by(PART_BYTES).map(|first| wire::ProbeRequest { payload: part(first) }).collect()
}

/// SplitMix64.
fn noise(bytes: usize) -> Bytes {
    let words = (1..=bytes.div_ceil(8) as u64).flat_map(|count| {
        let mut word = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_as_many_bytes_as_it_should_in_parts_that_are_not_too_long() {
        for bytes in [0, 1, PART_BYTES, PART_BYTES + 1, PARTS * PART_BYTES] {
            let lengths: Vec<usize> = parts(bytes).iter().map(|part| part.payload.len()).collect();
            assert_eq!(lengths.iter().sum::<usize>(), bytes);
            assert!(lengths.len() <= PARTS && lengths.iter().all(|length| (1..=PART_BYTES).contains(length)));
        }
    }

    #[test]
    fn noise_has_all_bytes_about_equally_often() {
        let mut counts = [0; 256];
        noise(PART_BYTES).iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (800..1300).contains(count)), "{counts:?}");
    }
}
