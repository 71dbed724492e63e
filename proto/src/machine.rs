//! What a process can know about its machine, and how much of it the process may use.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Limits, MountInfo, MountInfos, Status};
use procfs::{CpuInfo, Current, FromRead, Meminfo, ProcessCGroup, ProcessCGroups};

/// Memory that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes; 0 where nobody knows.
    pub bytes: u64,
    /// What says that it is not all of the machine's: the file of a control group, or a limit of the process.
    pub limit: Option<PathBuf>,
}

/// Cores that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// How many.
    pub count: usize,
    /// What says that they are not all of the machine's.
    pub limit: Option<&'static str>,
}

impl Memory {
    /// The machine's memory, or less where a limit of the process, of its control group, or of any group around that says so.
    pub fn look() -> Self {
        Self::of(Meminfo::current().map_or(0, |memory| memory.mem_total), Path::new("/"))
    }

    /// The same, of a machine with so many bytes whose files lie in `root`.
    fn of(total: u64, root: &Path) -> Self {
        let tightest = address_space(root).into_iter().chain(group_limits(root)).min();
        match tightest {
            Some((bytes, limit)) if total == 0 || bytes < total => Self { bytes, limit: Some(limit) },
            _ => Self { bytes: total, limit: None },
        }
    }
}

impl Cores {
    /// The machine's cores, or less where the process is bound to some of them, or its control group or any around that has a
    /// quota.
    pub fn look() -> Self {
        // Quotas of all groups on the way up, and what the process is bound to, are in it.
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let status = Status::from_file("/proc/self/status").ok();
        let bound = status
            .and_then(|status| status.cpus_allowed_list)
            .map(|ranges| ranges.iter().map(|(first, last)| (last - first + 1) as usize).sum::<usize>());
        let all = CpuInfo::current().map_or(count, |cpus| cpus.num_cores());
        Self { count, limit: limit_of_cores(count, bound.unwrap_or(all), all) }
    }
}

fn limit_of_cores(count: usize, bound: usize, all: usize) -> Option<&'static str> {
    if count < bound {
        Some("a control group's CPU quota")
    } else if count < all {
        Some("the cores that the process is bound to")
    } else {
        None
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.bytes as f64 / f64::from(1 << 30))?;
        self.limit.as_ref().map_or(Ok(()), |limit| write!(f, " (by {})", limit.display()))
    }
}

impl Display for Cores {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        self.limit.map_or(Ok(()), |limit| write!(f, " (by {limit})"))
    }
}

/// The processor's model; empty where nobody knows.
pub fn processor() -> String {
    let cpus = CpuInfo::current().ok();
    cpus.and_then(|cpus| Some(cpus.model_name(0)?.trim().to_owned())).unwrap_or_default()
}

/// What distinguishes kinds of processors, as far as the system says: model, revision, caches and instructions.
pub fn processor_kind() -> String {
    const FIELDS: [&str; 12] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "cache size",
        "flags",
        "CPU implementer",
        "CPU part",
        "CPU variant",
        "CPU revision",
        "Features",
    ];
    let Ok(cpus) = CpuInfo::current() else { return String::new() };
    let fields = FIELDS.iter().filter_map(|name| Some(format!("{name}: {}", cpus.get_field(0, name)?)));
    fields.collect::<Vec<_>>().join("\n")
}

/// The most memory that this process has had resident so far; 0 where the system does not say.
pub fn peak_rss_bytes() -> u64 {
    let status = Status::from_file("/proc/self/status").ok();
    status.and_then(|status| status.vmhwm).map_or(0, |kibibytes| kibibytes * 1024)
}

/// The memory that this process has resident now, in bytes; 0 where that is unknown.
pub fn resident_bytes() -> u64 {
    let status = Status::from_file("/proc/self/status").ok();
    status.and_then(|status| status.vmrss).map_or(0, |kibibytes| kibibytes * 1024)
}

/// What `ulimit -v` allows.
fn address_space(root: &Path) -> Option<(u64, PathBuf)> {
    match Limits::from_file(root.join("proc/self/limits")).ok()?.max_address_space.soft_limit {
        LimitValue::Value(bytes) => Some((bytes, "RLIMIT_AS".into())),
        LimitValue::Unlimited => None,
    }
}

/// A limit of control groups of either version, with the file that says so.
///
/// What has no limit says `max` (version 2, of which `memory.high` slows down what would go over it) or a number beyond any
/// memory (version 1).
fn group_limits(root: &Path) -> Vec<(u64, PathBuf)> {
    let of_process = |name| root.join("proc/self").join(name);
    let groups = ProcessCGroups::from_file(of_process("cgroup")).map_or(Vec::new(), |groups| groups.0);
    let mounts = MountInfos::from_file(of_process("mountinfo")).map_or(Vec::new(), |mounts| mounts.0);
    let folders = groups.iter().flat_map(|group| mounts.iter().filter_map(move |mount| folder(group, mount)));
    let ways = folders.flat_map(|(folder, mount)| {
        let within = move |folder: &&Path| folder.starts_with(mount);
        folder.ancestors().take_while(within).map(Path::to_owned).collect::<Vec<_>>()
    });
    let names = ["memory.max", "memory.high", "memory.limit_in_bytes"];
    let files = ways.flat_map(|folder| names.map(|name| folder.join(name)));
    let limit = |file: PathBuf| {
        let text = std::fs::read_to_string(root.join(file.strip_prefix("/").ok()?)).ok()?;
        Some((text.trim().parse().ok()?, file))
    };
    files.filter_map(limit).collect()
}

