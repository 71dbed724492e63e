//! Where a data set's files are.

use std::path::{Path, PathBuf};

use super::catalog::{FileEntry, Official, Supply, official};
use super::hint::fetch_command;
use super::name::DataSetName;
use super::near::nearest;
use super::spelling::{self, Folder};

/// A file of a data set that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{} is missing, raw and as .gz{}: `{}` {}{}", file.display(), there_is(nearest.as_deref()),
        fetch_command(*name, data_dir), gets_it(archive.as_deref()), or_install(*package))]
pub struct MissingFile {
    /// The raw file where it was looked for.
    pub file: PathBuf,
    /// The data set.
    pub name: DataSetName,
    /// The folder of data sets.
    pub data_dir: PathBuf,
    /// What is there instead, by a name that is near to the file's or its folder's.
    pub nearest: Option<PathBuf>,
    /// The archive that holds it, not unpacked yet.
    pub archive: Option<PathBuf>,
    /// The package that has it too.
    pub package: Option<&'static str>,
}

impl MissingFile {
    /// The folder that it is to be in: the one that has most of the data set's files.
    pub fn folder(&self) -> &Path {
        self.file.parent().expect("a file of a folder")
    }
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
    let folders = users(official, data_dir);
    // The most complete folder is the one that is meant; the data set's own if none has anything.
    let mut fullest = (0, &folders[0], official.files()[0]);
    for folder in &folders {
        match all_in(folder, official) {
            Ok(files) => return Ok(files),
            Err((present, lacking)) if present > fullest.0 => fullest = (present, folder, lacking),
            Err(_) => {}
        }
    }
    installed(official).ok_or_else(|| MissingFile {
        file: fullest.1.join(fullest.2.name),
        name,
        data_dir: data_dir.to_owned(),
        nearest: instead(official, data_dir, &folders, fullest.2),
        archive: archive(official, data_dir),
        package: official.installed.map(|installed| installed.package),
    })
}

