//! Several workers, and what a run on them must have in common with one on a single worker.

use crate::{Ended, Process, RunDir, Sandbox, Undisturbed, Worker, until, weights};

/// How many workers share what any number of them can.
const COUNTS: [usize; 6] = [2, 3, 4, 6, 8, 16];

impl Sandbox {
    /// Starts so many workers of one thread each.
    pub fn workers(&self, count: usize) -> Vec<Worker> {
        (0..count).map(|_| self.worker(&["--threads", "1"])).collect()
    }

    /// Has 2 to 16 workers run the configuration with these changes, told `words` besides, and compares with a run on one. `then` hears
    /// of each run on how many it was, and how often layers began to train on them.
    pub fn check_any_number_of_workers(
        &self,
        words: &[&str],
        changes: &[&str],
        mut then: impl FnMut(usize, usize),
    ) {
        let one = self.undisturbed(changes);
        let workers = self.workers(16);
        for count in COUNTS {
            let before = begun(&workers);
            let (run, some) = (format!("run-{count}"), addresses(&workers[..count]));
            self.run(&run, &[&["--workers", &some], words, changes].concat());
            self.run_dir(&run).check_same(&one, &format!("{count} workers"));
            then(count, begun(&workers) - before);
        }
    }
}

/// Where workers listen, as `--workers` has it.
pub fn addresses<'a>(workers: impl IntoIterator<Item = &'a Worker>) -> String {
    workers.into_iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",")
}

/// How often layers have begun to train on these workers.
pub fn begun(workers: &[Worker]) -> usize {
    workers.iter().map(|worker| worker.process.errors().matches("training begins").count()).sum()
}

/// Waits until a run that is at work has so many reports on a layer.
pub fn wait_for(process: &mut Process, run: &RunDir, layer: u64, reports: usize) {
    until("some reports", || {
        assert!(process.is_running(), "the run ended early: {:?}", process.end());
        (run.reports_on(layer) >= reports).then_some(())
    });
}

/// Kills one of the workers of a run, which says which one is lost, goes on from a checkpoint without it, and ends as it does on one
/// worker.
pub fn check_killed(mut process: Process, run: &RunDir, worker: &mut Worker, one: &Undisturbed) -> Ended {
    worker.process.kill();
    let ended = process.end();
    ended.expect_success();
    let lost = format!("worker {}", worker.address);
    let line = ended.errors.lines().find(|line| line.contains("trying again from step"));
    let line = line.unwrap_or_else(|| panic!("{}", ended.errors));
    assert!(line.contains(&lost), "{lost} in {line}");
    run.check_same(one, &lost);
    ended
}

impl RunDir {
    /// Fails the test unless the run has the weights of another, and its reports on each layer.
    pub fn check_same(&self, one: &Undisturbed, what: &str) {
        assert_eq!(weights(&self.summary()), weights(&one.summary), "{what}");
        assert_eq!(self.course_by_layer(), one.run.course_by_layer(), "{what}");
    }
}
