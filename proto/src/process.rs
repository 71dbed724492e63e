//! What every Strata process does first: see to it that BLAS gives the bits that were asked for.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

use scff::blas::{KERNEL_VARIABLE, faster_kernel, kernel, use_one_thread_per_call};

/// Which BLAS kernel a process is to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChoice {
    /// The one that OpenBLAS has chosen, by its environment or by the processor.
    Auto,
    /// The one of this name, and no other.
    Named(String),
}

impl FromStr for KernelChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text.eq_ignore_ascii_case("auto") { Self::Auto } else { Self::Named(text.to_owned()) })
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
/// OpenBLAS reads the kernel's name from the environment when it is loaded, before `main`. So where another
/// kernel is wanted this function sets the variable and executes the program anew, in the same process: call it
/// first thing in `main`, before threads start and files are opened. It errors where OpenBLAS does not obey.
pub fn use_blas_kernel(choice: &KernelChoice) -> io::Result<()> {
    let environment = std::env::var(KERNEL_VARIABLE).ok().filter(|name| !name.is_empty());
    if let Some(name) = missing(choice, environment.as_deref(), &kernel())? {
        return Err(execute_again_with(name));
    }
    use_one_thread_per_call();
    Ok(())
}

/// What to tell a person who could have the same machine compute faster.
pub fn faster_kernel_hint() -> Option<String> {
    let faster = faster_kernel()?;
    Some(format!(
        "BLAS computes with its {} kernel; --blas-kernel {faster} is up to twice as fast on this processor",
        kernel()
    ))
}

/// The kernel that the program must be started anew for, if any.
fn missing<'a>(
    choice: &'a KernelChoice,
    environment: Option<&str>,
    running: &str,
) -> io::Result<Option<&'a str>> {
    match (choice, environment) {
        (KernelChoice::Auto, _) => Ok(None),
        (KernelChoice::Named(name), _) if name.eq_ignore_ascii_case(running) => Ok(None),
        (KernelChoice::Named(name), Some(tried)) if name.eq_ignore_ascii_case(tried) => {
            Err(io::Error::other(format!(
                "BLAS kernel `{name}` was asked for, but OpenBLAS uses `{running}`: it knows no such kernel, or \
                 this processor cannot run it"
            )))
        }
        (KernelChoice::Named(name), _) => Ok(Some(name)),
    }
}

/// Returns only where that fails.
fn execute_again_with(name: &str) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(&program);
    if let Some(own_name) = arguments.next() {
        command.arg0(own_name);
    }
    let error = command.args(arguments).env(KERNEL_VARIABLE, name).exec();
    io::Error::new(
        error.kind(),
        format!("starting {} anew for BLAS kernel `{name}`: {error}", program.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> KernelChoice {
        name.parse().unwrap()
    }

    #[test]
    fn the_library_chooses_unless_a_kernel_is_named() {
        let auto = named("auto");
        assert_eq!(missing(&auto, None, "Haswell").unwrap(), None);
        assert_eq!(missing(&auto, Some("Haswell"), "Haswell").unwrap(), None);
    }

    #[test]
    fn a_named_kernel_is_used_or_refused() {
        let zen = named("Zen");
        assert_eq!(missing(&zen, None, "ZEN").unwrap(), None);
        assert_eq!(missing(&zen, None, "Haswell").unwrap(), Some("Zen"));
        assert_eq!(missing(&zen, Some("Haswell"), "Haswell").unwrap(), Some("Zen"));
        let error = missing(&zen, Some("zen"), "Haswell").unwrap_err().to_string();
        assert!(error.contains("`Zen`") && error.contains("`Haswell`"), "{error}");
    }
}
