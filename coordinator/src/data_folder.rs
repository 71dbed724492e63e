//! The folder of data sets that a run reads: the one that is named, or copies of what an object store has.
//!
//! Under the prefix a data set's files lie as `coordinator data fetch` leaves them in a folder, raw or gzipped. A copy is kept
//! with the version that it is of, and fetched again once the store has another one. What loads data sets checks copies as it
//! checks all files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use proto::self_test::cache_folder;
use proto::state::sha256;
use source::{DataSetName, DataSource, FileEntry, official};

use crate::location::{BucketPrefix, Location};
use crate::objects::{Objects, ObjectsError, Patience, Reading};

/// A data set that cannot be copied from an object store.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// The store does not do what it should.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A file is not there.
    #[error(
        "{place}: found no such object, raw or as .gz, expected what `coordinator data fetch {name}` leaves in a folder"
    )]
    Missing {
        /// The object that was looked for.
        place: BucketPrefix,
        /// The data set.
        name: DataSetName,
    },
    /// A file was replaced again and again while it was copied.
    #[error("{place}: found another content each time that it was read, expected one that stays")]
    Changing {
        /// The object.
        place: BucketPrefix,
    },
    /// The disk refuses.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How often a file is begun anew that changes while it is copied.
const TRIES: usize = 3;

/// A folder with the files of a data set, if it has any that are not part of this program and are looked for by its name.
pub fn local(source: &DataSource, data: &Location) -> Result<PathBuf, DataFolderError> {
    let prefix = match data {
        Location::Folder(folder) => return Ok(folder.clone()),
        Location::Bucket(prefix) => prefix,
    };
    let folder = cache(prefix);
    if let DataSource::Known(name) = *source
        && let Some(official) = official(name)
    {
        let objects = Objects::connect(prefix, Patience::default())?;
        let own = folder.join(official.folder);
        fs::create_dir_all(&own).map_err(|source| DataFolderError::Disk { path: own.clone(), source })?;
        for entry in official.files() {
            objects.wait(copy(&objects, name, official.folder, entry, &own))?;
        }
    }
    Ok(folder)
}

/// Where copies of what lies under a prefix are kept.
fn cache(prefix: &BucketPrefix) -> PathBuf {
    let caches = cache_folder().unwrap_or_else(|| std::env::temp_dir().join("strata"));
    caches.join("data").join(&sha256(prefix.to_string().as_bytes())[..16])
}

/// Sees to it that `own` has a file as the store has it now.
async fn copy(
    objects: &Objects,
    name: DataSetName,
    folder: &str,
    entry: &FileEntry,
    own: &Path,
) -> Result<(), DataFolderError> {
    let names = [entry.name.to_owned(), format!("{}.gz", entry.name)];
    for _ in 0..TRIES {
        let mut copied = None;
        for file in &names {
            if let Some(reading) = objects.read(&format!("{folder}/{file}")).await? {
                copied = Some((file, take(objects, reading, &own.join(file)).await?));
                break;
            }
        }
        match copied {
            Some((_, false)) => {}
            Some((file, true)) => {
                // Of an earlier time.
                names.iter().filter(|other| *other != file).for_each(|other| forget(&own.join(other)));
                return Ok(());
            }
            None => {
                let place = objects.at(&format!("{folder}/{}", entry.name));
                return Err(DataFolderError::Missing { place, name });
            }
        }
    }
    Err(DataFolderError::Changing { place: objects.at(&format!("{folder}/{}", entry.name)) })
}

/// Copies what is read to `path`, unless that is a copy of it; returns whether all of it came before it was replaced.
async fn take(objects: &Objects, mut reading: Reading<'_>, path: &Path) -> Result<bool, DataFolderError> {
    let version = reading.version().0.clone();
    let known = fs::read_to_string(version_file(path)).is_ok_and(|known| known == version);
    if known && path.metadata().is_ok_and(|there| there.len() == reading.size()) {
        return Ok(true);
    }
    let name = path.file_name().unwrap_or_default().display();
    tracing::info!("{objects}: fetching {name}, {} bytes, to {}", reading.size(), path.display());
    let failed = |source| DataFolderError::Disk { path: path.to_owned(), source };
    // Others may copy it at the same time, each to a file of its own.
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let mut file = File::create(&beside).map_err(failed)?;
    let whole = loop {
        match reading.part().await {
            Ok(Some(part)) if part.is_empty() => break Ok(true),
            Ok(Some(part)) => {
                if let Err(source) = file.write_all(&part) {
                    break Err(failed(source));
                }
            }
            Ok(None) => break Ok(false),
            Err(error) => break Err(error.into()),
        }
    };
    if !matches!(whole, Ok(true)) {
        forget(&beside);
        return whole;
    }
    forget(path);
    fs::rename(&beside, path).and_then(|()| fs::write(version_file(path), version)).map_err(failed)?;
    whole
}

/// The file beside a copy that says of which version it is.
fn version_file(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.version", path.file_name().unwrap_or_default().display()))
}

/// Removes a copy and what is said of it, if they are there. The version goes first.
fn forget(path: &Path) {
    for file in [version_file(path), path.to_owned()] {
        let _ = fs::remove_file(file);
    }
}
