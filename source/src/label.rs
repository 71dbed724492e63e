//! Labels as files have them, checked.

use std::path::Path;

use super::error::DataError;

/// The labels of the file at `path`, which counts its `classes` from `first` on, counted from 0.
pub fn numbered(path: &Path, mut labels: Vec<u8>, first: u8, classes: usize) -> Result<Vec<u8>, DataError> {
    let last = first + (classes - 1) as u8;
    for (item, label) in labels.iter_mut().enumerate() {
        if !(first..=last).contains(label) {
            return Err(DataError::Label { path: path.to_owned(), item, label: *label, first, last });
        }
        *label -= first;
    }
    Ok(labels)
}

/// An error if a file of images and a file of labels do not hold the same number of them.
pub fn belong(image_file: &Path, images: usize, label_file: &Path, labels: usize) -> Result<(), DataError> {
    if images == labels {
        return Ok(());
    }
    Err(DataError::Count {
        image_file: image_file.to_owned(),
        images,
        label_file: label_file.to_owned(),
        labels,
    })
}
