//! Are the files on disk the official ones?

use std::fmt;
use std::path::{Path, PathBuf};

use super::catalog::official;
use super::check::{FileError, check_content};
use super::folder::{self, MissingFile};
use super::name::DataSetName;

/// A data set that is not, or not wholly, the official one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file is not there.
    #[error(transparent)]
    Missing(#[from] MissingFile),
    /// Files are wrong: they are listed, one a line.
    #[error("{}", wrong(.0))]
    Files(Vec<FileError>),
}

/// A data set that is the official one.
#[derive(Debug)]
pub enum Verified {
    /// It is part of this program.
    Embedded(DataSetName),
    /// These files were read and are right.
    Files(Vec<VerifiedFile>),
}

/// A file that was found right.
#[derive(Debug)]
pub struct VerifiedFile {
    /// The file.
    pub path: PathBuf,
    /// Whether its sum was compared, and not only its size.
    pub summed: bool,
}

/// Reads all files of `name` and compares them with the official ones.
pub fn verify(name: DataSetName, data_dir: &Path) -> Result<Verified, VerifyError> {
    let Some(official) = official(name) else { return Ok(Verified::Embedded(name)) };
    let files = folder::find(name, data_dir)?;
    let (mut verified, mut errors) = (Vec::new(), Vec::new());
    for (entry, path) in official.files().into_iter().zip(files.paths()) {
        match check_content(path, entry) {
            Ok(()) => verified.push(VerifiedFile { path: path.to_owned(), summed: entry.sha256.is_some() }),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(Verified::Files(verified)) } else { Err(VerifyError::Files(errors)) }
}

impl fmt::Display for VerifiedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.summed { "ok" } else { "of the right size (no sum of it is published)" };
        write!(f, "{}: {how}", self.path.display())
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(name) => write!(f, "{name} is part of this program; there are no files to verify"),
            Self::Files(files) if files.len() > LISTED => {
                let folder = files[0].path.parent().unwrap_or(Path::new("")).display();
                write!(f, "{folder}: {} files: ok", files.len())
            }
            Self::Files(files) => f.write_str(&lines(files)),
        }
    }
}

/// More files than so many are counted, not listed.
const LISTED: usize = 20;

fn wrong(files: &[FileError]) -> String {
    match files.get(LISTED..) {
        Some(more) if !more.is_empty() => {
            format!("{}\nand {} more files", lines(&files[..LISTED]), more.len())
        }
        _ => lines(files),
    }
}

fn lines(files: &[impl fmt::Display]) -> String {
    files.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Set;

    #[test]
    fn every_wrong_file_is_named() {
        let dir = Set::default().write([false; 4]);
        let error = verify(DataSetName::Mnist, dir.path()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 4, "{error}");
        assert!(
            error.contains("train-images-idx3-ubyte holds 2368 unpacked bytes, expected 47040016"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_set_and_an_embedded_one_are_answered() {
        let dir = tempfile::tempdir().unwrap();
        let error = verify(DataSetName::Mnist, dir.path()).unwrap_err().to_string();
        assert!(error.contains("coordinator data fetch mnist"), "{error}");
        let iris = verify(DataSetName::Iris, dir.path()).unwrap().to_string();
        assert!(iris.contains("part of this program"), "{iris}");
    }

    #[test]
    fn a_file_without_a_published_sum_is_said_to_have_the_right_size() {
        let found = VerifiedFile { path: "file".into(), summed: false }.to_string();
        assert_eq!(found, "file: of the right size (no sum of it is published)");
    }
}
