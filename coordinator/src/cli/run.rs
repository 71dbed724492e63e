//! `coordinator run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;
use proto::output::print;
use proto::process::KernelChoice;

use crate::config;
use crate::location::Location;
use crate::objects::Patience;
use crate::run::run;
use crate::sitting::Surroundings;
use crate::stop::Stop;
use crate::summary::{LayerSummary, Summary};

use super::cluster::ClusterArgs;
use super::words::{readout_line, without_labels};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file.
    config: PathBuf,
    /// The run directory: a folder, or s3://BUCKET/PREFIX on an S3-compatible object store, which the usual variables name
    /// (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on) [default: runs/CONFIG-seedN].
    #[arg(long, value_name = "DIR|S3", value_parser = Location::parser())]
    out: Option<Location>,
    /// Override a key of the configuration, such as layers.0.lr=0.01; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Show metrics for Prometheus on /metrics of this address, and /live and /ready for probes.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// On an object store: for how long the run directory stays this coordinator's without a sign of life of it, in seconds.
    /// Whoever continues a run whose coordinator was killed waits for so long; and what the store does not do within two
    /// thirds of it, with all tries, ends the run.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(6..=3600))]
    lease: u16,
    /// Take running workers for usual ones, of four threads of 100 GF/s each and links of 1 Gbit/s and 0.2 ms there and back, in place of
    /// measuring what they and their links are: sooner begun, and layers are shared in the same way every time.
    #[arg(long, env = "STRATA_UNMEASURED", value_parser = FalseyValueParser::new())]
    unmeasured: bool,
    /// Print what came out as JSON, as summary.json has it.
    #[arg(long)]
    json: bool,
    /// Where the workers are.
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl RunArgs {
    /// Trains, and says what came of it.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { config: file, out, set, metrics, lease, unmeasured, json, cluster } = self;
        let config = config::load(&file, &set)?;
        let out = out.unwrap_or_else(|| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            PathBuf::from(format!("runs/{stem}-seed{}", config.seed.0)).into()
        });
        let patience = Patience::of_lease(lease);
        let found = cluster.surroundings(kernel, stop)?;
        let surroundings = Surroundings { patience, metrics, measures: !unmeasured, ..found };
        let summary = run(&config, &out, &surroundings).await.with_context(|| file.display().to_string())?;
        if json {
            return Ok(print(serde_json::to_string_pretty(&summary)?)?);
        }
        Ok(print(format_args!("{}\nrun directory: {out}", conclusion(&summary)))?)
    }
}

fn conclusion(summary: &Summary) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for layer in &summary.layers {
        let LayerSummary { name, epochs, steps, seconds, samples_per_second, .. } = layer;
        writeln!(
            text,
            "{name}: {epochs} epochs, {steps} steps in {seconds:.1} s ({samples_per_second:.0} samples/s)"
        )
        .expect("text");
    }
    let measured =
        [summary.readout.as_ref().map(readout_line), summary.without_labels.as_ref().map(without_labels)];
    for said in measured.into_iter().flatten() {
        writeln!(text, "{said}").expect("text");
    }
    let Summary { seconds, weights_sha256, .. } = summary;
    write!(text, "total: {seconds:.1} s\nweights_sha256: {weights_sha256}").expect("text");
    text
}
