//! Where samples for a model come from.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::name::DataSetName;

/// A user's files, or a part of a known data set; written as a path, or as `mnist:test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// A folder or a file.
    Path(PathBuf),
    /// Samples of a data set that this program knows.
    Part {
        /// The data set.
        name: DataSetName,
        /// Which of its samples.
        part: Part,
    },
}

/// The parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is learned from, with labels.
    Train,
    /// What accuracy is measured on.
    Test,
    /// What has no labels.
    Unlabeled,
}

/// A part that no data set has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {name}:{found}, expected {name}:train, {name}:test or {name}:unlabeled; a file of that name is ./{name}:{found}"
)]
pub struct UnknownPart {
    name: DataSetName,
    found: String,
}

impl TryFrom<OsString> for InputSource {
    type Error = UnknownPart;

    fn try_from(argument: OsString) -> Result<Self, UnknownPart> {
        let named = argument.to_str().and_then(|text| text.split_once(':'));
        let named = named.and_then(|(name, part)| Some((DataSetName::from_str(name).ok()?, part)));
        let Some((name, part)) = named else { return Ok(Self::Path(argument.into())) };
        match Part::ALL.into_iter().find(|known| known.as_str() == part) {
            Some(part) => Ok(Self::Part { name, part }),
            None => Err(UnknownPart { name, found: part.to_owned() }),
        }
    }
}

impl fmt::Display for InputSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Part { name, part } => write!(f, "{name}:{}", part.as_str()),
        }
    }
}

impl Part {
    const ALL: [Self; 3] = [Self::Train, Self::Test, Self::Unlabeled];

    fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Unlabeled => "unlabeled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InputSource, String> {
        InputSource::try_from(OsString::from(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_known_name_with_a_part_is_that_part_and_everything_else_a_path() {
        for (name, part) in [(DataSetName::Cifar10, Part::Train), (DataSetName::Mnist, Part::Test)] {
            let source = InputSource::Part { name, part };
            assert_eq!(parse(&source.to_string()), Ok(source));
        }
        for path in ["mnist", "photos:test", "./mnist:test", "a/b.npy"] {
            assert_eq!(parse(path), Ok(InputSource::Path(path.into())));
        }
        let error = parse("mnist:tests").unwrap_err();
        assert!(error.starts_with("found mnist:tests, expected mnist:train, mnist:test or"), "{error}");
    }
}
