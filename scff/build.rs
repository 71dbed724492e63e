//! Says at the beginning of a build that OpenBLAS is missing, and not at its end, where the linker does.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio, exit};

const ADVICE: &str =
    "OpenBLAS is missing: neither pkg-config nor the linker finds it. Install it and build again:
  Debian, Ubuntu  sudo apt-get install pkg-config libopenblas-dev
  Fedora          sudo dnf install pkgconf-pkg-config openblas-devel
  Arch            sudo pacman -S pkgconf openblas";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["LIBRARY_PATH", "PKG_CONFIG", "PKG_CONFIG_PATH", "RUSTC_LINKER"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    // Elsewhere, and for other machines than this one, it is left to the linker.
    let here = env::var("HOST") == env::var("TARGET");
    if here
        && env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux")
        && !pkg_config()
        && links() == Some(false)
    {
        for line in ADVICE.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}

fn pkg_config() -> bool {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    succeeds(Command::new(program).args(["--exists", "openblas"])) == Some(true)
}

/// Whether a program that needs it can be linked; nothing where no program can.
fn links() -> Option<bool> {
    let folder = env::var("OUT_DIR").expect("cargo sets it");
    let source = Path::new(&folder).join("probe.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").ok()?;
    let link = |libraries: &[&str]| {
        let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".to_owned());
        let mut command = Command::new(linker);
        command.arg(&source).arg("-o").arg(source.with_extension("out"));
        succeeds(command.args(search_folders()).args(libraries))
    };
    if link(&[])? { link(&["-lopenblas"]) } else { None }
}

/// Where rustc is told to look too: `-L PATH`, `-LPATH` or `-L native=PATH`.
fn search_folders() -> Vec<String> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut folders = Vec::new();
    let mut flags = flags.split('\u{1f}');
    while let Some(flag) = flags.next() {
        let Some(folder) = flag.strip_prefix("-L") else { continue };
        let folder = if folder.is_empty() { flags.next().unwrap_or_default() } else { folder };
        folders.push(format!("-L{}", folder.strip_prefix("native=").unwrap_or(folder)));
    }
    folders
}

/// Nothing where the program is not there.
fn succeeds(command: &mut Command) -> Option<bool> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.ok().map(|status| status.success())
}
