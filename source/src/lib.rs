//! Data sets: where they come from, what is in them, and the views that training takes of them.
//!
//! A data set's files lie in a folder of their own in the data folder (or where a system package puts them),
//! [`fetch`]ed from their official sources and [`verify`]ed by their content. [`load`] reads them whole into memory
//! as [`Examples`]; an [`Augmentation`] makes variants of an image on its way into a batch.
//!
//! Invariant: nothing is allocated on a file's word. Headers are checked against fixed limits first, and
//! memory grows only with the bytes that really arrive.

mod name;
mod shape;

mod archive;
mod catalog;
mod checksum;
mod download;
mod fetch;
mod part;
mod progress;
mod verify;

mod data_file;
mod error;
mod examples;
mod folder;
mod label;
mod planes;
mod unpack;

mod cifar10;
mod idx;
mod iris;
mod stl10;

mod augmentation;
mod offset;

#[cfg(test)]
mod synthetic;

use std::path::Path;

use stl10::Part;

pub use archive::ArchiveError;
pub use augmentation::{Augmentation, Image, Moves};
pub use catalog::{Archive, FileEntry, GzippedFile, Installed, Official, Supply, list, official};
pub use checksum::Sha256Sum;
pub use download::{DownloadError, Parcel, download};
pub use error::DataError;
pub use examples::Examples;
pub use fetch::{Attempt, FetchError, FetchOptions, Fetched, fetch, fetch_archive, fetch_files};
pub use name::{DataSetName, UnknownDataSet};
pub use shape::{ChannelScale, Shape};
pub use verify::{FileError, Verified, VerifiedFile, VerifyError, verify};

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// Which one.
    pub name: DataSetName,
    /// How many classes its labels count; a label is in `0..classes`.
    pub classes: usize,
    /// What the readout learns from; layers too, where there is nothing unlabeled.
    pub train: Examples,
    /// What accuracy is measured on.
    pub test: Examples,
    /// What layers learn from, if the data set has samples without labels.
    pub unlabeled: Option<Examples>,
}

impl DataSet {
    /// How many training samples there are.
    pub fn training_samples(&self) -> TrainingSamples {
        TrainingSamples {
            labelled: self.train.len() as u32,
            unlabeled: self.unlabeled.as_ref().map_or(0, Examples::len) as u32,
        }
    }
}

/// How many training samples a data set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSamples {
    /// With labels.
    pub labelled: u32,
    /// Without. If there are any, layers train on them alone.
    pub unlabeled: u32,
}

impl TrainingSamples {
    /// So many, all of them with labels.
    pub const fn labelled(labelled: u32) -> Self {
        Self { labelled, unlabeled: 0 }
    }
}

/// The whole data set `name`, from its folder in `data_dir` or a system folder; iris is part of the program.
pub fn load(name: DataSetName, data_dir: &Path) -> Result<DataSet, DataError> {
    let Some(official) = official(name) else { return Ok(iris::iris()) };
    let files = folder::find(name, data_dir)?;
    let (train, test, unlabeled) = match name {
        DataSetName::Iris => unreachable!("iris has no files"),
        DataSetName::Mnist | DataSetName::FashionMnist => {
            let [train_images, train_labels, test_images, test_labels] = files.all();
            let train = idx::examples(train_images, train_labels, official)?;
            (train, idx::examples(test_images, test_labels, official)?, None)
        }
        DataSetName::Cifar10 => {
            let [one, two, three, four, five, test] = files.all();
            let train = cifar10::examples([one, two, three, four, five], official)?;
            (train, cifar10::examples([test], official)?, None)
        }
        DataSetName::Stl10 => {
            let [train_images, train_labels, test_images, test_labels, unlabeled] = files.all();
            let train = stl10::examples(train_images, train_labels, Part::Train, official)?;
            let test = stl10::examples(test_images, test_labels, Part::Test, official)?;
            (train, test, Some(stl10::unlabeled(unlabeled, official)?))
        }
    };
    Ok(DataSet { name, classes: official.classes, train, test, unlabeled })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The folder `path` in the folder of real data sets that `STRATA_DATA` names, if it holds `set`.
    fn real_data(test: &str, path: &str, set: &str) -> Option<PathBuf> {
        let folder = std::env::var_os("STRATA_DATA").map(|data| PathBuf::from(data).join(path));
        let folder = folder.filter(|folder| folder.join(set).is_dir());
        if folder.is_none() {
            println!(
                "skipped: {test}: STRATA_DATA names no folder that holds {}",
                Path::new(path).join(set).display()
            );
        }
        folder
    }

    fn counts(examples: &Examples) -> Vec<usize> {
        let mut counts = vec![0; 10];
        examples.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    /// Means and standard deviations of the channels over a split.
    fn moments(examples: &Examples) -> Vec<(f64, f64)> {
        let channels = examples.shape().channels;
        let (mut sums, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        let mut image = vec![0.0; examples.shape().len()];
        for index in 0..examples.len() as u32 {
            examples.write(index, &mut image);
            for pixel in image.chunks_exact(channels) {
                for (channel, &value) in pixel.iter().enumerate() {
                    sums[channel] += f64::from(value);
                    squares[channel] += f64::from(value).powi(2);
                }
            }
        }
        let pixels = (examples.len() * examples.shape().len() / channels) as f64;
        let moments = sums.iter().zip(&squares).map(|(sum, square)| (sum / pixels, square / pixels));
        moments.map(|(mean, square)| (mean, (square - mean * mean).sqrt())).collect()
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
        let Some(dir) = real_data("real_mnist_has_its_published_counts", "", "mnist") else { return };
        let mnist = load(DataSetName::Mnist, &dir).unwrap();
        assert_eq!(counts(&mnist.train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(counts(&mnist.test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        assert_eq!(verify(DataSetName::Mnist, &dir).unwrap().to_string().lines().count(), 4);
    }

    #[test]
    fn real_cifar_10_has_its_published_counts_and_is_standardised() {
        let test = "real_cifar_10_has_its_published_counts_and_is_standardised";
        let Some(dir) = real_data(test, "", "cifar-10-batches-bin") else { return };
        let cifar = load(DataSetName::Cifar10, &dir).unwrap();
        assert_eq!((counts(&cifar.train), counts(&cifar.test)), (vec![5000; 10], vec![1000; 10]));
        assert_eq!(cifar.training_samples(), official(DataSetName::Cifar10).unwrap().training);
        for (mean, deviation) in moments(&cifar.train) {
            // The deviations in use are means over images, smaller than those over all pixels.
            assert!(mean.abs() < 0.01 && (1.1..1.35).contains(&deviation), "{mean} {deviation}");
        }
        assert_eq!(verify(DataSetName::Cifar10, &dir).unwrap().to_string().matches(": ok").count(), 6);
    }

    #[test]
    fn a_small_part_of_real_stl_10_loads_as_a_small_data_set() {
        let test = "a_small_part_of_real_stl_10_loads_as_a_small_data_set";
        let Some(dir) = real_data(test, "stl10-sample", "stl10_binary") else { return };
        let stl = load(DataSetName::Stl10, &dir).unwrap();
        assert_eq!(stl.training_samples(), TrainingSamples { labelled: 44, unlabeled: 246 });
        assert_eq!(counts(&stl.train), [4, 3, 3, 1, 1, 1, 1, 7, 11, 12]);
        assert_eq!(counts(&stl.test), [1; 10]);
        let error = verify(DataSetName::Stl10, &dir).unwrap_err().to_string();
        assert!(
            error.contains("unlabeled_X.bin holds 6801408 unpacked bytes, expected 2764800000"),
            "{error}"
        );
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
