//! How fast this worker multiplies: on all threads of its pool at once, beside whatever else its machine has to do.

use std::time::Duration;

use scff::train::ProductTrial;

use crate::node::Node;
use crate::refusal::Refusal;
use crate::system::System;

/// How long is measured. A product takes a millisecond of a core with wide registers, and a tenth of a second of a slow one.
const WINDOW: Duration = Duration::from_millis(100);

/// Floating-point operations a second. Several benchmarks are made one after the other.
pub async fn operations_per_second(node: &Node) -> Result<f64, Refusal> {
    let _turn = node.benchmarks.lock().await;
    let system = node.system;
    let of_threads = node.compute.start_on_all_threads(move || of_thread(system)).wait().await?;
    Ok(of_threads.iter().sum())
}

/// The same of the thread at hand.
fn of_thread(System { now, .. }: System) -> f64 {
    let mut trial = ProductTrial::usual();
    // The first one fetches what it works on.
    trial.run();
    let (began, mut runs) = (now(), 0);
    loop {
        trial.run();
        runs += 1;
        let taken = now().saturating_sub(began);
        if taken >= WINDOW {
            return (runs * trial.operations()) as f64 / taken.as_secs_f64();
        }
    }
}
