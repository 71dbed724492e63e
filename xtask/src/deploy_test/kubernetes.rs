//! The manifests for Kubernetes, as kubectl renders them, against Kubernetes' own schemas.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use super::bench::{Bench, Outcome};
use super::run::Programs;
use crate::shell::{self, root, succeeds};

const OVERLAYS: [&str; 3] = ["dev", "production", "cert-manager"];
/// A validator from PyPI that brings all schemas along.
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// Of others, whose schemas it does not have: rendered only.
const OTHERS: &str = "apiVersion: cert-manager.io/";

/// Renders every overlay and validates all that is Kubernetes' own; programs must know the options that manifests give them.
pub fn test(bench: &Bench) -> anyhow::Result<Outcome> {
    let shell = &bench.shell;
    if !succeeds(cmd!(shell, "kubectl version --client")) {
        return Ok(Outcome::Skipped("kubectl is not installed".to_owned()));
    }
    let validator = match validator(shell) {
        Ok(validator) => validator,
        Err(error) => return Ok(Outcome::Skipped(format!("{VALIDATOR} cannot be installed: {error:#}"))),
    };
    let folder = bench.folder("kubernetes")?;
    let programs = Programs::unpack(bench, &folder)?;
    for config in ["base/config.toml", "overlays/dev/config.toml"] {
        let (coordinator, file) = (programs.coordinator(), root().join("deploy/kubernetes").join(config));
        cmd!(shell, "{coordinator} plan {file}").ignore_stdout().run()?;
    }
    let known = [programs.coordinator(), programs.worker()].map(|program| help(shell, &program));
    let (mut validated, mut rendered) = (0, 0);
    for overlay in OVERLAYS {
        let source = root().join("deploy/kubernetes/overlays").join(overlay);
        let text = cmd!(shell, "kubectl kustomize {source}").read()?;
        check_options(&text, &known).with_context(|| overlay.to_owned())?;
        let (others, own): (Vec<&str>, Vec<&str>) =
            text.split("\n---\n").partition(|document| document.trim_start().starts_with(OTHERS));
        let file = folder.join(format!("{overlay}.yaml"));
        std::fs::write(&file, own.join("\n---\n"))?;
        cmd!(shell, "{validator} --strict --quiet {file}").run().with_context(|| overlay.to_owned())?;
        validated += own.len();
        rendered += others.len();
    }
    Ok(Outcome::Passed(format!(
        "{validated} objects of the overlays {} are valid, strictly; {rendered} of cert-manager are rendered only; nothing ran",
        OVERLAYS.join(", ")
    )))
}

/// The validator in an environment of its own.
fn validator(shell: &Shell) -> anyhow::Result<PathBuf> {
    let environment = shell::target()?.join("kubernetes-validate");
    let program = environment.join("bin/kubernetes-validate");
    if !program.exists() {
        cmd!(shell, "python3 -m venv {environment}").run()?;
        let pip = environment.join("bin/pip");
        cmd!(shell, "{pip} install --quiet {VALIDATOR}").run()?;
    }
    Ok(program)
}

fn help(shell: &Shell, program: &Path) -> String {
    let run: &[&str] = if program.ends_with("coordinator") { &["run"] } else { &[] };
    cmd!(shell, "{program} {run...} --help").quiet().ignore_stderr().read().unwrap_or_default()
}

/// Fails where a manifest gives a program an option that neither knows.
fn check_options(manifest: &str, known: &[String]) -> anyhow::Result<()> {
    let options = manifest.lines().filter_map(|line| line.trim_start().strip_prefix("- --"));
    let options: Vec<String> =
        options.map(|option| format!("--{} ", option.split('=').next().unwrap_or(option))).collect();
    if options.is_empty() {
        bail!("no options for programs, expected some");
    }
    for option in options {
        if !known.iter().any(|help| format!("{help} ").replace('\n', " ").contains(&option)) {
            bail!("neither program has the option {option}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_manifests_are_in_the_help_of_a_program() {
        let known = ["      --listen <ADDR>  Where".to_owned(), "      --insecure\n  Open".to_owned()];
        check_options("args:\n- --listen=0.0.0.0:1\n- --insecure\n", &known).unwrap();
        let error = check_options("args:\n- --lis=0.0.0.0:1\n", &known).unwrap_err().to_string();
        assert!(error.contains("--lis"), "{error}");
        check_options("args: []\n", &known).unwrap_err();
    }
}
