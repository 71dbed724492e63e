//! How a Strata process comes to compute with the BLAS kernel that was asked for.
//!
//! OpenBLAS reads the kernel's name from the environment when it is loaded, before `main`. So where another kernel is wanted
//! a program sets the variable and executes itself anew, in the same process.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use scff::blas::kernels::{is_known, runnable};
use scff::blas::{KERNEL_VARIABLE, faster_kernel, kernel, use_one_thread_per_call};

/// Tells a program that it has executed itself anew: the number of its process, which stays the same, and the file
/// descriptor of the socket that it listens on, if it does.
const ANEW_VARIABLE: &str = "STRATA_EXECUTED_ANEW";

/// Which BLAS kernel a process is to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// The one that the environment names; or else what OpenBLAS chooses for the processor, or a faster one where it does not
    /// know the processor.
    Auto,
    /// The one of this name, and no other.
    Named(String),
}

impl FromStr for KernelChoice {
    type Err = Infallible;

    /// What is empty is not said.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let name = text.trim();
        let unsaid = name.is_empty() || name.eq_ignore_ascii_case("auto");
        Ok(if unsaid { Self::Auto } else { Self::Named(name.to_owned()) })
    }
}

impl std::fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Makes this process use the kernel of `choice`, on one thread per call.
///
/// It may execute the program anew, once: call it first thing in `main`, before threads start and files are opened. It
/// errors where OpenBLAS does not obey. A program that was executed anew for the sake of others keeps the kernel that they
/// chose.
pub fn use_blas_kernel(choice: &KernelChoice) -> io::Result<()> {
    if let KernelChoice::Named(name) = choice {
        check_runs(name)?;
    }
    let anew = Anew::of_this_process();
    if anew.is_none_or(|anew| anew.listener.is_none()) {
        let named = std::env::var_os(KERNEL_VARIABLE).is_some_and(|name| !name.is_empty());
        let faster = if named || anew.is_some() { None } else { faster_kernel() };
        if let Some(name) = missing(choice, anew.is_some(), &kernel(), faster)? {
            return Err(execute_anew(name, None));
        }
    }
    check_runs(&kernel())?;
    use_one_thread_per_call();
    Ok(())
}

/// Executes this program anew with the kernel of this name, and with the socket that it listens on. Returns only where that
/// fails.
pub fn change_kernel(name: &str, listener: &TcpListener) -> io::Error {
    let listener = listener.as_raw_fd();
    match keep_open(listener, true) {
        Ok(()) => execute_anew(name, Some(listener)),
        Err(error) => error,
    }
}

/// The socket that this program listened on before it executed itself anew. Call it once.
pub fn inherited_listener() -> Option<TcpListener> {
    let listener = Anew::of_this_process()?.listener?;
    // Descriptors are not passed on further, to programs that this one starts.
    keep_open(listener, false).ok()?;
    // SAFETY: the descriptor is open, and whoever this process was before left it to this function alone.
    Some(unsafe { TcpListener::from_raw_fd(listener) })
}

/// A program that has executed itself anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anew {
    listener: Option<RawFd>,
}

impl Anew {
    fn of_this_process() -> Option<Self> {
        Self::parse(&std::env::var(ANEW_VARIABLE).ok()?, std::process::id())
    }

    /// Programs that were started by one that executed itself anew have its environment, but not its number.
    fn parse(text: &str, process: u32) -> Option<Self> {
        let mut words = text.split(' ');
        let own = words.next()?.parse() == Ok(process);
        own.then(|| Self { listener: words.next().and_then(|listener| listener.parse().ok()) })
    }
}

/// The kernel that the program must be executed anew for, if any; `anew`: whether it has been; `faster`: one that is faster than
/// the running one, which nobody has asked for.
fn missing<'a>(
    choice: &'a KernelChoice,
    anew: bool,
    running: &str,
    faster: Option<&'a str>,
) -> io::Result<Option<&'a str>> {
    match choice {
        KernelChoice::Named(name) if !name.eq_ignore_ascii_case(running) => {
            if anew {
                return Err(io::Error::other(format!(
                    "BLAS kernel `{name}` was asked for, but OpenBLAS uses `{running}`: it knows no such kernel, or \
                     this processor cannot run it"
                )));
            }
            Ok(Some(name))
        }
        KernelChoice::Named(_) => Ok(None),
        KernelChoice::Auto => Ok(faster),
    }
}

/// Computing with a kernel whose instructions the processor lacks would end the process without a word.
fn check_runs(name: &str) -> io::Result<()> {
    let runnable = runnable();
    if !is_known(name) || runnable.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let names = runnable.join(", ");
    Err(io::Error::other(format!("this processor cannot run BLAS kernel `{name}`, but {names}")))
}

/// Returns only where that fails.
fn execute_anew(name: &str, listener: Option<RawFd>) -> io::Error {
    let program = match own_program() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(&program);
    if let Some(own_name) = arguments.next() {
        command.arg0(own_name);
    }
    let listener = listener.map(|listener| format!(" {listener}")).unwrap_or_default();
    command.env(ANEW_VARIABLE, format!("{}{listener}", std::process::id()));
    let error = command.args(arguments).env(KERNEL_VARIABLE, name).exec();
    io::Error::new(
        error.kind(),
        format!("executing {} anew for BLAS kernel `{name}`: {error}", program.display()),
    )
}

/// The file of this program, which is still there where another has taken its place.
pub fn own_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(if program.exists() { program } else { Path::new("/proc/self/exe").to_owned() })
}

/// Whether programs that take this one's place have the descriptor too.
fn keep_open(descriptor: RawFd, keep: bool) -> io::Result<()> {
    // SAFETY: `fcntl` with these commands reads and writes a flag of the descriptor, and fails where it is none.
    let done = unsafe {
        match libc::fcntl(descriptor, libc::F_GETFD) {
            -1 => -1,
            flags if keep => libc::fcntl(descriptor, libc::F_SETFD, flags & !libc::FD_CLOEXEC),
            flags => libc::fcntl(descriptor, libc::F_SETFD, flags | libc::FD_CLOEXEC),
        }
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> KernelChoice {
        name.parse().unwrap()
    }

    #[test]
    fn the_library_chooses_unless_a_kernel_is_named() {
        for unsaid in ["auto", "Auto", "", " "] {
            assert_eq!(named(unsaid), KernelChoice::Auto);
            assert_eq!(missing(&named(unsaid), false, "Haswell", None).unwrap(), None);
            assert_eq!(
                missing(&named(unsaid), false, "Prescott", Some("SkylakeX")).unwrap(),
                Some("SkylakeX")
            );
        }
    }

    #[test]
    fn a_named_kernel_is_used_or_refused() {
        let zen = named("Zen");
        assert_eq!(missing(&zen, false, "ZEN", Some("SkylakeX")).unwrap(), None);
        assert_eq!(missing(&zen, false, "Haswell", None).unwrap(), Some("Zen"));
        let error = missing(&zen, true, "Haswell", None).unwrap_err().to_string();
        assert!(error.contains("`Zen`") && error.contains("`Haswell`"), "{error}");
    }

    #[test]
    fn only_the_process_itself_was_executed_anew() {
        assert_eq!(Anew::parse("12", 12), Some(Anew { listener: None }));
        assert_eq!(Anew::parse("12 7", 12), Some(Anew { listener: Some(7) }));
        assert_eq!(Anew::parse("12 7", 13), None);
        assert_eq!(Anew::parse("", 13), None);
    }
}
