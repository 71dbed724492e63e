//! A data set in memory.

use super::examples::Examples;
use super::input::InputSpec;
use super::layout::Layout;
use super::record::Record;

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// What its samples are, and what its classes are called; a label is below their number.
    pub input: InputSpec,
    /// Whether the channels are still to be standardised over what is learned from.
    pub standardize: bool,
    /// What the readout learns from; layers too, where there is nothing unlabeled.
    pub train: Examples,
    /// What accuracy is measured on.
    pub test: Examples,
    /// What the data set's split sets aside for validation, if it does.
    pub validation: Option<Examples>,
    /// What layers learn from, if the data set has samples without labels. Where it has no others, `train` is empty and `test`
    /// has no labels either.
    pub unlabeled: Option<Examples>,
    /// Which files it was read from.
    pub record: Record,
}

impl DataSet {
    /// The same, whose samples keep their numbers as names where they have no others, whatever is made of them. Where some that are
    /// learned from have labels and others have none, numbers stand behind their part, such as `train:17` and `unlabeled:17`.
    #[must_use]
    pub fn numbered(self) -> Self {
        let several = self.unlabeled.is_some() && !self.train.is_empty();
        let of_part =
            |part: &'static str| move |examples: Examples| examples.numbered(if several { part } else { "" });
        Self {
            train: of_part("train:")(self.train),
            test: of_part("test:")(self.test),
            validation: self.validation.map(of_part("validation:")),
            unlabeled: self.unlabeled.map(of_part("unlabeled:")),
            ..self
        }
    }

    /// How many training samples there are.
    pub fn training_samples(&self) -> TrainingSamples {
        TrainingSamples {
            labelled: self.train.len() as u32,
            unlabeled: self.unlabeled.as_ref().map_or(0, Examples::len) as u32,
        }
    }

    /// What the samples that layers learn from have in common.
    pub fn layout(&self) -> Layout {
        self.unlabeled.as_ref().unwrap_or(&self.train).layout()
    }
}

/// How many training samples a data set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSamples {
    /// With labels.
    pub labelled: u32,
    /// Without. If there are any, layers train on them alone.
    pub unlabeled: u32,
}

impl TrainingSamples {
    /// So many, all of them with labels.
    pub const fn labelled(labelled: u32) -> Self {
        Self { labelled, unlabeled: 0 }
    }
}
