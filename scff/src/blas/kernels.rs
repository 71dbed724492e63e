//! OpenBLAS's kernels by name: what of a processor each needs, and what is known of it.

/// A kernel by its name.
struct Known {
    name: &'static str,
    /// Whether this processor has the instructions of it.
    runs: fn() -> bool,
    /// See [`pace`].
    pace: usize,
    /// See [`row_period`].
    row_period: Option<usize>,
}

/// The fastest first. A library may have others or lack some of these.
#[cfg(target_arch = "x86_64")]
const KERNELS: [Known; 9] = [
    Known { name: "SapphireRapids", runs: x86::has_avx512_fp16, pace: 0, row_period: Some(1) },
    Known { name: "Cooperlake", runs: x86::has_avx512_bf16, pace: 0, row_period: Some(1) },
    Known { name: "SkylakeX", runs: x86::has_avx512, pace: 0, row_period: Some(1) },
    Known { name: "Haswell", runs: x86::has_avx2, pace: 1, row_period: Some(12) },
    Known { name: "Zen", runs: x86::has_avx2, pace: 1, row_period: Some(12) },
    Known { name: "Sandybridge", runs: || is_x86_feature_detected!("avx"), pace: 2, row_period: None },
    Known { name: "Nehalem", runs: || is_x86_feature_detected!("sse4.2"), pace: 3, row_period: None },
    Known { name: "Core2", runs: || is_x86_feature_detected!("ssse3"), pace: 4, row_period: None },
    Known { name: "Prescott", runs: || is_x86_feature_detected!("sse3"), pace: 5, row_period: None },
];

/// Those that need nothing but what every such processor has.
#[cfg(target_arch = "aarch64")]
const KERNELS: [Known; 3] = [
    Known { name: "neoversen1", runs: || true, pace: 0, row_period: None },
    Known { name: "cortexa57", runs: || true, pace: 1, row_period: None },
    Known { name: "armv8", runs: || true, pace: 2, row_period: None },
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const KERNELS: [Known; 0] = [];

#[cfg(target_arch = "x86_64")]
mod x86 {
    pub fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    pub fn has_avx512() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }

    pub fn has_avx512_bf16() -> bool {
        has_avx512() && is_x86_feature_detected!("avx512bf16")
    }

    pub fn has_avx512_fp16() -> bool {
        has_avx512_bf16() && is_x86_feature_detected!("avx512fp16")
    }
}

fn known(name: &str) -> Option<(usize, &'static Known)> {
    KERNELS.iter().enumerate().find(|(_, known)| known.name.eq_ignore_ascii_case(name))
}

/// Whether there is a kernel of this name that something is known of.
pub fn is_known(name: &str) -> bool {
    known(name).is_some()
}

/// Names of the kernels that this processor can run, the fastest first, where the library has them.
pub fn runnable() -> Vec<&'static str> {
    KERNELS.iter().filter(|known| (known.runs)()).map(|known| known.name).collect()
}

/// A kernel's place among all, the fastest first; those that nothing is known of come last.
pub fn place(name: &str) -> usize {
    known(name).map_or(KERNELS.len(), |(place, _)| place)
}

/// Kernels of one pace are about as fast, for they use registers of one width; those of lower ones are faster.
pub fn pace(name: &str) -> usize {
    known(name).map_or(KERNELS.len(), |(_, known)| known.pace)
}

/// Rows of a call whose places differ by a multiple of this are computed alike; `None` where nothing is known of the
/// kernel.
///
/// OpenBLAS's AVX-512 kernels treat all rows alike. Its AVX2 kernel sums the last six of every twelve rows in another
/// order, in some channels.
pub(crate) fn row_period(name: &str) -> Option<usize> {
    known(name)?.1.row_period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn wider_vectors_come_first() {
        let order = ["skylakex", "Haswell", "Sandybridge", "Nehalem", "Abacus"].map(place);
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        assert_eq!(pace("Cooperlake"), pace("SkylakeX"));
        assert!(KERNELS.is_sorted_by_key(|kernel| kernel.pace));
        assert!(pace("Abacus") > pace("Prescott"));
        assert!(runnable().contains(&"Prescott"));
    }

    #[test]
    fn nothing_is_known_of_a_kernel_without_a_name_here() {
        assert_eq!((row_period("Abacus"), place("Abacus")), (None, KERNELS.len()));
    }
}
