//! The same bits on any number of threads, and under every BLAS kernel that this processor runs.

use std::process::Command;

use scff::blas::KERNEL_VARIABLE;

/// Runs all tests of this program but those whose names hold `kernel` under every kernel: OpenBLAS reads the name of its
/// kernel when it is loaded, so each needs a process of its own.
pub fn check_all_under_every_kernel() {
    for kernel in kernels() {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let output = tests.env(KERNEL_VARIABLE, kernel).args(["--skip", "kernel"]).output().unwrap();
        assert!(output.status.success(), "{kernel}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

fn kernels() -> Vec<&'static str> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push("Haswell");
        }
        if is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
            kernels.push("SkylakeX");
        }
        if is_x86_feature_detected!("avx512bf16") {
            kernels.push("Cooperlake");
        }
    }
    kernels
}

/// Asserts that `compute` gives the same bits on pools of one, two and three threads.
pub fn check_the_same<T: PartialEq + Send>(what: &str, compute: impl Fn() -> T + Sync) {
    scff::blas::use_one_thread_per_call();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&compute)
    };
    let expected = on(1);
    for threads in [2, 3] {
        assert!(on(threads) == expected, "{what}: {threads} threads give other bits than one");
    }
}
