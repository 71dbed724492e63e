//! The data sets by name.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A data set this program knows; written `mnist`, `fashion-mnist`, `iris`, `cifar-10`, `stl10`, `fsdd`; or a user's
/// `wav-folder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DataSetName {
    /// Handwritten digits, 60,000 + 10,000 images 28x28x1.
    Mnist,
    /// Articles of clothing, 60,000 + 10,000 images 28x28x1.
    FashionMnist,
    /// Iris flowers, 120 + 30 rows of 4 measures; part of the program.
    Iris,
    /// Photographs of ten kinds of animals and vehicles, 50,000 + 10,000 images 32x32x3.
    #[serde(rename = "cifar-10")]
    #[value(name = "cifar-10")]
    Cifar10,
    /// Photographs of ten kinds of animals and vehicles, 5,000 + 8,000 images 96x96x3, and 100,000 without labels.
    Stl10,
    /// Spoken digits, 2,700 + 300 recordings of up to 183 frames of 39 numbers.
    Fsdd,
    /// A user's folder of WAV files, one folder in it for each label.
    #[value(skip)]
    WavFolder,
}

impl DataSetName {
    /// All that this program knows the contents of.
    pub const ALL: [Self; 6] =
        [Self::Mnist, Self::FashionMnist, Self::Iris, Self::Cifar10, Self::Stl10, Self::Fsdd];

    /// The name as configs, folders and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Iris => "iris",
            Self::Cifar10 => "cifar-10",
            Self::Stl10 => "stl10",
            Self::Fsdd => "fsdd",
            Self::WavFolder => "wav-folder",
        }
    }
}

impl fmt::Display for DataSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that no data set has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no data set {0:?}; the known ones are mnist, fashion-mnist, iris, cifar-10, stl10 and fsdd"
)]
pub struct UnknownDataSet(pub String);

impl FromStr for DataSetName {
    type Err = UnknownDataSet;

    fn from_str(text: &str) -> Result<Self, UnknownDataSet> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownDataSet(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_the_same_everywhere() {
        for name in DataSetName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
            assert_eq!(name.to_possible_value().unwrap().get_name(), name.as_str());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "cifar".parse::<DataSetName>().unwrap_err().to_string();
        assert!(error.contains("\"cifar\""), "{error}");
        assert!(DataSetName::ALL.iter().all(|name| error.contains(name.as_str())), "{error}");
    }
}
