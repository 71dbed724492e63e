//! The data sets by name.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A data set this program knows; written `mnist`, `fashion-mnist`, `iris`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DataSetName {
    /// Handwritten digits, 60,000 + 10,000 images 1x28x28.
    Mnist,
    /// Articles of clothing, 60,000 + 10,000 images 1x28x28.
    FashionMnist,
    /// Iris flowers, 120 + 30 rows of 4 measures; part of the program.
    Iris,
}

impl DataSetName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mnist, Self::FashionMnist, Self::Iris];

    /// The name as configs, folders and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Iris => "iris",
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
#[error("there is no data set {0:?}; the known ones are mnist, fashion-mnist and iris")]
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
