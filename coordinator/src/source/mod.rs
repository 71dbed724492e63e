//! Data sets: where they come from, what is in them, and the views that training takes of them.
//!
//! A data set's files lie in `DIR/<name>/` (or where a system package puts them), [`fetch`]ed from their
//! official sources and [`verify`]ed by their content. [`load`] reads them whole into memory as
//! [`Examples`]; an [`Augmentation`] makes variants of an image on its way into a batch.
//!
//! Invariant: nothing is allocated on a file's word. Headers are checked against fixed limits first, and
//! memory grows only with the bytes that really arrive.

mod name;

mod catalog;
mod checksum;
mod download;
mod fetch;
mod progress;
mod verify;

mod error;
mod examples;
mod folder;
mod idx;
mod iris;
mod unpack;

mod augmentation;

#[cfg(test)]
mod synthetic;

use std::path::Path;

pub use augmentation::{Augmentation, MAX_TRANSLATION};
pub use catalog::{FileEntry, Installed, Official, list, official};
pub use checksum::Sha256Sum;
pub use download::{DownloadError, FileOutcome, download};
pub use error::DataError;
pub use examples::{Examples, Shape};
pub use fetch::{Attempt, FetchError, FetchOptions, Fetched, fetch, fetch_files};
pub use name::{DataSetName, UnknownDataSet};
pub use verify::{FileError, Verified, VerifyError, verify};

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Which one.
    pub name: DataSetName,
    /// How many classes its labels count; a label is in `0..classes`.
    pub classes: usize,
    /// What layers and readout learn from.
    pub train: Examples,
    /// What accuracy is measured on.
    pub test: Examples,
}

/// The whole data set `name`, from `data_dir/<name>/` or a system folder; iris is part of the program.
pub fn load(name: DataSetName, data_dir: &Path) -> Result<DataSet, DataError> {
    let Some(official) = official(name) else { return Ok(iris::iris()) };
    let files = folder::find(name, data_dir)?;
    let [train_images, train_labels, test_images, test_labels] = files.as_paths();
    Ok(DataSet {
        name,
        classes: official.classes,
        train: idx::examples(train_images, train_labels, official.shape, official.classes)?,
        test: idx::examples(test_images, test_labels, official.shape, official.classes)?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The folder of real data sets that `STRATA_DATA` names, if it holds MNIST.
    fn real_data(test: &str) -> Option<PathBuf> {
        let folder = std::env::var_os("STRATA_DATA").map(PathBuf::from);
        let folder = folder.filter(|folder| folder.join("mnist").is_dir());
        if folder.is_none() {
            println!("skipped: {test}: STRATA_DATA names no folder that holds mnist/");
        }
        folder
    }

    fn counts(examples: &Examples) -> Vec<usize> {
        let mut counts = vec![0; 10];
        examples.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    #[test]
    fn a_set_loads_raw_gzipped_and_mixed() {
        for gzipped in [[false; 4], [true; 4], [true, false, false, true]] {
            let set = synthetic::Set::default();
            let dir = set.write(gzipped);
            let loaded = load(DataSetName::Mnist, dir.path()).unwrap();
            assert_eq!((loaded.classes, loaded.train.len(), loaded.test.len()), (10, 3, 2));
            assert_eq!(loaded.train.labels(), [9, 0, 3]);
            let mut image = vec![0.0; loaded.train.shape().len()];
            loaded.train.write(2, &mut image);
            let expected: Vec<f32> = (0..784).map(|i| f32::from(synthetic::pixel(2, i)) / 255.0).collect();
            assert_eq!(image, expected);
        }
    }

    #[test]
    fn real_mnist_has_its_published_counts() {
        let Some(dir) = real_data("real_mnist_has_its_published_counts") else { return };
        let mnist = load(DataSetName::Mnist, &dir).unwrap();
        assert_eq!(counts(&mnist.train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(counts(&mnist.test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        assert_eq!(verify(DataSetName::Mnist, &dir).unwrap().to_string().lines().count(), 4);
    }

    #[test]
    fn installed_fashion_mnist_loads_and_verifies_without_a_data_folder() {
        let installed = official(DataSetName::FashionMnist).unwrap().installed.unwrap();
        if !Path::new(installed.folder).is_dir() {
            println!("skipped: the Debian package {} is not installed", installed.package);
            return;
        }
        let nowhere = tempfile::tempdir().unwrap();
        let fashion = load(DataSetName::FashionMnist, nowhere.path()).unwrap();
        assert_eq!(counts(&fashion.train), [6000; 10]);
        assert_eq!(counts(&fashion.test), [1000; 10]);
        verify(DataSetName::FashionMnist, nowhere.path()).unwrap();
    }
}
