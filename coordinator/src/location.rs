//! Where runs and data sets are kept: in a folder, or under a prefix of a bucket of an S3-compatible object store.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use object_store::path::Path as Key;

/// A place that is named on the command line, or something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder or a file.
    Folder(PathBuf),
    /// A prefix of a bucket, or one object.
    Bucket(BucketPrefix),
}

/// What lies under a prefix of a bucket; or one object, whose whole key the prefix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPrefix {
    /// The bucket's name.
    pub bucket: String,
    /// The keys' beginning, not empty, without a slash at either end.
    pub prefix: Key,
}

/// What is neither a folder nor a prefix of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: found {found}, expected {expected}")]
pub struct LocationError {
    place: String,
    found: String,
    expected: &'static str,
}

const SCHEME: &str = "s3://";
const EXPECTED: &str = "s3://BUCKET/PREFIX or a folder";
const BUCKET_NAME: &str = "3 to 63 small letters, digits, dots and hyphens, as in s3://BUCKET/PREFIX";
const FOLDER: &str = "a folder";

impl Location {
    /// What is called `name` in it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket(prefix) => Self::Bucket(prefix.join(name)),
        }
    }

    /// Parses an argument of the command line.
    pub fn parser() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(Self::try_from)
    }

    /// Parses an argument that must be a folder.
    pub fn folder_parser() -> impl TypedValueParser<Value = PathBuf> {
        OsStringValueParser::new().try_map(|argument| match Self::try_from(argument)? {
            Self::Folder(folder) => Ok(folder),
            Self::Bucket(prefix) => Err(LocationError {
                place: prefix.to_string(),
                found: "a prefix of a bucket".to_owned(),
                expected: FOLDER,
            }),
        })
    }
}

impl BucketPrefix {
    /// The object called `name` under it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self { bucket: self.bucket.clone(), prefix: self.key(name) }
    }

    /// The key of the object called `name` under it.
    pub fn key(&self, name: &str) -> Key {
        name.split('/').fold(self.prefix.clone(), Key::join)
    }

    fn parse(text: &str) -> Result<Self, LocationError> {
        let wrong =
            |found: String, expected| LocationError { place: format!("{SCHEME}{text}"), found, expected };
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(known) {
            return Err(wrong(format!("the bucket {bucket:?}"), BUCKET_NAME));
        }
        let prefix = Key::parse(prefix).map_err(|error| wrong(error.to_string(), EXPECTED))?;
        if prefix.is_root() {
            return Err(wrong("no prefix".to_owned(), EXPECTED));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl TryFrom<OsString> for Location {
    type Error = LocationError;

    fn try_from(argument: OsString) -> Result<Self, LocationError> {
        let Some((scheme, _)) = argument.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Self::Folder(argument.into()));
        };
        let text = argument.to_string_lossy();
        match text.strip_prefix(SCHEME) {
            Some(rest) => BucketPrefix::parse(rest).map(Self::Bucket),
            None => Err(LocationError {
                found: format!("{scheme}://"),
                place: text.into_owned(),
                expected: EXPECTED,
            }),
        }
    }
}

impl From<PathBuf> for Location {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&Path> for Location {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl Display for Location {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket(prefix) => prefix.fmt(f),
        }
    }
}

impl Display for BucketPrefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::try_from(OsString::from(text))
    }

    #[test]
    fn a_folder_is_any_path_and_a_bucket_has_a_prefix() {
        for folder in ["runs/iris-seed1", "/runs", "s3", "a:b", "s3:/bucket/run"] {
            assert_eq!(parse(folder).unwrap(), Location::Folder(folder.into()));
        }
        let place = parse("s3://my-bucket/runs/mnist 1/").unwrap();
        assert_eq!(place.to_string(), "s3://my-bucket/runs/mnist 1");
        let file = place.join("layers/00.safetensors");
        assert_eq!(file.to_string(), "s3://my-bucket/runs/mnist 1/layers/00.safetensors");
        assert_eq!(parse("runs").unwrap().join("lock").to_string(), "runs/lock");
    }

    #[test]
    fn what_is_no_place_is_refused_with_what_was_expected() {
        for (text, found) in [
            ("s3://bucket", "found no prefix"),
            ("s3://bucket/", "found no prefix"),
            ("s3://bucket/a//run", "Path \"a//run\" contained empty path segment"),
            ("s3://bucket/a/../run", "\"..\""),
            ("s3:///run", "found the bucket \"\""),
            ("s3://Bucket/run", "found the bucket \"Bucket\""),
            ("s3://user:secret@host/run", "found the bucket"),
            ("gs://bucket/run", "found gs://"),
            ("https://bucket.s3.amazonaws.com/run", "found https://"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(text) && error.contains(found), "{error}");
            assert!(error.contains("s3://BUCKET/PREFIX"), "{error}");
        }
    }
}
