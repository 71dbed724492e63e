//! CIFAR-10's binary version: records of a label, then the image as three planes (red, green, blue), row-major.

use std::path::Path;

use super::catalog::Official;
use super::data_file::DataFile;
use super::error::DataError;
use super::examples::Examples;
use super::folder::Files;
use super::input_source::Part;
use super::label;
use super::planes::{Plane, channels_last};

/// How many records each official file has. A file of fewer is read as a smaller one.
const MAX_RECORDS: usize = 10_000;

/// A part of five files of training images and one of test images; `None` if there is none such.
pub fn part(files: &Files, official: &Official, part: Part) -> Result<Option<Examples>, DataError> {
    let [one, two, three, four, five, test] = files.all();
    Ok(match part {
        Part::Train => Some(examples(&[one, two, three, four, five], official)?),
        Part::Test => Some(examples(&[test], official)?),
        Part::Unlabeled => None,
    })
}

/// The images and labels of these files, one file after the other.
fn examples(files: &[&Path], official: &Official) -> Result<Examples, DataError> {
    let Official { shape, scales, .. } = *official;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for &path in files {
        let length = 1 + shape.len();
        let records = DataFile::open(path)?.records(length, MAX_RECORDS)?;
        let records = records.chunks_exact(length);
        let first: Vec<u8> = records.clone().map(|record| record[0]).collect();
        labels.extend(label::numbered(path, &first, 0, official.classes())?);
        let before = pixels.len();
        pixels.resize(before + records.len() * shape.len(), 0);
        for (record, image) in records.zip(pixels[before..].chunks_exact_mut(shape.len())) {
            channels_last(shape, Plane::RowMajor, &record[1..], image);
        }
    }
    Ok(Examples::from_pixels(shape, scales, pixels, labels))
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
    use crate::synthetic::gzip;

    fn read(dir: &Path) -> Result<DataSet, DataError> {
        load(&DataSetName::Cifar10.into(), dir, &Room::boundless())
    }

    /// The value of a channel at row y and column x of an image: all differ from their neighbours.
    fn value(image: usize, channel: usize, y: usize, x: usize) -> u8 {
        (image * 101 + channel * 57 + y * 31 + x * 3) as u8
    }

    /// The record of image `image` with that number as its label.
    fn record(image: usize) -> Vec<u8> {
        let mut record = vec![image as u8];
        for channel in 0..3 {
            for y in 0..32 {
                record.extend((0..32).map(|x| value(image, channel, y, x)));
            }
        }
        record
    }

    /// A set of six files, one record each, labelled 0 to 5; `spoil` may change the last training file.
    fn set(spoil: impl Fn(&mut Vec<u8>)) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cifar-10-batches-bin");
        fs::create_dir(&folder).unwrap();
        for (image, name) in
            (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".to_owned()]).enumerate()
        {
            let mut bytes = record(image);
            if image == 4 {
                spoil(&mut bytes);
            }
            fs::write(folder.join(name), bytes).unwrap();
        }
        dir
    }

    fn check_sound(set: &DataSet) {
        assert_eq!((set.train.labels(), set.test.labels()), (&[0, 1, 2, 3, 4][..], &[5][..]));
        assert_eq!((set.input.classes.len(), set.unlabeled.is_some()), (10, false));
        let mut image = vec![0.0; 3072];
        set.train.write(3, &mut image).unwrap();
        for (channel, (mean, deviation)) in
            [(0.4914, 0.2023), (0.4822, 0.1994), (0.4465, 0.2010)].into_iter().enumerate()
        {
            for (y, x) in [(0, 0), (0, 31), (31, 0), (17, 4)] {
                let expected = (f64::from(value(3, channel, y, x)) / 255.0 - mean) / deviation;
                let found = f64::from(image[(y * 32 + x) * 3 + channel]);
                assert!((found - expected).abs() < 1e-5, "{channel} {y} {x}: {found}, expected {expected}");
            }
        }
    }

    #[test]
    fn a_record_is_a_label_and_three_planes_of_rows() {
        check_sound(&read(set(|_| {}).path()).unwrap());
    }

    #[test]
    fn a_gzipped_file_is_read_like_a_raw_one() {
        check_sound(&read(set(|bytes| *bytes = gzip(bytes)).path()).unwrap());
    }

    #[test]
    fn broken_files_are_refused_with_what_was_found_and_expected() {
        type Spoil = fn(&mut Vec<u8>);
        let cases: [(Spoil, &str); 6] = [
            (|bytes| bytes.clear(), "is empty, expected 1 to 10000 records of 3073 bytes"),
            (|bytes| bytes.truncate(3000), "ends after 3000 bytes, expected a multiple of the 3073 bytes"),
            (|bytes| bytes.push(0), "ends after 3074 bytes, expected a multiple of the 3073 bytes"),
            (|bytes| bytes.resize(30_730_001, 0), "more bytes than those of the expected 10000 records"),
            (|bytes| bytes[0] = 10, "label 10 of item 0, expected 0 to 9"),
            (|bytes| *bytes = gzip(bytes)[..500].to_vec(), "gzip data are cut off or damaged"),
        ];
        for (spoil, refusal) in cases {
            let dir = set(spoil);
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(refusal), "{error:?} says {refusal:?}");
            assert!(error.contains("cifar-10-batches-bin/data_batch_5.bin"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
