//! What must be installed before anything can be built.

use std::path::{Path, PathBuf};

use anyhow::bail;

use xshell::{Shell, cmd};

use crate::shell::{root, succeeds};

/// Something that the system provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Compiler,
    PkgConfig,
    OpenBlas,
    StaticFortran,
    FashionMnist,
}

/// What a build needs.
const BUILD: [Need; 3] = [Need::Compiler, Need::PkgConfig, Need::OpenBlas];
/// What a build needs whose programs contain OpenBLAS.
const PACKING: [Need; 4] = [Need::Compiler, Need::PkgConfig, Need::OpenBlas, Need::StaticFortran];

impl Need {
    fn is_met(self, shell: &Shell) -> bool {
        match self {
            Self::Compiler => succeeds(cmd!(shell, "cc --version")),
            Self::PkgConfig => succeeds(cmd!(shell, "pkg-config --version")),
            Self::OpenBlas => succeeds(cmd!(shell, "pkg-config --exists openblas")),
            Self::StaticFortran => static_library(shell, "gfortran").is_some(),
            Self::FashionMnist => has_fashion_mnist(shell),
        }
    }

    /// Package names on Debian or Ubuntu, Fedora, Arch; a data set is packaged on the first only.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Compiler => ["build-essential", "gcc", "base-devel"],
            Self::PkgConfig => ["pkg-config", "pkgconf-pkg-config", "pkgconf"],
            Self::OpenBlas => ["libopenblas-dev", "openblas-devel", "openblas"],
            Self::StaticFortran => ["gfortran", "libgfortran-static", "gcc-fortran"],
            Self::FashionMnist => ["dataset-fashion-mnist", "", ""],
        }
    }
}

/// Where the compiler finds a library that can be linked in.
pub fn static_library(shell: &Shell, name: &str) -> Option<PathBuf> {
    let file = format!("lib{name}.a");
    let found = cmd!(shell, "cc -print-file-name={file}").quiet().ignore_stderr().read();
    found.ok().map(PathBuf::from).filter(|found| found.is_absolute() && found.exists())
}

fn has_fashion_mnist(shell: &Shell) -> bool {
    let data = std::env::var_os("STRATA_DATA").map_or_else(|| root().join("datasets"), Into::into);
    let installed = succeeds(cmd!(shell, "dpkg-query --show dataset-fashion-mnist"))
        || Path::new("/usr/share/datasets/fashion-mnist").is_dir();
    installed || data.join("fashion-mnist").is_dir()
}

/// Installs what a build needs where this is possible, and says what to install where it is not.
pub fn for_building(shell: &Shell) -> anyhow::Result<()> {
    install_missing(shell, &BUILD)
}

/// The same for a build whose programs contain OpenBLAS.
pub fn for_packing(shell: &Shell) -> anyhow::Result<()> {
    install_missing(shell, &PACKING)
}

/// Installs the Debian packages of what is missing, given as (program or path, package); an error names those that cannot be.
pub fn for_testing(shell: &Shell, tools: &[(&str, &str)]) -> anyhow::Result<()> {
    let is_there = |tool: &str| match Path::new(tool) {
        path if path.is_absolute() => path.exists(),
        _ => succeeds(cmd!(shell, "which {tool}")),
    };
    let missing = tools.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package);
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install(shell) {
        bail!("not installed, and not to be installed without root and apt-get: {}", missing.join(", "));
    }
    install_packages(shell, &missing)
}

fn install_missing(shell: &Shell, needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(shell, needs);
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install(shell) {
        bail!("{}", advice(&missing));
    }
    install(shell, &missing)
}

/// The same, and Fashion-MNIST; returns whether the data set is there.
pub fn for_quickstart(shell: &Shell) -> anyhow::Result<bool> {
    let mut wanted = missing(shell, &BUILD);
    if !wanted.is_empty() && !can_install(shell) {
        bail!("{}", advice(&wanted));
    }
    wanted.extend(missing(shell, &[Need::FashionMnist]));
    if wanted.is_empty() || !can_install(shell) {
        return Ok(wanted.is_empty());
    }
    match install(shell, &wanted) {
        Ok(()) => Ok(true),
        // Debian before 12 has no package of the data set.
        Err(error) if wanted.contains(&Need::FashionMnist) => {
            eprintln!("{error:#}");
            for_building(shell).map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn missing(shell: &Shell, needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| !need.is_met(shell)).collect()
}

fn can_install(shell: &Shell) -> bool {
    let user = cmd!(shell, "id -u").quiet().read();
    user.is_ok_and(|id| id == "0") && succeeds(cmd!(shell, "apt-get --version"))
}

fn install(shell: &Shell, needs: &[Need]) -> anyhow::Result<()> {
    let names: Vec<&str> = needs.iter().map(|need| need.names()[0]).collect();
    install_packages(shell, &names)
}

fn install_packages(shell: &Shell, names: &[&str]) -> anyhow::Result<()> {
    cmd!(shell, "apt-get update").run()?;
    let install = cmd!(shell, "apt-get install -y --no-install-recommends {names...}");
    Ok(install.env("DEBIAN_FRONTEND", "noninteractive").run()?)
}

fn advice(missing: &[Need]) -> String {
    let commands = ["sudo apt-get install", "sudo dnf install", "sudo pacman -S"];
    let systems = ["Debian, Ubuntu", "Fedora", "Arch"];
    let lines = systems.into_iter().zip(commands).enumerate().map(|(index, (system, command))| {
        let names: Vec<&str> = missing.iter().map(|need| need.names()[index]).collect();
        format!("\n  {system:<16}{command} {}", names.join(" "))
    });
    format!("some packages are missing; install them and try again:{}", lines.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_packages_of_three_systems() {
        let advice = advice(&[Need::PkgConfig, Need::OpenBlas]);
        assert!(advice.contains("apt-get install pkg-config libopenblas-dev"), "{advice}");
        assert!(advice.contains("dnf install pkgconf-pkg-config openblas-devel"), "{advice}");
        assert!(advice.contains("pacman -S pkgconf openblas"), "{advice}");
    }
}
