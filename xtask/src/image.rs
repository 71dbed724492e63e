//! `cargo xtask image`: the container image of `deploy/Dockerfile`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use xshell::{Shell, cmd};

use crate::roots;
use crate::shell::{self, root, succeeds};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The image's name.
    #[arg(long, default_value = "strata")]
    tag: String,
    /// Cargo's profile that the programs are built with; dist-quick is built sooner.
    #[arg(long, default_value = "dist")]
    profile: String,
}

/// What the Dockerfile builds with, and what the image stands on.
const TOOLCHAIN: &str = "rust:1.95-slim-bookworm";
const BASE: &str = "debian:bookworm-slim";
/// Marks images that stand in for others.
const STAND_IN: &str = "strata.stand-in";

/// Builds the image; prints its size.
pub fn run(Arguments { tag, profile }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    build(&shell, tag, profile)?;
    let own = besides_base(&shell, tag)?;
    println!("{tag}: {:.0} MB besides {BASE}", own as f64 / 1e6);
    Ok(())
}

/// Builds the image.
pub fn build(shell: &Shell, tag: &str, profile: &str) -> anyhow::Result<()> {
    if !succeeds(cmd!(shell, "docker info")) {
        bail!("no Docker engine answers here (`docker info` says more)");
    }
    provide_base(shell)?;
    if !is_there(shell, TOOLCHAIN) {
        stand_in_for_toolchain(shell)?;
    }
    let context = context(shell)?;
    let version = concat!("VERSION=", env!("CARGO_PKG_VERSION"));
    let revision = cmd!(shell, "git rev-parse HEAD").quiet().ignore_stderr().read();
    let revision = format!("REVISION={}", revision.unwrap_or_else(|_| "unknown".to_owned()));
    let profile = format!("PROFILE={profile}");
    let arguments = ["--build-arg", version, "--build-arg", &revision, "--build-arg", &profile, "-t", tag];
    Ok(cmd!(shell, "docker build --quiet -f deploy/Dockerfile {arguments...} {context}").run()?)
}

/// Sees that the base of the image is there.
pub fn provide_base(shell: &Shell) -> anyhow::Result<()> {
    if is_there(shell, BASE) { Ok(()) } else { stand_in_for_base(shell) }
}

/// Bytes of an image besides those of its base.
pub fn besides_base(shell: &Shell, tag: &str) -> anyhow::Result<u64> {
    let size = |image: &str| -> anyhow::Result<u64> {
        Ok(cmd!(shell, "docker image inspect {image}")
            .args(["--format", "{{.Size}}"])
            .quiet()
            .read()?
            .trim()
            .parse()?)
    };
    Ok(size(tag)?.saturating_sub(size(BASE)?))
}

/// Whether an image is on this machine, or can be pulled.
fn is_there(shell: &Shell, image: &str) -> bool {
    succeeds(cmd!(shell, "docker image inspect {image}")) || succeeds(cmd!(shell, "docker pull {image}"))
}

fn stand_in_for_base(shell: &Shell) -> anyhow::Result<()> {
    eprintln!("{BASE} cannot be pulled: a stand-in is made by debootstrap");
    let root = roots::debian(shell, "bookworm")?;
    let label = format!("LABEL {STAND_IN}=true");
    let script = r#"tar -C "$0" -c . | docker import --change "$1" --change 'CMD ["bash"]' - "$2""#;
    Ok(cmd!(shell, "sh -ec {script} {root} {label} {BASE}").ignore_stdout().run()?)
}

/// The toolchain that is installed here, on the base.
fn stand_in_for_toolchain(shell: &Shell) -> anyhow::Result<()> {
    eprintln!("{TOOLCHAIN} cannot be pulled: a stand-in is made of the toolchain that is installed");
    let toolchain = cmd!(shell, "rustc --print sysroot").read()?;
    let folder = shell::target()?.join("stand-in");
    let said =
        format!("FROM {BASE}\nLABEL {STAND_IN}=true\nCOPY bin /usr/local/bin\nCOPY lib /usr/local/lib\n");
    shell.write_file(folder.join("Dockerfile"), said)?;
    let script = r#"tar -c -C "$0" Dockerfile -C "$1" bin lib | docker build --quiet -t "$2" -"#;
    Ok(cmd!(shell, "sh -ec {script} {folder} {toolchain} {TOOLCHAIN}").ignore_stdout().run()?)
}

/// The workspace with all crates in it, so that nothing is fetched while the image is built.
fn context(shell: &Shell) -> anyhow::Result<PathBuf> {
    let context = shell::target()?.join("context");
    fs::create_dir_all(&context)?;
    let script = r#"find "$1" -mindepth 1 -maxdepth 1 ! -name vendor -exec rm -rf {} +
        tar -C "$0" --exclude-from="$0/.dockerignore" --exclude=./vendor -c . | tar -C "$1" -x"#;
    let root = root();
    cmd!(shell, "sh -ec {script} {root} {context}").quiet().run()?;
    vendor(shell, &context)?;
    Ok(context)
}

fn vendor(shell: &Shell, context: &Path) -> anyhow::Result<()> {
    let folder = context.join("vendor");
    cmd!(shell, "cargo vendor --quiet --locked --versioned-dirs {folder}").ignore_stdout().run()?;
    let config = context.join(".cargo/config.toml");
    let before = fs::read_to_string(&config)?;
    let sources =
        "\n[source.crates-io]\nreplace-with = \"vendored\"\n\n[source.vendored]\ndirectory = \"vendor\"\n";
    fs::write(&config, before + sources)?;
    Ok(())
}
