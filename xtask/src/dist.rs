//! `cargo xtask dist`: an archive of both programs that needs nothing but libc and libgcc_s where it is unpacked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::packages::{self, static_library};
use crate::shell::{self, root};
use crate::wheel;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cargo's profile that the programs are built with; dist-quick is built sooner.
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Also build a Python wheel that carries the programs; takes python3 with pip.
    #[arg(long)]
    wheel: bool,
}

/// The programs in it.
pub const PROGRAMS: [&str; 2] = ["coordinator", "worker"];

/// What of the workspace is in it, and where.
const FILES: [(&str, &str); 6] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("configs", "configs"),
    ("deploy/systemd", "systemd"),
];

/// Libraries that the programs may need, all of which every Debian has.
const NEEDED: [&str; 5] = ["linux-vdso.so.", "libc.so.", "libm.so.", "libgcc_s.so.", "ld-linux-"];

/// Packs both programs; prints where the archive is.
pub fn run(Arguments { profile, wheel }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    let archive = pack(&shell, profile)?;
    println!("{}\n{}", archive.display(), fs::read_to_string(sums_of(&archive))?.trim());
    if *wheel {
        println!("{}", wheel::build(&shell, &folder_of(&archive))?.display());
    }
    Ok(())
}

/// What the archive is called, and the folder in it.
fn name() -> String {
    format!("strata-{}-{}-linux-gnu", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

/// Packs both programs; returns the archive, beside which lies its SHA-256 sum.
pub fn pack(shell: &Shell, profile: &str) -> anyhow::Result<PathBuf> {
    packages::for_packing(shell)?;
    let target = shell::target()?;
    let libraries = libraries_to_link_in(shell, &target.join("dist-libraries"))?;
    cmd!(shell, "cargo build --profile {profile} -p coordinator -p worker")
        .env("PKG_CONFIG_PATH", &libraries)
        .run()?;
    let name = name();
    let folder = target.join("packed").join(&name);
    shell.remove_path(&folder)?;
    fs::create_dir_all(folder.join("bin"))?;
    for program in PROGRAMS {
        let built = target.join(profile).join(program);
        check_libraries(&built.display().to_string(), &cmd!(shell, "ldd {built}").read()?)?;
        shell.copy_file(built, folder.join("bin").join(program))?;
    }
    for (from, to) in FILES.map(|(from, to)| (root().join(from), folder.join(to))) {
        cmd!(shell, "cp -r {from} {to}").run()?;
    }
    licences(shell, &folder.join("licenses"))?;
    archive(shell, &folder, &name)
}

/// What was packed into an archive, as a folder.
pub fn folder_of(archive: &Path) -> PathBuf {
    archive.with_file_name(name())
}

/// Where the SHA-256 sum of an archive stands.
pub fn sums_of(archive: &Path) -> PathBuf {
    let mut name = archive.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// A folder in which the linker finds OpenBLAS and the Fortran runtime as archives only, and where pkg-config says so.
fn libraries_to_link_in(shell: &Shell, folder: &Path) -> anyhow::Result<PathBuf> {
    shell.remove_path(folder)?;
    fs::create_dir_all(folder)?;
    let openblas = cmd!(shell, "pkg-config --variable=libdir openblas").read()?;
    let openblas = Path::new(&openblas).join("libopenblas.a");
    let gfortran = static_library(shell, "gfortran").context("the compiler finds no libgfortran.a")?;
    // Only there where Fortran's longest numbers are not the processor's own.
    let quadmath = static_library(shell, "quadmath");
    let mut words = String::new();
    for library in [Some(openblas), Some(gfortran), quadmath].into_iter().flatten() {
        let file = library.file_name().context("a library is a file")?;
        symlink(&library, folder.join(file)).with_context(|| library.display().to_string())?;
        let name = file.to_string_lossy();
        write!(words, " -l{}", name.trim_start_matches("lib").trim_end_matches(".a"))?;
    }
    let version = cmd!(shell, "pkg-config --modversion openblas").read()?;
    let said = format!(
        "Name: openblas\nDescription: OpenBLAS and the Fortran runtime, to be linked in\nVersion: {version}\n\
         Libs: -L{}{words} -lm\n",
        folder.display()
    );
    fs::write(folder.join("openblas.pc"), said)?;
    Ok(folder.to_owned())
}

/// Fails where a program needs a library that not every machine has, by what ldd says of it.
fn check_libraries(program: &str, said: &str) -> anyhow::Result<()> {
    let of_line = |line: &str| {
        line.split_whitespace().next().map(|word| word.rsplit('/').next().unwrap_or(word).to_owned())
    };
    let others: Vec<String> = said
        .lines()
        .filter_map(of_line)
        .filter(|library| !NEEDED.iter().any(|needed| library.starts_with(needed)))
        .collect();
    if !others.is_empty() {
        bail!("{program} needs {}, expected only libc, libm, libgcc_s and the loader", others.join(", "));
    }
    Ok(())
}

/// Collects the licences of what is linked in: OpenBLAS, the Fortran runtime, and all crates.
fn licences(shell: &Shell, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let fortran = static_library(shell, "gfortran").context("the compiler finds no libgfortran.a")?;
    let libdir = cmd!(shell, "pkg-config --variable=libdir openblas").read()?;
    let openblas = Path::new(&libdir).join("libopenblas.a");
    for (name, library) in [("openblas", openblas), ("gfortran", fortran)] {
        let owner = cmd!(shell, "dpkg-query --search {library}").read();
        let owner = owner.context("licences are taken from Debian's packages")?;
        let package = owner.split(':').next().unwrap_or_default();
        shell.copy_file(format!("/usr/share/doc/{package}/copyright"), folder.join(format!("{name}.txt")))?;
    }
    // The Fortran runtime's names it, with an exception for programs that contain the runtime.
    shell.copy_file("/usr/share/common-licenses/GPL-3", folder.join("gfortran-GPL-3.txt"))?;
    fs::write(folder.join("crates.txt"), licences_of_crates(shell)?)?;
    Ok(())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

/// The texts of all crates' licences, each once, with who is under it.
fn licences_of_crates(shell: &Shell) -> anyhow::Result<String> {
    let tree = cmd!(shell, "cargo tree --offline -e normal --prefix none -p coordinator -p worker")
        .args(["--format", "{p}"])
        .read()?;
    // What only other systems need is not here.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = cmd!(shell, "cargo metadata --offline --format-version 1 --filter-platform {platform}");
    let metadata = metadata.quiet().read()?;
    let Metadata { packages } = serde_json::from_str(&metadata)?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages.iter().filter(|package| !package.manifest_path.starts_with(root())) {
        let named = format!("{} v{}", package.name, package.version);
        if !tree
            .lines()
            .any(|line| line.strip_suffix(" (*)").unwrap_or(line).trim_end_matches(" (proc-macro)") == named)
        {
            continue;
        }
        let licence = package.license.as_deref().unwrap_or("see below");
        for text in texts_of(package.manifest_path.parent().context("a manifest lies in a folder")?)? {
            texts.entry(text).or_default().push(format!("{named}: {licence}"));
        }
    }
    let rule = "=".repeat(100);
    let parts = texts.iter().map(|(text, crates)| format!("{}\n\n{text}\n{rule}\n", crates.join("\n")));
    Ok(parts.collect())
}

fn texts_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"]
            .iter()
            .any(|word| name.starts_with(word));
        if is_licence && entry.file_type()?.is_file() {
            texts.push(fs::read_to_string(entry.path())?.trim().to_owned());
        }
    }
    Ok(texts)
}

/// Makes the archive, alike for what is alike, and its SHA-256 sum; the sums of its programs are inside.
fn archive(shell: &Shell, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let parent = folder.parent().context("it lies in a folder")?;
    let _there = shell.push_dir(folder);
    let files = PROGRAMS.map(|program| format!("bin/{program}"));
    fs::write(folder.join("SHA256SUMS"), cmd!(shell, "sha256sum {files...}").read()? + "\n")?;
    let _there = shell.push_dir(parent);
    let file = format!("{name}.tar.gz");
    let time = cmd!(shell, "git -C").arg(root()).args(["log", "-1", "--format=%ct"]).read();
    let time = format!("@{}", time.unwrap_or_else(|_| "0".to_owned()));
    let alike = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
    cmd!(shell, "tar {alike...} --mtime={time} -czf {file} {name}").run()?;
    let archive = parent.join(&file);
    fs::write(sums_of(&archive), cmd!(shell, "sha256sum {file}").read()? + "\n")?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_need_what_every_machine_has_and_nothing_else() {
        let fine = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/libgcc_s.so.1 (0x00007f)\n\
                    \tlibm.so.6 => /lib/libm.so.6 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        check_libraries("worker", fine).unwrap();
        let shared = format!("{fine}\tlibopenblas.so.0 => /lib/libopenblas.so.0 (0x00007f)\n");
        let error = check_libraries("worker", &shared).unwrap_err().to_string();
        assert!(error.starts_with("worker needs libopenblas.so.0, expected"), "{error}");
    }

    #[test]
    fn the_sum_of_an_archive_lies_beside_it() {
        assert_eq!(sums_of(Path::new("a/b.tar.gz")), Path::new("a/b.tar.gz.sha256"));
    }
}
