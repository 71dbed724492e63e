//! A readout of a few labels that were given to samples of a run.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use bytesize::ByteSize;
use ndarray::{Array1, Array2, Axis, concatenate};
use proto::rows::Precision;
use scff::layer::Tensors;
use scff::logistic::{self, FewLabels, NoSpan};
use scff::readout::{Features, Readout};
use scff::seed::Seed;
use source::{BadFile, Examples, NamedLabel, named_labels};

use crate::clock::Stopwatch;
use crate::cluster::Worker;
use crate::events::Events;
use crate::features::{FeaturesError, LayerTaps, feature_stream, layer_features};
use crate::readout::{NoRoom, ReadoutError, check_room};
use crate::split::Splits;
use crate::summary::FewLabelsSummary;

/// The labelled ones of a run's samples.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// One part or more, none of them empty.
    parts: Vec<Arc<Examples>>,
    /// The class of each sample, in the order of the parts.
    labels: Vec<u32>,
    /// What classes are called: as the run calls them where it has any, otherwise as the file does, in order.
    pub classes: Vec<String>,
}

/// What a file of labels says of a run's samples.
pub fn read(file: &Path, splits: &Splits) -> anyhow::Result<Labelled> {
    let said = named_labels(file)?;
    let known = &splits.input.classes;
    let classes = if known.is_empty() { classes(&said) } else { known.clone() };
    let numbers: HashMap<&String, u32> = classes.iter().zip(0..).collect();
    let Splits { layers, train, measure, .. } = splits;
    // Samples with labels of their own that measure are not learned from.
    let measures = measure.labels().is_empty();
    let parts: Vec<&Arc<Examples>> =
        [Some(layers), Some(train), measures.then_some(measure)].into_iter().flatten().collect();
    let mut places = HashMap::new();
    for (part, examples) in parts.iter().enumerate() {
        for index in 0..examples.len() as u32 {
            places.entry(examples.name(index)).or_insert((part, index));
        }
    }
    let mut chosen = vec![(Vec::new(), Vec::new()); parts.len()];
    for NamedLabel { name, label, line } in &said {
        let Some((part, index)) = places.get(name.as_str()) else {
            return Err(unknown(file, name, *line, splits).into());
        };
        let Some(number) = numbers.get(label) else {
            let found = format!("the label {label} in line {line}");
            return Err(
                BadFile::new(file, found, format_args!("one of the run's: {}", known.join(", "))).into()
            );
        };
        let (indices, labels): &mut (Vec<u32>, Vec<u32>) = &mut chosen[*part];
        indices.push(*index);
        labels.push(*number);
    }
    let chosen = parts.iter().zip(chosen).filter(|(_, (indices, _))| !indices.is_empty());
    let (parts, labels): (Vec<_>, Vec<_>) =
        chosen.map(|(examples, (indices, labels))| (Arc::new(examples.subset(&indices)), labels)).unzip();
    let labelled = Labelled { parts, labels: labels.concat(), classes };
    let found = labelled.classes_found();
    ensure!(
        found > 1,
        BadFile::new(file, format_args!("labels of {found} class"), "labels of two classes or more")
    );
    Ok(labelled)
}

/// What the labels in a file are called, each once: by their numbers where all are numbers, otherwise by the alphabet.
fn classes(said: &[NamedLabel]) -> Vec<String> {
    let mut classes: Vec<String> = said.iter().map(|said| said.label.clone()).collect();
    classes.sort();
    classes.dedup();
    let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut numbered: Vec<(i64, String)> = numbers.into_iter().zip(classes).collect();
        numbered.sort();
        return numbered.into_iter().map(|(_, class)| class).collect();
    }
    classes
}

/// The error of a name that no sample has which may be learned from.
fn unknown(file: &Path, name: &str, line: u64, splits: &Splits) -> BadFile {
    let Splits { layers, measure, validation, .. } = splits;
    let has = |examples: &Examples| (0..examples.len() as u32).any(|index| examples.name(index) == name);
    let found = format!("the name {name} in line {line}");
    if has(measure) || validation.as_ref().is_some_and(|validation| has(validation)) {
        return BadFile::new(
            file,
            format_args!("{found}, which measures"),
            "samples that layers have learned from",
        );
    }
    BadFile::new(file, found, format_args!("names of the run's samples, such as {}", layers.name(0)))
}

impl Labelled {
    /// How many of the classes have a label.
    fn classes_found(&self) -> usize {
        present(&self.labels).len()
    }
}

/// The classes that have a label, each once, in order.
fn present(labels: &[u32]) -> Vec<u32> {
    let mut present = labels.to_vec();
    present.sort_unstable();
    present.dedup();
    present
}

/// What a readout of few labels is learned with.
pub struct FewLabelsRun<'a> {
    /// Who computes features.
    pub workers: &'a [Worker],
    /// The run's name on them.
    pub run: &'a str,
    /// What is read.
    pub taps: &'a LayerTaps,
    /// What it learns from.
    pub labelled: &'a Labelled,
    /// What measures it, where that has labels.
    pub splits: &'a Splits,
    /// Precision of features.
    pub precision: Precision,
    /// Which samples are held out together follows from it.
    pub seed: Seed,
    /// Who is told what happens.
    pub events: &'a Events,
}

