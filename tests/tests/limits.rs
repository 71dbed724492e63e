//! Programs keep to the memory and cores that they are given, not to those that the machine has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use procfs::process::Process as Procfs;
use strata_tests::{Process, program, until};

/// A control group of version 1 with another in it. Both are removed when this value is dropped.
struct Nested(PathBuf);

impl Nested {
    /// Below the group of this process; an error where none may be made.
    fn new(controller: &str) -> io::Result<Self> {
        let own = Procfs::myself().and_then(|own| own.cgroups()).map_err(io::Error::other)?;
        let mut groups =
            own.into_iter().filter(|group| group.controllers.iter().any(|name| name == controller));
        let own = groups.next().ok_or_else(|| io::Error::other("the controller is not of version 1"))?;
        let mount = Path::new("/sys/fs/cgroup").join(controller);
        let outer =
            mount.join(own.pathname.trim_start_matches('/')).join(format!("strata-{}", std::process::id()));
        fs::create_dir(&outer)?;
        let nested = Self(outer);
        fs::create_dir(nested.inner())?;
        Ok(nested)
    }

    fn inner(&self) -> PathBuf {
        self.0.join("inner")
    }

    fn limit(&self, file: &str, limit: &str) -> io::Result<()> {
        fs::write(self.0.join(file), limit)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        // Processes that have just ended hold a group for a moment.
        until("control groups to be empty", || {
            let _ = fs::remove_dir(self.inner());
            (fs::remove_dir(&self.0).is_ok() || !self.0.exists()).then_some(())
        });
    }
}

fn groups() -> io::Result<[Nested; 2]> {
    let [memory, cpu] = [Nested::new("memory")?, Nested::new("cpu")?];
    memory.limit("memory.limit_in_bytes", "2147483648")?;
    cpu.limit("cpu.cfs_quota_us", "100000")?;
    Ok([memory, cpu])
}

#[test]
fn a_limit_of_an_outer_control_group_holds_for_a_worker() {
    let groups = match groups() {
        Ok(groups) => groups,
        Err(error) => {
            println!("skipped: no control groups of version 1 can be made here: {error}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    // A shell enters the groups and becomes the worker.
    let enter = "for group in \"$1\" \"$2\"; do echo $$ > \"$group/cgroup.procs\"; done; \
                 exec \"$0\" --listen 127.0.0.1:0 --until-stdin-closes";
    let mut command = Command::new("sh");
    command.args(["-c", enter]).arg(program("worker")).args(groups.iter().map(Nested::inner));
    let mut worker = Process::start(command.env_remove("RUST_LOG"), &folder.path().join("worker"));
    let said = until("what the worker says of its machine", || {
        assert!(worker.is_running(), "{}", worker.errors());
        worker.errors().lines().find(|line| line.contains("is ready")).map(str::to_owned)
    });
    assert!(said.contains("memory=2.0 GiB (by /sys/fs/cgroup/memory"), "{said}");
    assert!(said.contains("cache_bytes=536870912") && said.contains("threads=1"), "{said}");
    worker.kill();
}
