//! `coordinator features`.

use clap::Args;
use proto::output::print;
use proto::process::KernelChoice;

use crate::extraction::{Extraction, Samples};
use crate::stop::Stop;
use crate::table::{FeatureFile, Format};

use super::cluster::ClusterArgs;
use super::input::InputArgs;

/// Arguments of `features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// What goes in, and where it comes out: *.npz, *.npy, *.csv or *.parquet.
    #[command(flatten)]
    input: InputArgs,
    /// The layers whose outputs are features, counted from 0 [default: those that the readout reads].
    #[arg(long, value_delimiter = ',')]
    layers: Option<Vec<usize>>,
    /// Where the workers are.
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl FeaturesArgs {
    /// Writes the features of all samples, in order, and says how many there are.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { input: InputArgs { run_dir, input, out }, layers, cluster } = self;
        Format::of(&out, &Format::ALL)?;
        let surroundings = cluster.surroundings(kernel, stop)?;
        let mut extraction = Extraction::open(&run_dir, layers.as_deref(), &surroundings)?;
        let samples = extraction.input(&input)?;
        let width = extraction.model.features();
        let mut file = FeatureFile::create(&out, samples.clone(), width)?;
        extraction.pass(&Samples::of_input(&samples), &mut |features| file.append(features)).await?;
        file.finish()?;
        Ok(print(format_args!("{}: {width} features of {} samples", out.display(), samples.len()))?)
    }
}
