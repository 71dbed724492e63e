//! Runs whose directory and data are on an object store, against a store that the tests bring along.

use xshell::cmd;

use super::bench::{Bench, Outcome};

/// Runs the tests of it, with faults of the store and of the way to it.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    // The tests start these programs.
    cmd!(shell, "cargo build --workspace --bins --tests").run()?;
    cmd!(shell, "cargo test --workspace --test object_store").run()?;
    Ok(Outcome::Passed(
        "runs on a store on loopback were killed, stopped, taken over and sent away, through connections that broke, slow \
         answers, 503 and outages, and ended with the weights of a run on disk"
            .to_owned(),
    ))
}
