//! Says which commit the program is built of, where that is known.
//!
//! It runs again where sources have changed, for which the program is built again anyway, and not with every commit: so nothing
//! is built because something was committed. What is said is the commit that the sources lay on when they were built, and
//! whether they differed from it. `STRATA_COMMIT` says it where there is no repository.

use std::process::Command;

/// What the program is made of.
const SOURCES: [&str; 9] = [
    "src",
    "Cargo.toml",
    "../Cargo.lock",
    "../scff/src",
    "../source/src",
    "../proto/src",
    "../proto/strata",
    "../scff/Cargo.toml",
    "../proto/Cargo.toml",
];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed=STRATA_COMMIT");
    let given = std::env::var("STRATA_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    if let Some(commit) = given.or_else(of_the_repository) {
        println!("cargo::rustc-env=STRATA_COMMIT={}", commit.trim());
    }
}

/// The commit of the repository that these sources lie in, with `-changed` where they differ from it.
fn of_the_repository() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    let tracked = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ".."])?;
    tracked.then(|| {
        if changes.trim().is_empty() { commit.clone() } else { format!("{}-changed", commit.trim()) }
    })
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}
