//! Where a data set's files are.

use std::path::{Path, PathBuf};

use super::catalog::{FileEntry, Official, official};
use super::name::DataSetName;

/// A file of a data set that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{} is missing, raw and as .gz: `coordinator data fetch {name}` downloads it{}",
        file.display(), or_install(*package))]
pub struct MissingFile {
    /// The raw file where it was looked for first.
    pub file: PathBuf,
    /// The data set.
    pub name: DataSetName,
    /// The package that has it too.
    pub package: Option<&'static str>,
}

/// The files of a data set in one folder.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

impl Files {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files, in the catalog's order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// The files, in the catalog's order, of a data set that has `N` of them.
    pub fn all<const N: usize>(&self) -> [&Path; N] {
        let paths: Vec<&Path> = self.paths().collect();
        paths.try_into().expect("as many files as the catalog names")
    }
}

/// The folder of `official` in the user's data folder.
pub fn own(official: &Official, data_dir: &Path) -> PathBuf {
    data_dir.join(official.folder)
}

/// The files of `name` in the first folder that has all of them: the user's, then the system package's.
pub fn find(name: DataSetName, data_dir: &Path) -> Result<Files, MissingFile> {
    let official = official(name).expect("only data sets of files are looked for in folders");
    let folder = own(official, data_dir);
    let missing = match all_in(&folder, official) {
        Ok(files) => return Ok(files),
        Err(missing) => missing,
    };
    if let Some(files) = installed(official) {
        return Ok(files);
    }
    let package = official.installed.map(|installed| installed.package);
    Err(MissingFile { file: folder.join(missing.name), name, package })
}

/// The files that the system package installed, if all of them are there.
pub fn installed(official: &Official) -> Option<Files> {
    all_in(Path::new(official.installed?.folder), official).ok()
}

/// The path of `entry` in `folder`, raw or else gzipped.
pub fn file_in(folder: &Path, entry: &FileEntry) -> Option<PathBuf> {
    [entry.name.to_owned(), gz_name(entry)]
        .into_iter()
        .map(|file| folder.join(file))
        .find(|path| path.is_file())
}

/// The name of the gzipped file of `entry`.
pub fn gz_name(entry: &FileEntry) -> String {
    format!("{}.gz", entry.name)
}

/// The files in `folder`, or the first one it lacks.
fn all_in(folder: &Path, official: &Official) -> Result<Files, &'static FileEntry> {
    let paths = official.files().into_iter().map(|entry| file_in(folder, entry).ok_or(entry));
    Ok(Files { folder: folder.to_owned(), paths: paths.collect::<Result<_, _>>()? })
}

/// The other way to get a missing file.
fn or_install(package: Option<&str>) -> String {
    package.map(|package| format!(", or install the Debian package {package}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::synthetic;

    #[test]
    fn a_missing_file_is_named_with_the_command_that_gets_it() {
        let dir = synthetic::Set::default().write([false; 4]);
        let file = dir.path().join("mnist").join("t10k-labels-idx1-ubyte");
        fs::remove_file(&file).unwrap();
        let error = find(DataSetName::Mnist, dir.path()).unwrap_err().to_string();
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert!(error.contains("`coordinator data fetch mnist`"), "{error}");
        assert!(!error.contains("Debian"), "{error}");
    }

    #[test]
    fn a_set_with_a_package_names_it() {
        let error = MissingFile {
            file: "data/fashion-mnist/train-images-idx3-ubyte".into(),
            name: DataSetName::FashionMnist,
            package: Some("dataset-fashion-mnist"),
        };
        let error = error.to_string();
        assert!(error.contains("`coordinator data fetch fashion-mnist`"), "{error}");
        assert!(error.contains("the Debian package dataset-fashion-mnist"), "{error}");
    }

    #[test]
    fn the_users_folder_goes_before_the_systems() {
        let dir = synthetic::Set::default().write([false; 4]);
        fs::rename(dir.path().join("mnist"), dir.path().join("fashion-mnist")).unwrap();
        let files = find(DataSetName::FashionMnist, dir.path()).unwrap();
        assert_eq!(files.folder(), dir.path().join("fashion-mnist"));
    }
}
