//! Labels as files have them, checked.

use std::path::Path;

use super::error::DataError;

/// The labels of the file at `path`, which counts its `classes` from `first` on, counted from 0.
pub fn numbered(path: &Path, labels: &[u8], first: u8, classes: usize) -> Result<Vec<u32>, DataError> {
    let last = first + (classes - 1) as u8;
    let counted = |(item, &label): (usize, &u8)| {
        if (first..=last).contains(&label) {
            return Ok(u32::from(label - first));
        }
        Err(DataError::Label { path: path.to_owned(), item, label, first, last })
    };
    labels.iter().enumerate().map(counted).collect()
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
