//! Which BLAS kernels this machine can compute with, and the bits of each: one child process of this program for each,
//! since OpenBLAS keeps the kernel that it was loaded with.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use scff::blas::kernels::{place, runnable};
use scff::blas::{KERNEL_VARIABLE, configuration, kernel, self_test, use_one_thread_per_call};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kernels::{Digest, Kernel, parse};
use crate::machine::{Cores, processor_kind};
use crate::output::print;
use crate::process::own_program;
use crate::state::sha256;
use crate::wire;

/// How long a child may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// Signals that end a child for what it computes.
const CRASHES: [i32; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV];
/// What a child prints before its kernel and digest.
const ANSWER: &str = "kernel";

/// What came of the self-tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// Kernels that this machine can compute with, the fastest first.
    pub kernels: Vec<Kernel>,
    /// Names of those that failed, and how.
    pub left_out: Vec<(String, String)>,
}

/// How the kernels of this machine are tested.
#[derive(Clone, Debug, Default)]
pub struct Tester {
    /// What makes this program a child that calls [`answer`] and ends. Without it only the kernel in use is tested, here.
    pub argument: Option<&'static str>,
    /// Where answers are remembered; nowhere without it.
    pub folder: Option<PathBuf>,
}

/// What a child has to say.
enum Answer {
    Right(Kernel),
    /// The library has no such kernel.
    Absent,
    /// It crashes, or computes what is wrong.
    Failed(String),
    /// It could not be asked. Another time it may.
    Unasked(String),
}

/// The folder of what may be lost: $XDG_CACHE_HOME/strata, or ~/.cache/strata.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("strata"))
}

/// The child's part: tests the kernel in use, and prints its name and digest.
pub fn answer() -> io::Result<()> {
    let Kernel { name, digest } = test_here().map_err(io::Error::other)?;
    print(format_args!("{ANSWER} {name} {digest}"))
}

fn test_here() -> Result<Kernel, self_test::WrongProduct> {
    use_one_thread_per_call();
    Ok(Kernel { name: kernel(), digest: Digest(sha256(&self_test::answer()?)[..32].to_owned()) })
}

impl Tested {
    /// Adds what this process has found out by itself, where children could not be asked.
    fn complete(&mut self, here: Self) {
        for kernel in here.kernels {
            self.left_out.retain(|(name, _)| *name != kernel.name);
            if self.kernels.iter().all(|known| known.name != kernel.name) {
                self.kernels.push(kernel);
            }
        }
        self.kernels.sort_by_key(|kernel| (place(&kernel.name), kernel.name.clone()));
    }
}

impl Tester {
    /// The kernels of this machine: as they are remembered, or else by testing them all.
    pub async fn test(&self) -> Tested {
        let Some(argument) = self.argument else { return in_this_process().await };
        let file = self.file();
        if let Some(known) = file.as_deref().and_then(recall) {
            return known;
        }
        let (mut tested, certain) = test_all(argument).await;
        if !certain {
            tested.complete(in_this_process().await);
        }
        if certain && let Some(file) = file {
            // Where it cannot be written it is found out again, the next time.
            let _ = remember(&file, &tested);
        }
        tested
    }

    /// The kernel in use alone: as it is remembered, or else by testing it in this process.
    pub async fn test_in_use(&self) -> Tested {
        let in_use = kernel();
        if let Some(mut known) = self.file().as_deref().and_then(recall) {
            known.kernels.retain(|kernel| kernel.name == in_use);
            known.left_out.retain(|(name, _)| *name == in_use);
            if !known.kernels.is_empty() {
                return known;
            }
        }
        in_this_process().await
    }

    fn file(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(file_name()))
    }
}

async fn in_this_process() -> Tested {
    let tested = tokio::task::spawn_blocking(test_here).await.expect("the self-test does not panic");
    match tested {
        Ok(kernel) => Tested { kernels: vec![kernel], left_out: Vec::new() },
        Err(wrong) => Tested { kernels: Vec::new(), left_out: vec![(kernel(), wrong.to_string())] },
    }
}

/// Also whether another time it would be the same.
async fn test_all(argument: &'static str) -> (Tested, bool) {
    let mut names: Vec<String> = runnable().into_iter().map(str::to_owned).collect();
    if !names.iter().any(|name| name.eq_ignore_ascii_case(&kernel())) {
        names.push(kernel());
    }
    let turns = Arc::new(Semaphore::new(Cores::look().count));
    let mut children = JoinSet::new();
    for name in names {
        let turns = Arc::clone(&turns);
        children.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("never closed");
            (ask_child(argument, &name).await, name)
        });
    }
    let (mut tested, mut certain) = (Tested::default(), true);
    while let Some(child) = children.join_next().await {
        match child.expect("asking does not panic") {
            (Answer::Right(kernel), _) => tested.kernels.push(kernel),
            (Answer::Absent, _) => {}
            (Answer::Failed(how), name) => tested.left_out.push((name, how)),
            (Answer::Unasked(why), name) => {
                certain = false;
                tested.left_out.push((name, why));
            }
        }
    }
    tested.kernels.sort_by_key(|kernel| (place(&kernel.name), kernel.name.clone()));
    tested.left_out.sort();
    (tested, certain)
}

