//! IDX files: big-endian u32 magic, u32 sizes, then u8 data; raw or gzipped.
//!
//! The header is believed only after each of its numbers was found to be one that such a file can have.

use std::path::Path;

use super::catalog::Official;
use super::data_file::DataFile;
use super::error::DataError;
use super::examples::Examples;
use super::folder::Files;
use super::input_source::Part;
use super::label;
use super::magic::Kind;
use super::shape::Shape;

/// The most items a file may announce: the larger half of MNIST and Fashion-MNIST.
const MAX_ITEMS: u32 = 60_000;

/// A part of four files: training images, training labels, test images, test labels; `None` if there is none such.
pub fn part(files: &Files, official: &Official, part: Part) -> Result<Option<Examples>, DataError> {
    let [train_images, train_labels, test_images, test_labels] = files.all();
    Ok(match part {
        Part::Train => Some(examples(train_images, train_labels, official)?),
        Part::Test => Some(examples(test_images, test_labels, official)?),
        Part::Unlabeled => None,
    })
}

/// The images of one file with the labels of another.
fn examples(image_file: &Path, label_file: &Path, official: &Official) -> Result<Examples, DataError> {
    let pixels = images(image_file, official.shape)?;
    let labels = labels(label_file, official.classes())?;
    label::belong(image_file, pixels.len() / official.shape.len(), label_file, labels.len())?;
    Ok(Examples::from_pixels(official.shape, official.scales, pixels, labels))
}

/// The pixels of a file of images of one channel, (items, height, width, 1).
fn images(path: &Path, shape: Shape) -> Result<Vec<u8>, DataError> {
    let mut file = DataFile::open(path)?;
    let [items, height, width] = sizes(&mut file, Kind::Images)?;
    if (height as usize, width as usize) != (shape.height, shape.width) {
        return Err(DataError::Dimensions {
            path: path.to_owned(),
            height,
            width,
            expected_height: shape.height,
            expected_width: shape.width,
        });
    }
    file.rest(items as usize * shape.len())
}

/// The labels of a file of labels, each below `classes`.
fn labels(path: &Path, classes: usize) -> Result<Vec<u32>, DataError> {
    let mut file = DataFile::open(path)?;
    let [items] = sizes(&mut file, Kind::Labels)?;
    label::numbered(path, &file.rest(items as usize)?, 0, classes)
}

