//! Images in files of one folder, decoded when they are asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::bad_file::BadFile;
use super::examples::Examples;
use super::file_sums::file_sums;
use super::held::Held;
use super::names::Names;
use super::picture;
use super::record::ReadFile;
use super::shape::{ChannelScale, Shape};
use super::work::{Decoded, Work};

/// Files of images, and what is made of each.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    root: PathBuf,
    /// Paths from the root on.
    names: Names,
    shape: Shape,
    scales: Arc<[ChannelScale]>,
}

impl ImageFiles {
    /// These files, of which each becomes an image of this shape and scale.
    ///
    /// # Panics
    /// If one does not lie below `root`.
    pub fn new<'a>(
        root: &Path,
        files: impl IntoIterator<Item = &'a Path>,
        shape: Shape,
        scales: &[ChannelScale],
    ) -> Self {
        let below = |file: &'a Path| file.strip_prefix(root).expect("the walk began at the root");
        let names = files.into_iter().map(below).collect();
        Self { root: root.to_owned(), names, shape, scales: scales.into() }
    }

    /// What the files are called from the root on.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Decodes a range of the files, on all cores; no labels. Of several errors the first file's is told.
    pub fn read(&self, range: Range<usize>) -> Result<Examples, BadFile> {
        let images = self.decode(range).into_iter().map(|decoded| decoded.map(|(pixels, _)| pixels));
        let images = images.collect::<Result<Vec<_>, _>>()?;
        Ok(self.examples(images.concat()))
    }

    /// What there is to do until all are decoded.
    pub fn work(&self) -> Work<'_, u8> {
        Work {
            samples: self.len(),
            values: self.len() * self.shape.len(),
            decoding: format!("images {}", self.shape),
            ragged: false,
            decode: Box::new(|range| self.decode(range)),
            sums: Some(Box::new(|| file_sums(&self.root, &self.names))),
            stored: None,
        }
    }

    /// The pixels of each of a range of the files, and what was read of it.
    fn decode(&self, range: Range<usize>) -> Vec<Decoded<u8>> {
        let decode = |index| {
            let mut image = vec![0; self.shape.len()];
            let (bytes, sum) = picture::write(&self.root.join(self.names.os(index)), self.shape, &mut image)?;
            let path = self.names.text(index).into_owned();
            Ok((image, Some(ReadFile { path, bytes, sha256: sum.to_string() })))
        };
        range.into_par_iter().map(decode).collect()
    }

    /// Images of these pixels.
    pub fn examples(&self, pixels: impl Into<Held<u8>>) -> Examples {
        Examples::from_pixels(self.shape, self.scales.clone(), pixels, Vec::new())
    }
}
