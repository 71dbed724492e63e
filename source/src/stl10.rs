//! STL-10's binary version: files of images as three planes (red, green, blue), column-major, and files of labels
//! counted from 1.

use std::path::Path;

use super::catalog::Official;
use super::data_file::DataFile;
use super::data_set::TrainingSamples;
use super::error::DataError;
use super::examples::Examples;
use super::folder::Files;
use super::input_source::Part;
use super::label;
use super::planes::{Plane, channels_last};

/// A part of five files: training images and labels, test images and labels, unlabeled images.
///
/// A file of fewer images than the official one is read as a smaller one.
pub fn part(files: &Files, official: &Official, part: Part) -> Result<Examples, DataError> {
    let [train_images, train_labels, test_images, test_labels, unlabeled] = files.all();
    let TrainingSamples { labelled, unlabeled: most_unlabeled } = official.training;
    match part {
        Part::Train => examples(train_images, train_labels, labelled, official),
        Part::Test => examples(test_images, test_labels, official.test_samples, official),
        Part::Unlabeled => {
            let pixels = images(unlabeled, most_unlabeled, official)?;
            Ok(Examples::from_pixels(official.shape, official.scales, pixels, Vec::new()))
        }
    }
}

/// The images of one file, `most` at most, with the labels of another.
fn examples(
    image_file: &Path,
    label_file: &Path,
    most: u32,
    official: &Official,
) -> Result<Examples, DataError> {
    let Official { shape, scales, .. } = *official;
    let pixels = images(image_file, most, official)?;
    let labels = DataFile::open(label_file)?.records(1, most as usize)?;
    let labels = label::numbered(label_file, &labels, 1, official.classes())?;
    label::belong(image_file, pixels.len() / shape.len(), label_file, labels.len())?;
    Ok(Examples::from_pixels(shape, scales, pixels, labels))
}

/// The pixels of a file of images, `most` at most, (items, height, width, channels). They are turned in place: there are gigabytes.
fn images(path: &Path, most: u32, official: &Official) -> Result<Vec<u8>, DataError> {
    let shape = official.shape;
    let mut pixels = DataFile::open(path)?.records(shape.len(), most as usize)?;
    let mut stored = vec![0; shape.len()];
    for image in pixels.chunks_exact_mut(shape.len()) {
        stored.copy_from_slice(image);
        channels_last(shape, Plane::ColumnMajor, &stored, image);
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::data_set::DataSet;
    use crate::load::load;
    use crate::name::DataSetName;
    use crate::room::Room;

    fn read(dir: &Path) -> Result<DataSet, DataError> {
        load(&DataSetName::Stl10.into(), dir, &Room::boundless())
    }

    const IMAGE: usize = 96 * 96 * 3;

    /// The value of a channel at row y and column x of an image: all differ from their neighbours.
    fn value(image: usize, channel: usize, y: usize, x: usize) -> u8 {
        (image * 101 + channel * 57 + y * 31 + x * 3) as u8
    }

    /// A file of these images.
    fn image_file(images: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for image in images {
            for channel in 0..3 {
                for x in 0..96 {
                    bytes.extend((0..96).map(|y| value(image, channel, y, x)));
                }
            }
        }
        bytes
    }

    /// Three training, two test and four unlabeled images; `spoil` may change the file `spoilt`.
    fn set(spoilt: &str, spoil: impl Fn(&mut Vec<u8>)) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("stl10_binary");
        fs::create_dir(&folder).unwrap();
        for (name, mut bytes) in [
            ("train_X.bin", image_file(0..3)),
            ("train_y.bin", vec![10, 1, 4]),
            ("test_X.bin", image_file(3..5)),
            ("test_y.bin", vec![2, 9]),
            ("unlabeled_X.bin", image_file(5..9)),
        ] {
            if name == spoilt {
                spoil(&mut bytes);
            }
            fs::write(folder.join(name), bytes).unwrap();
        }
        dir
    }

    #[test]
    fn images_are_planes_of_columns_and_labels_count_from_1() {
        let set = read(set("", |_| {}).path()).unwrap();
        assert_eq!((set.train.labels(), set.test.labels()), (&[9, 0, 3][..], &[1, 8][..]));
        let unlabeled = set.unlabeled.unwrap();
        assert_eq!((unlabeled.len(), unlabeled.labels()), (4, &[][..]));
        let mut image = vec![0.0; IMAGE];
        unlabeled.write(1, &mut image).unwrap();
        for (channel, (mean, deviation)) in
            [(0.4914, 0.2471), (0.4822, 0.2435), (0.4465, 0.2616)].into_iter().enumerate()
        {
            for (y, x) in [(0, 0), (0, 95), (95, 0), (17, 4)] {
                let expected = (f64::from(value(6, channel, y, x)) / 255.0 - mean) / deviation;
                let found = f64::from(image[(y * 96 + x) * 3 + channel]);
                assert!((found - expected).abs() < 1e-5, "{channel} {y} {x}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn broken_files_are_refused_with_what_was_found_and_expected() {
        type Spoil = fn(&mut Vec<u8>);
        let cases: [(&str, Spoil, &str); 8] = [
            ("train_X.bin", |bytes| bytes.clear(), "is empty, expected 1 to 5000 records of 27648 bytes"),
            ("test_X.bin", |bytes| bytes.truncate(30_000), "ends after 30000 bytes, expected a multiple of"),
            ("unlabeled_X.bin", |bytes| bytes.push(0), "ends after 110593 bytes, expected a multiple of"),
            ("train_y.bin", |bytes| bytes[2] = 0, "label 0 of item 2, expected 1 to 10"),
            ("test_y.bin", |bytes| bytes[1] = 11, "label 11 of item 1, expected 1 to 10"),
            ("train_y.bin", |bytes| bytes.push(1), "holds 4 labels, expected 3 as"),
            ("test_X.bin", |bytes| bytes.truncate(IMAGE), "holds 2 labels, expected 1 as"),
            (
                "test_y.bin",
                |bytes| bytes.resize(8_001, 1),
                "more bytes than those of the expected 8000 records",
            ),
        ];
        for (spoilt, spoil, refusal) in cases {
            let dir = set(spoilt, spoil);
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(refusal), "{error:?} says {refusal:?}");
            assert!(error.contains(&format!("stl10_binary/{spoilt}")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