impl FewLabelsRun<'_> {
    /// Computes the features of what is labelled and of what measures, and learns.
    pub async fn learn(self) -> Result<(Tensors, FewLabelsSummary), ReadoutError> {
        let began = Stopwatch::start();
        self.check_room()?;
        let Labelled { parts, labels, classes } = self.labelled;
        let mut features = Vec::new();
        for part in parts {
            features.push(self.features(part).await?.into_single());
        }
        let measure = &self.splits.measure;
        let measured = if measure.labels().is_empty() {
            None
        } else {
            Some((self.features(measure).await?, measure.clone()))
        };
        let (labels, classes, seed) = (labels.clone(), classes.clone(), self.seed);
        let held_out = self.splits.held_out;
        let computed = tokio::task::spawn_blocking(move || {
            let features = joined(features);
            let learned = learned(&features, &labels, classes.len(), seed)?;
            let accuracy = |(features, examples): &(Features, Arc<Examples>)| {
                let readout = Readout::from_parameters(&learned.parameters);
                readout.correct(features, examples.labels()) as f64 / examples.len() as f64
            };
            let accuracy = measured.as_ref().map(accuracy);
            Ok::<_, ReadoutError>((
                summary(&learned, &labels, classes, accuracy, held_out),
                learned.parameters,
            ))
        });
        let (summary, parameters) = computed.await.expect("the readout does not panic")?;
        Ok((parameters, FewLabelsSummary { seconds: began.seconds(), ..summary }))
    }

    /// That what it takes fits the memory of this process.
    fn check_room(&self) -> Result<(), NoRoom> {
        let (labels, features) = (self.labelled.labels.len(), self.taps.features);
        let measure = &self.splits.measure;
        let measured = if measure.labels().is_empty() { 0 } else { measure.len() };
        let (single, bytes) = (size_of::<f32>(), self.precision.bytes());
        // Those of several parts are there twice while they are put together.
        let copies = if self.labelled.parts.len() > 1 { 2 } else { 1 };
        let numbers = (labels * copies * single + measured * bytes) as u64;
        let search = search_bytes(labels, features);
        let needed = numbers.saturating_mul(features as u64).saturating_add(search);
        let measures = match measured {
            0 => String::new(),
            _ => format!(", of {measured} that measure x {features} x {bytes} B"),
        };
        let search = ByteSize(search);
        let what = format!(
            "features of {labels} labelled samples x {features} x {single} B{measures}, and the search for a readout \
             ({search}),"
        );
        check_room(what, needed, "take fewer labels, or fewer layers (--layers)")
    }

    async fn features(&self, examples: &Arc<Examples>) -> Result<Features, FeaturesError> {
        let Self { workers, run, taps, precision, events, .. } = *self;
        layer_features(workers, &feature_stream(run, taps, examples, false, precision, events)).await
    }
}

/// Matrices in double precision of as many samples as have labels that a search has at once: in their span, what leads there, and what
/// each of five parts is learned from and measured on.
const MATRICES: u64 = 8;

/// Bytes that a search takes besides the features, at most.
fn search_bytes(labels: usize, features: usize) -> u64 {
    let dimensions = labels.min(features) as u64;
    (MATRICES * size_of::<f64>() as u64).saturating_mul(labels as u64).saturating_mul(dimensions)
}

/// All parts, one after the other.
fn joined(mut parts: Vec<Array2<f32>>) -> Array2<f32> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(0), &views).expect("as many features of every sample")
}

/// The bias of a class without a label, which is never predicted.
const NEVER: f32 = -1e6;

/// Learns to tell the classes apart that have labels.
fn learned(features: &Array2<f32>, labels: &[u32], classes: usize, seed: Seed) -> Result<FewLabels, NoSpan> {
    let present = present(labels);
    let compact: Vec<u32> =
        labels.iter().map(|label| present.binary_search(label).expect("it is there") as u32).collect();
    let learned = logistic::learn(features.view(), &compact, present.len(), seed)?;
    let (mut weight, mut bias) =
        (Array2::zeros((classes, features.ncols())), Array1::from_elem(classes, NEVER));
    for (row, &class) in present.iter().enumerate() {
        weight.row_mut(class as usize).assign(&learned.parameters.weight().row(row));
        bias[class as usize] = learned.parameters.bias()[row];
    }
    Ok(FewLabels { parameters: Tensors::linear(weight, bias), ..learned })
}

fn summary(
    learned: &FewLabels,
    labels: &[u32],
    classes: Vec<String>,
    accuracy: Option<f64>,
    held_out: bool,
) -> FewLabelsSummary {
    let of_class = |class: u32| labels.iter().filter(|label| **label == class).count();
    let present = present(labels);
    let validated = learned.cross_validation;
    FewLabelsSummary {
        labels: labels.len(),
        classes,
        classes_with_labels: present.len(),
        classes_with_one_label: present.iter().filter(|class| of_class(**class) == 1).count(),
        features: learned.parameters.weight().ncols(),
        strength: learned.strength,
        folds: validated.map(|validated| validated.folds),
        cross_validated_accuracy: validated.map(|validated| validated.accuracy),
        train_accuracy: learned.train_accuracy,
        test_accuracy: accuracy.filter(|_| !held_out),
        held_out_accuracy: accuracy.filter(|_| held_out),
        seconds: 0.0,
    }
}
