//! `coordinator score`.

use clap::Args;
use ndarray::ArrayView2;
use proto::output::print;
use proto::process::KernelChoice;

use crate::scoring::{Method, Scoring};
use crate::stop::Stop;
use crate::table::{Column, Format, Table, Values};

use super::cluster::ClusterArgs;
use super::input::InputArgs;

/// Arguments of `score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// What goes in, and where it comes out: *.csv or *.parquet.
    #[command(flatten)]
    input: InputArgs,
    /// What is compared with what is usual in the training data.
    #[arg(long, value_enum, default_value = "mahalanobis")]
    method: Method,
    /// The layers whose outputs are features, counted from 0 [default: those that the readout reads].
    #[arg(long, value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Where the workers are.
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ScoreArgs {
    /// Writes the score of each sample.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { input: InputArgs { run_dir, input, out }, method, layers, cluster } = self;
        let format = Format::of(&out, &Format::TABLES)?;
        let surroundings = cluster.surroundings(kernel, stop)?;
        let mut table = Table::create(&out, format, vec![Column::text("name"), Column::number("score")])?;
        let mut scoring = Scoring::open(&run_dir, layers.as_deref(), method, &surroundings).await?;
        let samples = scoring.input(&input)?;
        let mut done = 0;
        let mut append = |scores: &[f32]| {
            let names = (done..done + scores.len()).map(|index| samples.name(index)).collect();
            done += scores.len();
            let scores = ArrayView2::from_shape((scores.len(), 1), scores).expect("one column");
            table.append(&[Values::Text(names), Values::Numbers(scores)])
        };
        scoring.score(&samples, &mut append).await?;
        table.finish()?;
        Ok(print(format_args!("{}: {method} scores of {} samples", out.display(), samples.len()))?)
    }
}