/// The header's sizes after its magic number and its item count were found good.
fn sizes<const DIMENSIONS: usize>(
    file: &mut DataFile<'_>,
    kind: Kind,
) -> Result<[u32; DIMENSIONS], DataError> {
    let length = kind.header_bytes();
    let header = file.read_at_most(length, length as u64)?;
    let number = |i: usize| {
        header.get(4 * i..4 * i + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if let Some(found) = number(0)
        && found != kind.magic()
    {
        return Err(DataError::Magic { path: file.path().to_owned(), found, expected: kind });
    }
    file.expect_length(header.len(), length)?;
    let sizes: [u32; DIMENSIONS] = std::array::from_fn(|i| number(i + 1).expect("the header is complete"));
    if !(1..=MAX_ITEMS).contains(&sizes[0]) {
        let path = file.path().to_owned();
        return Err(DataError::Items { path, found: sizes[0], kind, limit: MAX_ITEMS });
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load;
    use crate::name::DataSetName;
    use crate::room::Room;
    use crate::synthetic::{self, File, Set};

    /// The text of the error that reading the set in `dir` ends with.
    fn refusal(dir: &Path) -> String {
        load(&DataSetName::Mnist.into(), dir, &Room::boundless()).unwrap_err().to_string()
    }

    /// Writes a set that `spoil` has spoilt, raw and gzipped; loading must name `file` and all `facts`.
    fn check(spoil: impl Fn(&mut Set), file: File, facts: &[&str]) {
        for gzipped in [false, true] {
            let mut set = Set::default();
            spoil(&mut set);
            let dir = set.write([gzipped; 4]);
            let error = refusal(dir.path());
            let path = set.path(dir.path(), file, gzipped);
            assert!(error.contains(path.to_str().unwrap()), "{error} names {}", path.display());
            assert_eq!(error.lines().count(), 1, "{error}");
            for fact in facts {
                assert!(error.contains(fact), "{error:?} says {fact:?}");
            }
        }
    }

    /// Spoils the gzipped training images; loading must name them and say all of `facts`.
    fn check_gzip(spoil: impl Fn(&mut Vec<u8>), facts: &[&str]) {
        let set = Set::default();
        let dir = set.write([true; 4]);
        let path = set.path(dir.path(), File::TrainImages, true);
        let mut packed = std::fs::read(&path).unwrap();
        spoil(&mut packed);
        std::fs::write(&path, packed).unwrap();
        let error = refusal(dir.path());
        for fact in facts.iter().chain([&path.to_str().unwrap()]) {
            assert!(error.contains(fact), "{error:?} says {fact:?}");
        }
    }

    #[test]
    fn a_wrong_magic_number_is_refused() {
        check(
            |set| set[File::TrainImages][3] = 7,
            File::TrainImages,
            &["magic number is 2055,", "expected 2051 for images"],
        );
        check(
            |set| set[File::TestLabels][0] = 1,
            File::TestLabels,
            &["magic number is 16779265,", "expected 2049 for labels"],
        );
    }

    #[test]
    fn swapped_images_and_labels_are_recognised() {
        check(
            |set| set.0.swap(0, 1),
            File::TrainImages,
            &["2049 (labels; are the files of images and labels swapped?)", "expected 2051"],
        );
    }

    #[test]
    fn an_empty_file_and_a_cut_header_are_truncated() {
        check(|set| set[File::TrainImages].clear(), File::TrainImages, &["ends after 0 bytes, expected 16"]);
        check(
            |set| set[File::TestImages].truncate(9),
            File::TestImages,
            &["ends after 9 bytes, expected 16"],
        );
        check(|set| set[File::TestLabels].truncate(5), File::TestLabels, &["ends after 5 bytes, expected 8"]);
    }

    #[test]
    fn a_truncated_file_is_refused() {
        check(
            |set| set[File::TrainImages].truncate(2000),
            File::TrainImages,
            &["ends after 2000 bytes, expected 2368"],
        );
        check(|set| set[File::TrainLabels].truncate(10), File::TrainLabels, &["after 10 bytes, expected 11"]);
    }

    #[test]
    fn trailing_bytes_are_refused() {
        check(|set| set[File::TestImages].push(0), File::TestImages, &["more bytes than the 1584 expected"]);
        check(|set| set[File::TestLabels].push(0), File::TestLabels, &["more bytes than the 10 expected"]);
    }

    #[test]
    fn a_gzip_bomb_is_read_no_further_than_its_header_allows() {
        let spoil = |set: &mut Set| set[File::TrainImages].resize(50_000_000, 0);
        check(spoil, File::TrainImages, &["more bytes than the 2368 expected from its header"]);
    }

    #[test]
    fn other_image_sizes_are_refused() {
        check(
            |set| set[File::TrainImages][8..16].copy_from_slice(&[0, 0, 0, 32, 0, 0, 0, 24]),
            File::TrainImages,
            &["images are 32x24, expected 28x28"],
        );
    }

    #[test]
    fn no_item_count_makes_the_reader_allocate() {
        let count = |bytes: [u8; 4]| move |set: &mut Set| set[File::TestImages][4..8].copy_from_slice(&bytes);
        check(count([255; 4]), File::TestImages, &["announces 4294967295 images, expected 1 to 60000"]);
        check(count([0; 4]), File::TestImages, &["announces 0 images, expected 1 to 60000"]);
        check(count([0, 0, 0xea, 0x60]), File::TestImages, &["after 1584 bytes, expected 47040016"]);
    }

    #[test]
    fn a_label_that_is_no_class_is_refused() {
        check(
            |set| set[File::TrainLabels][8 + 1] = 10,
            File::TrainLabels,
            &["label 10 of item 1, expected 0 to 9"],
        );
    }

    #[test]
    fn images_and_labels_of_different_counts_are_refused() {
        let spoil = |set: &mut Set| set[File::TrainLabels] = synthetic::labels(&[1, 2]);
        check(spoil, File::TrainLabels, &["holds 2 labels, expected 3"]);
        check(spoil, File::TrainImages, &["holds images"]);
    }

    #[test]
    fn a_cut_gzip_file_is_refused() {
        check_gzip(|packed| packed.truncate(packed.len() / 2), &["gzip", "cut off", "expected 2368"]);
        check_gzip(|packed| packed.truncate(packed.len() - 4), &["gzip", "cut off", "expected 2368"]);
        check_gzip(|packed| packed.truncate(7), &["gzip", "cut off", "after 0 unpacked bytes, expected 16"]);
    }

    #[test]
    fn a_damaged_gzip_file_is_refused() {
        // The CRC is the four bytes before the last four.
        let flip = |packed: &mut Vec<u8>| {
            let crc = packed.len() - 8;
            packed[crc] ^= 1;
        };
        check_gzip(flip, &["gzip", "damaged", "expected 2368"]);
    }

    #[test]
    fn bytes_behind_the_gzip_data_are_refused() {
        check_gzip(|packed| packed.extend(b"more"), &["gzip", "expected 2368"]);
        check_gzip(|packed| packed.extend(synthetic::gzip(b"more")), &["more bytes than the 2368 expected"]);
    }
}
