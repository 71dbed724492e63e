//! A whole data set, read into memory.

use std::path::Path;

use super::catalog::{Official, official};
use super::data_set::DataSet;
use super::error::DataError;
use super::examples::Examples;
use super::folder::{self, Files};
use super::input::InputSpec;
use super::input_source::Part;
use super::name::DataSetName;
use super::record::Record;
use super::room::Room;
use super::selection::{Recordings, Selection};
use super::utterance::Utterance;
use super::{cifar10, files, fsdd, idx, iris, spoken, stl10, wav_folder};

/// All of what is selected, from its folder in `data_dir` or a system folder; iris is part of the program. A user's files are decoded as
/// far as there is room.
pub fn load(selection: &Selection, data_dir: &Path, room: &Room) -> Result<DataSet, DataError> {
    match selection {
        Selection::Plain(name) => load_plain(*name, data_dir),
        Selection::Fsdd(recordings) => load_fsdd(recordings, data_dir),
        Selection::Folder { folder, recordings } => {
            let (utterances, labels) = wav_folder::utterances(&data_dir.join(folder))?;
            spoken::data_set(&utterances, labels, recordings)
        }
        Selection::Files(selection) => files::data_set(selection, room),
    }
}

fn load_fsdd(recordings: &Recordings, data_dir: &Path) -> Result<DataSet, DataError> {
    let files = folder::find(DataSetName::Fsdd, data_dir)?;
    // Named by the catalog, for where they lie they may be spelt in another way.
    let named = files.paths().zip(fsdd::FILES.iter());
    let utterances: Vec<_> = named
        .map(|(path, entry)| {
            let utterance = fsdd::utterance(Path::new(entry.name)).expect("the catalog's names are right");
            Utterance { path: path.to_owned(), ..utterance }
        })
        .collect();
    let classes = official(DataSetName::Fsdd).expect("the catalog has it").class_names;
    spoken::data_set(&utterances, classes.iter().map(|&name| name.to_owned()).collect(), recordings)
}

fn load_plain(name: DataSetName, data_dir: &Path) -> Result<DataSet, DataError> {
    let Some(official) = official(name) else { return Ok(iris::iris()) };
    let files = folder::find(name, data_dir)?;
    let labelled = |part| Ok::<_, DataError>(images(name, &files, official, part)?.expect("all have such"));
    Ok(DataSet {
        input: official.images(),
        standardize: false,
        train: labelled(Part::Train)?,
        test: labelled(Part::Test)?,
        validation: None,
        unlabeled: images(name, &files, official, Part::Unlabeled)?,
        record: Record::of_known(files.paths()),
    })
}

/// A part of a known data set, and how its samples are read; `None` if it has no such part. Of images no others are read.
pub fn load_part(
    selection: &Selection,
    part: Part,
    data_dir: &Path,
) -> Result<(Option<Examples>, InputSpec), DataError> {
    if let Selection::Plain(name) = *selection
        && let Some(official) = official(name)
    {
        let files = folder::find(name, data_dir)?;
        return Ok((images(name, &files, official, part)?, official.images()));
    }
    let DataSet { input, train, test, unlabeled, .. } = load(selection, data_dir, &Room::boundless())?;
    let examples = match part {
        Part::Train => Some(train),
        Part::Test => Some(test),
        Part::Unlabeled => unlabeled,
    };
    Ok((examples, input))
}

