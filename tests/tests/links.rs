//! In which grid workers share a layer follows from the links to them and from how fast they are; weights do not.

use strata_tests::{Sandbox, Wire, begun};

/// The second layer may be shared in any grid, and is worth it where sums travel fast; the others have one worker each.
const CHANGES: [&str; 20] = [
    "--set",
    "data.samples=100",
    "--set",
    "layers.0.epochs=1",
    "--set",
    "layers.0.shards=1",
    "--set",
    "layers.1.epochs=1",
    "--set",
    "layers.1.units=256",
    "--set",
    "layers.1.readout_pool={ kind = 'average', size = 7 }",
    "--set",
    "layers.2.epochs=1",
    "--set",
    "layers.2.pairs=takes",
    "--set",
    "layers.2.shards=1",
    "--set",
    "readout.epochs=1",
];

#[test]
fn a_layer_is_shared_over_fast_links_and_not_over_slow_ones_with_the_same_weights() {
    let sandbox = Sandbox::of_convolutions().measuring();
    let one = sandbox.undisturbed(&CHANGES);
    let workers = sandbox.workers(2);
    let fast = [0, 1].map(|worker| workers[worker].address.clone());
    let wires = [0, 1].map(|worker| Wire::slow_both_ways(&workers[worker].address, 500_000));
    let slow = wires.each_ref().map(|wire| wire.address.clone());
    for (run, addresses, streams) in [("fast", fast, 4), ("slow", slow, 3)] {
        let before = begun(&workers);
        let all = addresses.join(",");
        let ended = sandbox.start_run(run, &[&["--workers", &all], &CHANGES[..]].concat()).end();
        ended.expect_success();
        sandbox.run_dir(run).check_same(&one, run);
        assert_eq!(begun(&workers) - before, streams, "{run}: {}", ended.errors);
        for address in addresses {
            // Once, however often workers gather.
            let link = format!("worker {address}: ");
            let lines: Vec<&str> = ended.errors.lines().filter(|line| line.contains(&link)).collect();
            let links = lines.iter().filter(|line| line.contains("bit/s, ") && line.contains(" GF/s on "));
            assert_eq!(links.count(), 1, "{lines:?} in {}", ended.errors);
        }
    }
}