async fn ask_child(argument: &str, name: &str) -> Answer {
    let program = match own_program() {
        Ok(program) => program,
        Err(error) => return Answer::Unasked(error.to_string()),
    };
    let mut command = Command::new(program);
    command.arg(argument).env(KERNEL_VARIABLE, name).env_remove("STRATA_BLAS_KERNEL");
    command.env("OPENBLAS_NUM_THREADS", "1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => read_answer(name, &output),
        Ok(Err(error)) => Answer::Unasked(error.to_string()),
        Err(_) => Answer::Unasked(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn read_answer(name: &str, output: &Output) -> Answer {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let answer = said(&output.stdout);
    let failure = || format!("{} {}", output.status, said(&output.stderr)).trim().to_owned();
    match answer.split(' ').collect::<Vec<_>>()[..] {
        [ANSWER, running, digest] if output.status.success() => {
            // OpenBLAS takes another kernel for a name that it does not know.
            if !running.eq_ignore_ascii_case(name) {
                return Answer::Absent;
            }
            Answer::Right(Kernel { name: running.to_owned(), digest: Digest(digest.to_owned()) })
        }
        // Somebody ended it, along with this program or for want of memory.
        _ if output.status.signal().is_some_and(|signal| !CRASHES.contains(&signal)) => {
            Answer::Unasked(failure())
        }
        _ => Answer::Failed(failure()),
    }
}

/// One file for each kind of processor, library and test: a folder may be shared by many machines.
fn file_name() -> String {
    let known = [
        env!("CARGO_PKG_VERSION").to_owned(),
        self_test::question(),
        // It names the kernel in use too.
        configuration().replace(&kernel(), ""),
        library(),
        processor_kind(),
        runnable().join(" "),
    ];
    format!("blas-kernels-{}.json", &sha256(known.join("\n").as_bytes())[..16])
}

/// The library's file, and when it was made: what is built anew may have other kernels under the same version.
fn library() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    let Some(file) = files.find(|file| file.contains("openblas")) else { return String::new() };
    let metadata = fs::metadata(file).ok();
    let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    format!("{file} {:?} {modified:?}", metadata.map(|metadata| metadata.len()))
}

fn recall(file: &Path) -> Option<Tested> {
    let value: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let pairs = |name: &str| -> Option<Vec<(String, String)>> {
        let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        value.get(name)?.as_object()?.iter().map(pair).collect()
    };
    let listed = pairs("kernels")?.into_iter().map(|(name, digest)| wire::Kernel { name, digest });
    let mut kernels = parse(wire::KernelList { kernels: listed.collect() }).ok()?;
    if kernels.is_empty() {
        return None;
    }
    kernels.sort_by_key(|kernel| (place(&kernel.name), kernel.name.clone()));
    Some(Tested { kernels, left_out: pairs("left_out")? })
}

/// The file is old or new, whole: several processes may write it at the same time.
fn remember(file: &Path, Tested { kernels, left_out }: &Tested) -> io::Result<()> {
    let kernels: serde_json::Map<String, Value> =
        kernels.iter().map(|kernel| (kernel.name.clone(), kernel.digest.0.clone().into())).collect();
    let left_out: serde_json::Map<String, Value> =
        left_out.iter().map(|(name, how)| (name.clone(), how.clone().into())).collect();
    let text = format!("{:#}\n", json!({ "kernels": kernels, "left_out": left_out }));
    fs::create_dir_all(file.parent().expect("a file in a folder"))?;
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    fn tested() -> Tested {
        let kernel = |name: &str| Kernel { name: name.into(), digest: Digest(format!("of{name}")) };
        let left_out = vec![("Nehalem".to_owned(), "signal: 4".to_owned())];
        Tested { kernels: vec![kernel("Haswell"), kernel("Core2"), kernel("Abacus")], left_out }
    }

    #[test]
    fn where_children_cannot_be_asked_the_kernel_in_use_is_offered_all_the_same() {
        let why = || "Too many open files".to_owned();
        let mut found = Tested { kernels: vec![], left_out: vec![("A".into(), why()), ("B".into(), why())] };
        let here = || Tested {
            kernels: vec![Kernel { name: "B".into(), digest: Digest("of B".into()) }],
            left_out: vec![],
        };
        found.complete(here());
        found.complete(here());
        assert_eq!(found, Tested { left_out: vec![("A".into(), why())], ..here() });
    }

    #[test]
    fn what_is_remembered_is_recalled_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/strata/kernels.json");
        assert_eq!(recall(&file), None);
        remember(&file, &tested()).unwrap();
        assert_eq!(recall(&file), Some(tested()));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing lies beside it");
        let kernels = |kernels: &str| format!("{{\"kernels\": {{{kernels}}}, \"left_out\": {{}}}}");
        let [number, none, name] = ["\"Zen\": 3", "", "\"Z en\": \"ab\""].map(kernels);
        for damaged in ["", "{}", &number, &none, &name] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(recall(&file), None, "{damaged}");
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(remember(&folder.path().join("file/kernels.json"), &tested()).is_err());
    }

    #[test]
    fn an_answer_counts_where_the_kernel_is_the_one_that_was_asked_for() {
        let answer = |status: i32, stdout: &str| {
            let status = ExitStatus::from_raw(status);
            read_answer("Zen", &Output { status, stdout: stdout.into(), stderr: b"why\n".into() })
        };
        assert!(matches!(answer(0, "kernel ZEN ab\n"), Answer::Right(kernel) if kernel.digest.0 == "ab"));
        assert!(matches!(answer(0, "kernel Haswell ab\n"), Answer::Absent));
        for (status, said) in [(4, ""), (256, ""), (0, "kernel Zen"), (256, "kernel Zen ab")] {
            assert!(matches!(answer(status, said), Answer::Failed(how) if how.ends_with("why")), "{said}");
        }
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
            assert!(matches!(answer(signal, ""), Answer::Unasked(_)), "nothing is wrong with the kernel");
        }
    }

    #[tokio::test]
    async fn without_children_the_kernel_in_use_is_tested() {
        let found = Tester::default().test().await;
        assert_eq!((&found.kernels[0].name, found.left_out.len()), (&kernel(), 0));
        assert_eq!(found, Tester::default().test_in_use().await);
    }
}
