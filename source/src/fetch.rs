//! Getting a data set: from where it is already, or from its official sources in turn.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{self, ArchiveError};
use super::catalog::{Archive, FileEntry, GzippedFile, Supply, official};
use super::check::{FileError, check_as_is, check_content};
use super::download::{DownloadError, Parcel, download};
use super::folder;
use super::lock::lock;
use super::name::DataSetName;
use super::spelling::Folder;

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
    let folder = match folder::find(name, data_dir) {
        Ok(files) if folder::is_installed(official, &files) => {
            return Ok(Fetched::Installed { name, folder: files.folder().to_owned() });
        }
        Ok(files) => files.folder().to_owned(),
        Err(missing) => missing.folder().to_owned(),
    };
    let mirrors = match &options.base_url {
        Some(url) => vec![url.as_str()],
        None => official.mirrors.to_vec(),
    };
    match &official.supply {
        Supply::Gzipped(files) => fetch_files(files, &mirrors, &folder, options.progress),
        Supply::Archive(archive) => {
            let given = folder::archive(official, data_dir);
            fetch_archive(archive, given.as_deref(), &mirrors, &folder, options.progress)
        }
    }
}

/// Makes sure that `folder` has these files, downloading what it lacks from the first mirror that gives it. Where others
/// fetch into the folder, it waits for them first.
pub fn fetch_files(
    files: &[GzippedFile],
    mirrors: &[&str],
    folder: &Path,
    progress: bool,
) -> Result<Fetched, FetchError> {
    let mut downloaded = 0;
    let lacking = lacking(files, |gzipped| &gzipped.file, folder)?;
    if !lacking.is_empty() {
        let _lock = locked(folder, progress)?;
        for gzipped in lacking {
            if !is_present(&gzipped.file, &Folder::new(folder))? {
                obtain(&Parcel::gzipped(gzipped), mirrors, folder, progress)?;
                downloaded += 1;
            }
        }
    }
    Ok(Fetched::InDataDir { folder: folder.to_owned(), downloaded, present: files.len() - downloaded })
}

/// Makes sure that `folder` has the files of `archive`. If it lacks any, they are unpacked from the archive `given`, if
/// that is the official one and lies elsewhere; or else the archive is downloaded to the folder from the first mirror that
/// gives it, what is lacking is unpacked, and the archive is removed. Where others fetch into the folder, it waits for
/// them first.
pub fn fetch_archive(
    archive: &Archive,
    given: Option<&Path>,
    mirrors: &[&str],
    folder: &Path,
    progress: bool,
) -> Result<Fetched, FetchError> {
    let mut downloaded = 0;
    if !lacking(archive.files, |entry| entry, folder)?.is_empty() {
        let _lock = locked(folder, progress)?;
        let lacking = lacking(archive.files, |entry| entry, folder)?;
        downloaded = lacking.len();
        if !lacking.is_empty() {
            unpack(archive, &lacking, given, mirrors, folder, progress)?;
        }
    }
    Ok(Fetched::InDataDir {
        folder: folder.to_owned(),
        downloaded,
        present: archive.files.len() - downloaded,
    })
}

/// Unpacks the files that are `lacking`.
fn unpack(
    archive: &Archive,
    lacking: &[&'static FileEntry],
    given: Option<&Path>,
    mirrors: &[&str],
    folder: &Path,
    progress: bool,
) -> Result<(), FetchError> {
    let Archive { packed, .. } = archive;
    let own = folder.join(packed.name);
    // What is packed anew now and then is known by what is in it.
    let check = |path: &Path| {
        if archive.repacked { Ok(()) } else { check_as_is(path, packed.bytes, packed.sha256) }
    };
    let elsewhere = given.filter(|given| *given != own && !own.is_file());
    if let Some(given) = elsewhere.filter(|given| check(given).is_ok()) {
        return Ok(archive::unpack(given, archive, lacking, folder, progress)?);
    }
    if own.is_file() {
        check(&own).map_err(FetchError::NotOfficial)?;
    } else {
        obtain(&Parcel::archive(archive), mirrors, folder, progress)?;
    }
    let unpacked = archive::unpack(&own, archive, lacking, folder, progress);
    let keep = match &unpacked {
        Ok(()) => false,
        Err(ArchiveError::Storage { .. }) => true,
        // Without a sum of its own it is worth nothing if what is in it is not right.
        Err(_) => !archive.repacked,
    };
    if keep {
        return Ok(unpacked?);
    }
    fs::remove_file(&own).map_err(|cause| FetchError::Storage { path: own, cause })?;
    Ok(unpacked?)
}

/// The folder, which is made where there is none, for this process alone until the file is dropped.
fn locked(folder: &Path, progress: bool) -> Result<File, FetchError> {
    fs::create_dir_all(folder)
        .and_then(|()| lock(folder, progress.then_some("fetches into this folder")))
        .map_err(|cause| FetchError::Storage { path: folder.to_owned(), cause })
}

/// What of `wanted` the folder does not have; it is an error if it has another file of such a name.
fn lacking<'a, T>(
    wanted: &'a [T],
    entry: impl Fn(&T) -> &FileEntry,
    folder: &Path,
) -> Result<Vec<&'a T>, FetchError> {
    let mut lacking = Vec::new();
    let folder = Folder::new(folder);
    for wanted in wanted {
        if !is_present(entry(wanted), &folder)? {
            lacking.push(wanted);
        }
    }
    Ok(lacking)
}

/// Whether `folder` has the file; it is an error if it has another one of that name.
fn is_present(entry: &FileEntry, folder: &Folder<'_>) -> Result<bool, FetchError> {
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
