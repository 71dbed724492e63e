//! `coordinator predict`.

use std::borrow::Cow;

use anyhow::{Context, ensure};
use clap::Args;
use ndarray::ArrayView2;
use proto::output::print;
use proto::process::KernelChoice;
use scff::readout::{Readout, largest, probabilities};
use source::Input;

use crate::extraction::{Extraction, Samples};
use crate::stop::Stop;
use crate::table::{Column, Format, Table, Values};

use super::cluster::ClusterArgs;
use super::input::InputArgs;

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// What goes in, and where it comes out: *.csv or *.parquet.
    #[command(flatten)]
    input: InputArgs,
    /// Where the workers are.
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl PredictArgs {
    /// Writes what the readout takes each sample for, and says how many it takes for what they are.
    pub async fn execute(self, kernel: &KernelChoice, stop: Stop) -> anyhow::Result<()> {
        let Self { input: InputArgs { run_dir, input, out }, cluster } = self;
        let format = Format::of(&out, &Format::TABLES)?;
        let mut extraction = Extraction::open(&run_dir, None, &cluster.surroundings(kernel, stop)?)?;
        let readout = extraction.model.readout.as_ref();
        let readout =
            readout.with_context(|| format!("{run_dir}: the run has no readout that could predict"))?;
        let (readout, classes) = (Readout::from_parameters(readout), extraction.classes().to_vec());
        let outputs = readout.parameters().bias().len();
        ensure!(
            outputs == classes.len(),
            "{run_dir}: found {} names of classes in input.json, expected {outputs} as the readout tells apart",
            classes.len()
        );
        let samples = extraction.input(&input)?;
        let probability = classes.iter().map(|class| Column::number(format!("p_{class}")));
        let columns = [Column::text("name"), Column::text("label")].into_iter().chain(probability).collect();
        let mut table = Table::create(&out, format, columns)?;
        let mut predicted = Predicted { samples: &samples, classes: &classes, done: 0, right: 0 };
        extraction
            .pass(&Samples::of_input(&samples), &mut |features| {
                predicted.append(&mut table, &readout, features)
            })
            .await?;
        let score = predicted.score();
        table.finish()?;
        Ok(print(format_args!("{}: {} samples{score}", out.display(), samples.len()))?)
    }
}

/// What is predicted so far.
struct Predicted<'a> {
    samples: &'a Input,
    classes: &'a [String],
    done: usize,
    /// Of how many samples the label is the one that they have.
    right: usize,
}

impl Predicted<'_> {
    /// Adds the next samples, whose features are (samples, features).
    fn append(
        &mut self,
        table: &mut Table,
        readout: &Readout,
        features: ArrayView2<'_, f32>,
    ) -> anyhow::Result<()> {
        let probabilities = probabilities(readout.logits(features));
        let range = self.done..self.done + features.nrows();
        let labels: Vec<usize> = probabilities.outer_iter().map(largest).collect();
        if let Some(known) = self.samples.labels().get(range.clone()) {
            let names = self.samples.classes();
            let right = known
                .iter()
                .zip(&labels)
                .filter(|(known, label)| names[**known as usize] == self.classes[**label]);
            self.right += right.count();
        }
        self.done = range.end;
        let names = range.map(|index| self.samples.name(index)).collect();
        let labels = labels.into_iter().map(|label| Cow::from(&self.classes[label])).collect();
        let columns = probabilities.axis_chunks_iter(ndarray::Axis(1), 1).map(Values::Numbers);
        let values: Vec<_> = [Values::Text(names), Values::Text(labels)].into_iter().chain(columns).collect();
        table.append(&values)
    }

    /// How many are right, in words, where labels are known.
    fn score(&self) -> String {
        match (self.samples.labels().is_empty(), self.done) {
            (true, _) | (_, 0) => String::new(),
            (false, all) => format!(
                ", {} of which ({:.2} %) as they are labelled",
                self.right,
                100.0 * self.right as f64 / all as f64
            ),
        }
    }
}
