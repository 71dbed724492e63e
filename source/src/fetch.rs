//! Getting a data set: from where it is already, or from its official sources in turn.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{self, ArchiveError};
use super::catalog::{Archive, FileEntry, GzippedFile, Supply, official};
use super::check::{FileError, check_as_is, check_content};
use super::download::{DownloadError, Parcel, download};
use super::folder;
use super::name::DataSetName;

/// How to fetch.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// Instead of the official sources: a folder's address ending in `/`.
    pub base_url: Option<String>,
    /// Whether to show on stderr how far it is.
    pub progress: bool,
}

/// Where a data set is after it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Part of this program.
    Embedded(DataSetName),
    /// Installed by a system package.
    Installed {
        /// The data set.
        name: DataSetName,
        /// Where the package put it.
        folder: PathBuf,
    },
    /// In the user's data folder.
    InDataDir {
        /// The data set's folder.
        folder: PathBuf,
        /// How many of its files were downloaded now.
        downloaded: usize,
        /// How many were there, and right, before.
        present: usize,
    },
}

/// A data set that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file is there, under its final name, but is not the official one. It is left alone.
    #[error("{0}; it is not the official file: remove it and fetch again")]
    NotOfficial(FileError),
    /// The file system refused.
    #[error("{} cannot be written: {cause}", path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An archive does not hold what it should.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No source gave a file.
    #[error("{file} could not be downloaded:{}", lines(failed))]
    Sources {
        /// The file.
        file: String,
        /// What each source did instead.
        failed: Vec<FailedSource>,
    },
}

/// A source that did not give a file.
#[derive(Debug)]
pub struct FailedSource {
    /// The source's address.
    pub base_url: String,
    /// What went wrong.
    pub error: DownloadError,
}

/// Makes sure that `name` is there: its folder in `data_dir` gets what it lacks, unless a package has the set.
pub fn fetch(name: DataSetName, data_dir: &Path, options: &FetchOptions) -> Result<Fetched, FetchError> {
    let Some(official) = official(name) else { return Ok(Fetched::Embedded(name)) };
    let own = folder::own(official, data_dir);
    let complete_here = folder::find(name, data_dir).is_ok_and(|files| files.folder() == own);
    if !complete_here && let Some(files) = folder::installed(official) {
        return Ok(Fetched::Installed { name, folder: files.folder().to_owned() });
    }
    let mirrors = match &options.base_url {
        Some(url) => vec![url.as_str()],
        None => official.mirrors.to_vec(),
    };
    match &official.supply {
        Supply::Gzipped(files) => fetch_files(files, &mirrors, &own, options.progress),
        Supply::Archive(archive) => fetch_archive(archive, &mirrors, &own, options.progress),
    }
}

/// Makes sure that `folder` has these files, downloading what it lacks from the first mirror that gives it.
pub fn fetch_files(
    files: &[GzippedFile],
    mirrors: &[&str],
    folder: &Path,
    progress: bool,
) -> Result<Fetched, FetchError> {
    create(folder)?;
    let (mut downloaded, mut present) = (0, 0);
    for gzipped in files {
        if is_present(&gzipped.file, folder)? {
            present += 1;
        } else {
            obtain(&Parcel::gzipped(gzipped), mirrors, folder, progress)?;
            downloaded += 1;
        }
    }
    Ok(Fetched::InDataDir { folder: folder.to_owned(), downloaded, present })
}

/// Makes sure that `folder` has the files of `archive`. If it lacks any, the archive is downloaded to the folder from
/// the first mirror that gives it, what is lacking is unpacked, and the archive is removed.
pub fn fetch_archive(
    archive: &Archive,
    mirrors: &[&str],
    folder: &Path,
    progress: bool,
) -> Result<Fetched, FetchError> {
    create(folder)?;
    let mut lacking = Vec::new();
    for entry in archive.files {
        if !is_present(entry, folder)? {
            lacking.push(entry);
        }
    }
    if !lacking.is_empty() {
        let packed = folder.join(archive.packed.name);
        if packed.is_file() {
            check_as_is(&packed, archive.packed.bytes, archive.packed.sha256)
                .map_err(FetchError::NotOfficial)?;
        } else {
            obtain(&Parcel::plain(&archive.packed), mirrors, folder, progress)?;
        }
        archive::unpack(&packed, archive, &lacking, folder, progress)?;
        fs::remove_file(&packed).map_err(|cause| FetchError::Storage { path: packed, cause })?;
    }
    let downloaded = lacking.len();
    Ok(Fetched::InDataDir {
        folder: folder.to_owned(),
        downloaded,
        present: archive.files.len() - downloaded,
    })
}

fn create(folder: &Path) -> Result<(), FetchError> {
    fs::create_dir_all(folder).map_err(|cause| FetchError::Storage { path: folder.to_owned(), cause })
}

/// Whether `folder` has the file; it is an error if it has another one of that name.
fn is_present(entry: &FileEntry, folder: &Path) -> Result<bool, FetchError> {
    let Some(path) = folder::file_in(folder, entry) else { return Ok(false) };
    check_content(&path, entry).map_err(FetchError::NotOfficial)?;
    Ok(true)
}

/// Downloads `parcel` to `folder` from the first mirror that gives it.
fn obtain(parcel: &Parcel<'_>, mirrors: &[&str], folder: &Path, progress: bool) -> Result<(), FetchError> {
    let mut failed = Vec::new();
    for &base_url in mirrors {
        match download(parcel, base_url, folder, progress) {
            Ok(()) => return Ok(()),
            Err(DownloadError::Storage { path, cause }) => return Err(FetchError::Storage { path, cause }),
            Err(error) => {
                if progress {
                    eprintln!("{}: {error}", parcel.name);
                }
                failed.push(FailedSource { base_url: base_url.to_owned(), error });
            }
        }
    }
    Err(FetchError::Sources { file: parcel.name.clone(), failed })
}

fn lines(failed: &[FailedSource]) -> String {
    let line = |source: &FailedSource| format!("\n  from {}: {}", source.base_url, source.error);
    failed.iter().map(line).collect::<Vec<_>>().concat()
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(name) => write!(f, "{name} is part of this program; nothing to download"),
            Self::Installed { name, folder } => {
                write!(f, "{name} is installed in {}; nothing to download", folder.display())
            }
            Self::InDataDir { folder, downloaded, present } => {
                write!(f, "{}: {downloaded} files downloaded, {present} were there", folder.display())
            }
        }
    }
}
