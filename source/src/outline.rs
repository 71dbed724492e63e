//! What is known of a data set before its files are read.

use std::path::Path;

use super::catalog::{Official, official};
use super::data_set::TrainingSamples;
use super::fsdd;
use super::layout::Layout;
use super::name::DataSetName;
use super::partition::{PartitionError, Parts, partition};
use super::selection::{Recordings, Selection};
use super::shape::Shape;

/// How many samples there are, and what they are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outline {
    /// What all samples have in common.
    pub layout: Layout,
    /// Samples to train on.
    pub training: TrainingSamples,
    /// Samples that measure: those of the test set, and those set aside for validation where there are any.
    pub measured: usize,
}

/// The outline of what is selected; `None` where only its files tell it.
pub fn outline(selection: &Selection) -> Result<Option<Outline>, PartitionError> {
    Ok(match selection {
        Selection::Plain(name) => official(*name).map(|official| Outline {
            layout: official.layout(),
            training: official.training,
            measured: official.test_samples as usize,
        }),
        Selection::Fsdd(recordings) => Some(outline_of_fsdd(recordings)?),
        Selection::Folder { .. } | Selection::Files(_) => None,
    })
}

fn outline_of_fsdd(recordings: &Recordings) -> Result<Outline, PartitionError> {
    let utterances: Vec<_> =
        fsdd::FILES.iter().filter_map(|entry| fsdd::utterance(Path::new(entry.name))).collect();
    let Parts { train, validation, test } = partition(&utterances, &recordings.split)?;
    let Official { shape, lengths, .. } = *official(DataSetName::Fsdd).expect("the catalog has it");
    Ok(Outline {
        layout: Layout { shape: Shape { channels: recordings.mfcc.features(), ..shape }, lengths },
        training: TrainingSamples::labelled(train.len() as u32),
        measured: validation.len() + test.len(),
    })
}

#[cfg(test)]
mod tests {
    use scff::seed::Seed;

    use super::*;
    use crate::audio::MfccOptions;
    use crate::selection::Split;

    #[test]
    fn fsdd_is_counted_by_its_split_without_its_files() {
        let of = |split, mfcc| outline(&Selection::Fsdd(Recordings { split, mfcc })).unwrap().unwrap();
        let counts = |outline: Outline| (outline.training.labelled, outline.measured);
        let mfcc = MfccOptions::default();
        assert_eq!(counts(of(Split::Official, mfcc)), (2_700, 300));
        assert_eq!(counts(of(Split::Random(Seed(3)), mfcc)), (2_400, 600));
        let speakers = Split::Speakers(vec!["theo".to_owned(), "lucas".to_owned()]);
        assert_eq!(counts(of(speakers, mfcc)), (2_000, 1_000));
        let wide = of(Split::Official, MfccOptions { first: true, deltas: true, ..mfcc });
        assert_eq!(wide.layout.shape.to_string(), "183x1x80");
    }
}
