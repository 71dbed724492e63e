//! `cargo xtask quickstart`

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use xshell::cmd;

use crate::packages;
use crate::shell::{self, build_release, root};
use crate::summary::{Summary, baseline};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Forget an earlier quickstart and start anew.
    #[arg(long)]
    fresh: bool,
}

const RUN: &str = "runs/quickstart";

/// Builds, trains, compares with raw pixels.
pub fn run(Arguments { fresh }: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    let data_is_here = packages::for_quickstart(&shell)?;
    let coordinator = build_release(&shell)?;
    if !data_is_here {
        cmd!(shell, "{coordinator} data fetch fashion-mnist").run()?;
    }
    let folder = root().join(RUN);
    if *fresh && folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    if folder.join("summary.json").exists() {
        println!("{RUN} holds a finished run, which is used again; --fresh starts anew");
    }
    let start = Instant::now();
    cmd!(shell, "{coordinator} run configs/fashion-mnist.toml --local 2 --out {RUN}")
        .run()
        .context("if the configuration has changed since an earlier quickstart, --fresh starts anew")?;
    let raw = baseline(&shell, &coordinator, Path::new(RUN))?;
    println!("\n{}", conclusion(&Summary::read(&folder)?, raw, start.elapsed().as_secs_f64()));
    Ok(())
}

fn conclusion(summary: &Summary, raw: f64, seconds: f64) -> String {
    let (on, accuracy) = summary.accuracy();
    format!(
        "{dataset}, {on} accuracy of a linear readout\n  \
           of the features learned without labels   {learned:6.2} %\n  \
           of the raw pixels                        {raw:6.2} %\n  \
           difference                               {difference:+6.2} points\n\
         training and readout took {training:.0} s, this command {seconds:.0} s\n\
         {RUN}: summary.json (all figures), metrics.jsonl (the course of training), \
         model.safetensors (the layers), readout.safetensors, config.toml",
        dataset = summary.dataset,
        learned = 100.0 * accuracy,
        raw = 100.0 * raw,
        difference = 100.0 * (accuracy - raw),
        training = summary.seconds,
    )
}
