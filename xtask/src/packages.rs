//! What must be installed before anything can be built.

use std::path::Path;

use anyhow::bail;

use crate::shell::{command, root, run, succeeds};

/// Something that the system provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Compiler,
    PkgConfig,
    OpenBlas,
    FashionMnist,
}

/// What a build needs.
const BUILD: [Need; 3] = [Need::Compiler, Need::PkgConfig, Need::OpenBlas];

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Compiler => succeeds("cc", &["--version"]),
            Self::PkgConfig => succeeds("pkg-config", &["--version"]),
            Self::OpenBlas => succeeds("pkg-config", &["--exists", "openblas"]),
            Self::FashionMnist => has_fashion_mnist(),
        }
    }

    /// Package names on Debian or Ubuntu, Fedora, Arch; a data set is packaged on the first only.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Compiler => ["build-essential", "gcc", "base-devel"],
            Self::PkgConfig => ["pkg-config", "pkgconf-pkg-config", "pkgconf"],
            Self::OpenBlas => ["libopenblas-dev", "openblas-devel", "openblas"],
            Self::FashionMnist => ["dataset-fashion-mnist", "", ""],
        }
    }
}

fn has_fashion_mnist() -> bool {
    let data = std::env::var_os("STRATA_DATA").map_or_else(|| root().join("datasets"), Into::into);
    let installed = succeeds("dpkg-query", &["--show", "dataset-fashion-mnist"])
        || Path::new("/usr/share/datasets/fashion-mnist").is_dir();
    installed || data.join("fashion-mnist").is_dir()
}

/// Installs what a build needs where this is possible, and says what to install where it is not.
pub fn for_building() -> anyhow::Result<()> {
    let missing = missing(&BUILD);
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!("{}", advice(&missing));
    }
    install(&missing)
}

/// The same, and Fashion-MNIST; returns whether the data set is there.
pub fn for_quickstart() -> anyhow::Result<bool> {
    let mut wanted = missing(&BUILD);
    if !wanted.is_empty() && !can_install() {
        bail!("{}", advice(&wanted));
    }
    wanted.extend(missing(&[Need::FashionMnist]));
    if wanted.is_empty() || !can_install() {
        return Ok(wanted.is_empty());
    }
    match install(&wanted) {
        Ok(()) => Ok(true),
        // Debian before 12 has no package of the data set.
        Err(error) if wanted.contains(&Need::FashionMnist) => {
            eprintln!("{error:#}");
            for_building().map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| !need.is_met()).collect()
}

fn can_install() -> bool {
    let root = std::process::Command::new("id").arg("-u").output();
    root.is_ok_and(|id| id.stdout.trim_ascii() == b"0") && succeeds("apt-get", &["--version"])
}

fn install(needs: &[Need]) -> anyhow::Result<()> {
    run(&mut command("apt-get", &["update"]))?;
    let mut install = command("apt-get", &["install", "-y", "--no-install-recommends"]);
    install.env("DEBIAN_FRONTEND", "noninteractive").args(needs.iter().map(|need| need.names()[0]));
    run(&mut install)
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
