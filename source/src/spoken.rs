//! Data sets of recordings: split, and turned into sequences.

use std::path::PathBuf;

use super::audio::{Normalize, sequences};
use super::data_set::DataSet;
use super::error::DataError;
use super::examples::Examples;
use super::input::{InputKind, InputSpec, RecordingInput};
use super::partition::{Parts, partition};
use super::record::{Record, Unsummed};
use super::selection::{Recordings, Split};
use super::utterance::Utterance;

/// The data set of these recordings, which stand in the order of their names.
pub fn data_set(
    utterances: &[Utterance],
    classes: Vec<String>,
    recordings: &Recordings,
) -> Result<DataSet, DataError> {
    let Recordings { split, mfcc } = recordings;
    let Parts { train, validation, test } = partition(utterances, split)?;
    let others = utterances.iter().map(|utterance| Unsummed::of(&utterance.path)).collect();
    let paths: Vec<PathBuf> = utterances.iter().map(|utterance| utterance.path.clone()).collect();
    let sequences = sequences(&paths, *mfcc)?;
    let channels = mfcc.features();
    let longest = sequences.iter().map(|sequence| sequence.len() / channels).max().unwrap_or(0);
    let labels = utterances.iter().map(|utterance| utterance.label).collect();
    let all = Examples::from_sequences(longest, channels, sequences, labels);
    Ok(DataSet {
        input: InputSpec {
            kind: InputKind::Recordings(RecordingInput { frames: longest, mfcc: *mfcc, moments: None }),
            classes,
        },
        standardize: mfcc.normalize == Normalize::Coefficients,
        train: all.subset(&train),
        test: all.subset(&test),
        validation: matches!(split, Split::Random(_)).then(|| all.subset(&validation)),
        unlabeled: None,
        record: Record { others, ..Record::default() },
    })
}