/// The user's folders that may hold the files of `official`: its own, whether it exists or not, then others.
fn users(official: &Official, data_dir: &Path) -> Vec<PathBuf> {
    let mut folders = vec![own(official, data_dir)];
    for folder in official.places.iter().flat_map(|place| spelling::folders(data_dir, place)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// What may be meant to be the file `lacking`, which is in none of `folders`.
fn instead(
    official: &Official,
    data_dir: &Path,
    folders: &[PathBuf],
    lacking: &FileEntry,
) -> Option<PathBuf> {
    let gz = gz_name(lacking);
    let mut wanted = vec![lacking.name, &gz, official.folder];
    if let Supply::Archive(archive) = official.supply {
        wanted.push(archive.packed.name);
    }
    let others = official.files().into_iter().filter(|entry| entry.name != lacking.name);
    let others: Vec<String> = others.flat_map(|entry| [entry.name.to_owned(), gz_name(entry)]).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    nearest(&[folders, &[data_dir.to_owned()]].concat(), &wanted, &others)
}

/// The archive of `official` where a user may have put it.
pub fn archive(official: &Official, data_dir: &Path) -> Option<PathBuf> {
    let Supply::Archive(archive) = official.supply else { return None };
    let folders = [users(official, data_dir), vec![data_dir.to_owned()]].concat();
    folders.iter().find_map(|folder| Folder::new(folder).file(archive.packed.name))
}

/// The files that the system package installed, if all of them are there.
fn installed(official: &Official) -> Option<Files> {
    all_in(Path::new(official.installed?.folder), official).ok()
}

/// Whether `files` are those that the system package installed.
pub fn is_installed(official: &Official, files: &Files) -> bool {
    official.installed.is_some_and(|installed| files.folder() == Path::new(installed.folder))
}

/// The path of `entry` in `folder`, raw or else gzipped, by its own name or else by one that is spelt in another way.
pub fn file_in(folder: &Folder<'_>, entry: &FileEntry) -> Option<PathBuf> {
    let names = [entry.name.to_owned(), gz_name(entry)];
    let exact = names.iter().map(|name| folder.path().join(name)).find(|path| path.is_file());
    exact.or_else(|| names.iter().find_map(|name| folder.file(name)))
}

/// The name of the gzipped file of `entry`.
pub fn gz_name(entry: &FileEntry) -> String {
    format!("{}.gz", entry.name)
}

/// The files in `folder`, or how many of them it has and the first one that it lacks.
fn all_in(folder: &Path, official: &Official) -> Result<Files, (usize, &'static FileEntry)> {
    let spelt = Folder::new(folder);
    let (mut paths, mut lacking) = (Vec::new(), None);
    for entry in official.files() {
        match file_in(&spelt, entry) {
            Some(path) => paths.push(path),
            None => lacking = lacking.or(Some(entry)),
        }
    }
    match lacking {
        Some(entry) => Err((paths.len(), entry)),
        None => Ok(Files { folder: folder.to_owned(), paths }),
    }
}

/// What is there instead of a missing file.
fn there_is(nearest: Option<&Path>) -> String {
    nearest.map(|path| format!("; the nearest name is that of {}", path.display())).unwrap_or_default()
}

/// What fetching does.
fn gets_it(archive: Option<&Path>) -> String {
    archive.map_or("downloads it".to_owned(), |path| format!("unpacks it from {}", path.display()))
}

/// The other way to get a missing file.
fn or_install(package: Option<&str>) -> String {
    package.map(|package| format!(", or install the Debian package {package}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::synthetic;

    /// The files of MNIST by other names, in `folder` of a new data folder.
    fn mnist_as(folder: &str, rename: impl Fn(&str) -> String) -> TempDir {
        let dir = synthetic::Set::default().write([false; 4]);
        let written = dir.path().join("written");
        fs::rename(dir.path().join("mnist"), &written).unwrap();
        for entry in official(DataSetName::Mnist).unwrap().files() {
            let file = dir.path().join(folder).join(rename(entry.name));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::rename(written.join(entry.name), file).unwrap();
        }
        dir
    }

    /// Empty files in a new data folder.
    fn touched(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files.iter().map(|file| dir.path().join(file)) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        dir
    }

    fn refusal(name: DataSetName, dir: &TempDir) -> String {
        find(name, dir.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_file_is_named_with_the_command_that_gets_it() {
        let dir = synthetic::Set::default().write([false; 4]);
        let file = dir.path().join("mnist").join("t10k-labels-idx1-ubyte");
        fs::remove_file(&file).unwrap();
        let error = refusal(DataSetName::Mnist, &dir);
        let expected = format!(
            "{} is missing, raw and as .gz: `coordinator data fetch mnist --data {}` downloads it",
            file.display(),
            dir.path().display()
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn files_are_found_where_other_programs_leave_them() {
        let same = |name: &str| name.to_owned();
        let dotted = |name: &str| name.replace("-idx", ".idx");
        let in_folders = |name: &str| format!("{name}/{}", name.replace("-idx", ".idx"));
        for dir in [
            mnist_as("mnist", dotted),
            mnist_as("MNIST/raw", same),
            mnist_as("mnist/MNIST/raw", same),
            mnist_as("MNIST_data", same),
            mnist_as("mnist", in_folders),
        ] {
            find(DataSetName::Mnist, dir.path()).unwrap();
            let clothes = find(DataSetName::FashionMnist, dir.path());
            assert!(clothes.is_err() || !clothes.unwrap().folder().starts_with(dir.path()));
        }
        let dir = mnist_as("MNIST/raw", same);
        for from in ["MNIST", "MNIST/raw"] {
            find(DataSetName::Mnist, &dir.path().join(from)).unwrap();
        }
    }

    #[test]
    fn archived_sets_are_found_in_the_data_folder_itself_and_below_other_names() {
        for (name, places) in [
            (DataSetName::Cifar10, ["", "CIFAR-10", "cifar10/cifar-10-batches-bin"]),
            (DataSetName::Stl10, ["", "STL10", "stl-10/stl10_binary"]),
        ] {
            for place in places {
                let files = official(name).unwrap().files();
                let files: Vec<String> = files
                    .iter()
                    .map(|entry| Path::new(place).join(entry.name).display().to_string())
                    .collect();
                let dir = touched(&files.iter().map(String::as_str).collect::<Vec<_>>());
                assert_eq!(find(name, dir.path()).unwrap().folder(), dir.path().join(place));
            }
        }
    }

    #[test]
    fn what_is_near_to_a_missing_file_is_shown() {
        for (name, there) in [
            (DataSetName::Mnist, "mnist.npz"),
            (DataSetName::Mnist, "train-images-idx3-ubyte.gz"),
            (DataSetName::Mnist, "mnist/train-images-idx3-ubyte.zip"),
            (DataSetName::Cifar10, "cifar-10-batches-py/data_batch_1"),
            (DataSetName::Cifar10, "cifar-10-python.tar.gz"),
        ] {
            let error = refusal(name, &touched(&[there]));
            let near = there.split("/data_batch").next().unwrap();
            assert!(
                error.contains("the nearest name is that of") && error.contains(near),
                "{there}: {error}"
            );
        }
        for there in ["fashion-mnist/train-images-idx3-ubyte", "notes.txt"] {
            let error = refusal(DataSetName::Mnist, &touched(&[there]));
            assert!(!error.contains("nearest"), "{there}: {error}");
        }
    }

    #[test]
    fn an_archive_that_is_there_is_unpacked_by_fetching() {
        let dir = touched(&["cifar-10-binary.tar.gz"]);
        let error = refusal(DataSetName::Cifar10, &dir);
        let archive = dir.path().join("cifar-10-binary.tar.gz");
        assert!(error.ends_with(&format!("unpacks it from {}", archive.display())), "{error}");
    }

    #[test]
    fn a_set_with_a_package_names_it() {
        let error = MissingFile {
            file: "data/fashion-mnist/train-images-idx3-ubyte".into(),
            name: DataSetName::FashionMnist,
            data_dir: "data".into(),
            nearest: None,
            archive: None,
            package: Some("dataset-fashion-mnist"),
        };
        let error = error.to_string();
        assert!(error.contains("`coordinator data fetch fashion-mnist --data data`"), "{error}");
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