/// Where a group's folder lies, and the place that its hierarchy is mounted at, if `mount` is of that and holds the group.
fn folder<'a>(group: &ProcessCGroup, mount: &'a MountInfo) -> Option<(PathBuf, &'a Path)> {
    let has_memory = match mount.fs_type.as_str() {
        "cgroup2" => group.hierarchy == 0,
        "cgroup" => {
            group.controllers.iter().any(|name| name == "memory")
                && mount.super_options.contains_key("memory")
        }
        _ => false,
    };
    // A container sees its own group at the top, as `/` or by its name in the host, depending on its name space.
    let below = Path::new(&group.pathname).strip_prefix(&mount.root).ok()?;
    has_memory.then(|| (mount.mount_point.join(below), mount.mount_point.as_path()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TOTAL: u64 = 64 << 30;

    /// The memory of a machine with these files.
    fn memory(files: &[(&str, &str)]) -> (u64, Option<String>) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let Memory { bytes, limit } = Memory::of(TOTAL, root.path());
        (bytes, limit.map(|limit| limit.display().to_string()))
    }

    fn limited(bytes: u64, file: &str) -> (u64, Option<String>) {
        (bytes, Some(file.to_owned()))
    }

    const UNIFIED: &str =
        "26 22 0:23 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/slurmstepd.scope/job_7/step_0/task_0\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/system.slice/memory.max", "17179869184\n"),
            ("sys/fs/cgroup/system.slice/slurmstepd.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/task_0/memory.max", "max\n"),
            // Another job's.
            ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_8/memory.max", "1048576\n"),
        ];
        let job = "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max";
        assert_eq!(memory(&files), limited(2 << 30, job));
        let high = ("sys/fs/cgroup/system.slice/memory.high", "1073741824\n");
        let found = memory(&[&files[..], &[high]].concat());
        assert_eq!(found, limited(1 << 30, "/sys/fs/cgroup/system.slice/memory.high"));
    }

    #[test]
    fn without_a_limit_the_memory_is_the_machines() {
        assert_eq!(memory(&[]), (TOTAL, None));
        let v1 = "31 22 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let files = [
            ("proc/self/cgroup", "4:memory:/a\n0::/\n"),
            ("proc/self/mountinfo", &[UNIFIED, v1].concat()),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(memory(&files), (TOTAL, None));
    }

    #[test]
    fn groups_of_the_first_version_are_found_beside_those_of_the_second() {
        let mounts = "31 22 0:24 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 22 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let files = [
            ("proc/self/cgroup", "5:cpu:/other\n4:memory:/outer/inner\n0::/somewhere\n"),
            ("proc/self/mountinfo", mounts),
            ("sys/fs/cgroup/memory/outer/memory.limit_in_bytes", "3221225472\n"),
            ("sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(memory(&files), limited(3 << 30, "/sys/fs/cgroup/memory/outer/memory.limit_in_bytes"));
    }

    #[test]
    fn a_container_finds_its_limit_with_and_without_a_name_space_of_its_own() {
        let own = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ];
        assert_eq!(memory(&own), limited(1 << 30, "/sys/fs/cgroup/memory.max"));
        let v1 = "31 22 0:24 /docker/c0ffee /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let hosts = [
            ("proc/self/cgroup", "4:memory:/docker/c0ffee\n"),
            ("proc/self/mountinfo", v1),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ];
        assert_eq!(memory(&hosts), limited(1 << 30, "/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    }

    #[test]
    fn a_limit_of_the_address_space_counts_too() {
        let here = fs::read_to_string("/proc/self/limits").unwrap();
        let limits = here.lines().map(|line| match line.strip_prefix("Max address space ") {
            Some(_) => {
                "Max address space         1073741824           unlimited            bytes     \n".to_owned()
            }
            None => format!("{line}\n"),
        });
        let limits: String = limits.collect();
        assert_eq!(memory(&[("proc/self/limits", &limits)]), limited(1 << 30, "RLIMIT_AS"));
    }

    #[test]
    fn what_is_found_is_said_with_what_says_so() {
        let limit = Some(PathBuf::from("/sys/fs/cgroup/memory.max"));
        let memory = Memory { bytes: 2 << 30, limit };
        assert_eq!(memory.to_string(), "2.0 GiB (by /sys/fs/cgroup/memory.max)");
        assert_eq!(Cores { count: 2, limit: limit_of_cores(2, 2, 2) }.to_string(), "2");
        let quota = Cores { count: 1, limit: limit_of_cores(1, 2, 2) };
        assert_eq!(quota.to_string(), "1 (by a control group's CPU quota)");
        assert!(limit_of_cores(1, 1, 2).unwrap().contains("bound"));
    }

    #[test]
    fn this_machine_says_what_it_has() {
        assert!(Memory::look().bytes > peak_rss_bytes() && peak_rss_bytes() >= resident_bytes());
        assert!(resident_bytes() > 0);
        assert!(Cores::look().count > 0);
    }
}