/// Images of a known data set.
fn images(
    name: DataSetName,
    files: &Files,
    official: &Official,
    part: Part,
) -> Result<Option<Examples>, DataError> {
    match name {
        DataSetName::Iris | DataSetName::Fsdd | DataSetName::WavFolder => {
            unreachable!("{name} is selected in another way")
        }
        DataSetName::Mnist | DataSetName::FashionMnist => idx::part(files, official, part),
        DataSetName::Cifar10 => cifar10::part(files, official, part),
        DataSetName::Stl10 => stl10::part(files, official, part).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::data_set::TrainingSamples;
    use crate::layout::Layout;
    use crate::room::Room;
    use crate::synthetic;
    use crate::verify::verify;

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
        examples.labels().iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// Means and standard deviations of the channels over a split.
    fn moments(examples: &Examples) -> Vec<(f64, f64)> {
        let channels = examples.shape().channels;
        let (mut sums, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
        let mut image = vec![0.0; examples.shape().len()];
        for index in 0..examples.len() as u32 {
            examples.write(index, &mut image).unwrap();
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
            let loaded = load(&DataSetName::Mnist.into(), dir.path(), &Room::boundless()).unwrap();
            assert_eq!((loaded.input.classes.len(), loaded.train.len(), loaded.test.len()), (10, 3, 2));
            assert_eq!(loaded.train.labels(), [9, 0, 3]);
            let mut image = vec![0.0; loaded.train.shape().len()];
            loaded.train.write(2, &mut image).unwrap();
            let expected: Vec<f32> = (0..784).map(|i| f32::from(synthetic::pixel(2, i)) / 255.0).collect();
            assert_eq!(image, expected);
        }
    }

    #[test]
    fn real_mnist_has_its_published_counts() {
        let Some(dir) = real_data("real_mnist_has_its_published_counts", "", "mnist") else { return };
        let mnist = load(&DataSetName::Mnist.into(), &dir, &Room::boundless()).unwrap();
        assert_eq!(counts(&mnist.train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(counts(&mnist.test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        assert_eq!(verify(DataSetName::Mnist, &dir).unwrap().to_string().lines().count(), 4);
    }

    #[test]
    fn real_cifar_10_has_its_published_counts_and_is_standardised() {
        let test = "real_cifar_10_has_its_published_counts_and_is_standardised";
        let Some(dir) = real_data(test, "", "cifar-10-batches-bin") else { return };
        let cifar = load(&DataSetName::Cifar10.into(), &dir, &Room::boundless()).unwrap();
        assert_eq!((counts(&cifar.train), counts(&cifar.test)), (vec![5000; 10], vec![1000; 10]));
        assert_eq!(cifar.training_samples(), official(DataSetName::Cifar10).unwrap().training);
        for (mean, deviation) in moments(&cifar.train) {
            // The deviations in use are means over images, smaller than those over all pixels.
            assert!(mean.abs() < 0.01 && (1.1..1.35).contains(&deviation), "{mean} {deviation}");
        }
        assert_eq!(verify(DataSetName::Cifar10, &dir).unwrap().to_string().matches(": ok").count(), 6);
    }

    #[test]
    fn real_fsdd_has_its_published_counts_and_lengths() {
        let test = "real_fsdd_has_its_published_counts_and_lengths";
        let Some(dir) = real_data(test, "", "fsdd/recordings") else { return };
        let fsdd = load(&DataSetName::Fsdd.into(), &dir, &Room::boundless()).unwrap();
        assert_eq!((counts(&fsdd.train), counts(&fsdd.test)), (vec![270; 10], vec![30; 10]));
        assert_eq!(fsdd.training_samples(), official(DataSetName::Fsdd).unwrap().training);
        let official = official(DataSetName::Fsdd).unwrap();
        for examples in [&fsdd.train, &fsdd.test] {
            assert_eq!(examples.shape(), official.shape);
            let lengths = |layout: Layout| layout.mean_share();
            assert!((lengths(examples.layout()) / lengths(official.layout()) - 1.0).abs() < 0.02);
        }
        // The frames of 0_george_0.wav, of 2,384 samples.
        assert_eq!(fsdd.test.shape_of(0).height, 1 + 4_768 / 200);
        for frame in fsdd.train.frames() {
            let (mut sum, mut squares) = (0.0, 0.0);
            for &value in &frame {
                sum += f64::from(value);
                squares += f64::from(value).powi(2);
            }
            assert!(sum.abs() < 1e-4 && (squares / 38.0 - 1.0).abs() < 1e-5, "{frame:?}");
        }
        assert_eq!(verify(DataSetName::Fsdd, &dir).unwrap().to_string().matches("3000 files: ok").count(), 1);
    }

    #[test]
    fn a_small_part_of_real_stl_10_loads_as_a_small_data_set() {
        let test = "a_small_part_of_real_stl_10_loads_as_a_small_data_set";
        let Some(dir) = real_data(test, "stl10-sample", "stl10_binary") else { return };
        let stl = load(&DataSetName::Stl10.into(), &dir, &Room::boundless()).unwrap();
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
        let fashion = load(&DataSetName::FashionMnist.into(), nowhere.path(), &Room::boundless()).unwrap();
        assert_eq!(counts(&fashion.train), [6000; 10]);
        assert_eq!(counts(&fashion.test), [1000; 10]);
        verify(DataSetName::FashionMnist, nowhere.path()).unwrap();
    }
}
