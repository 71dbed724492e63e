//! Images in files of one folder, decoded when they are asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::bad_file::BadFile;
use super::examples::Examples;
use super::names::Names;
use super::picture;
use super::record::ReadFile;
use super::shape::{ChannelScale, Shape};

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
        let (pixels, read) = self.decode(range);
        read.into_iter().collect::<Result<Vec<ReadFile>, _>>()?;
        Ok(self.examples(pixels))
    }

    /// The pixels of a range of the files, one image after the other, and what was read of each; the pixels of a broken one mean
    /// nothing.
    pub fn decode(&self, range: Range<usize>) -> (Vec<u8>, Vec<Result<ReadFile, BadFile>>) {
        let mut pixels = vec![0; range.len() * self.shape.len()];
        let images = pixels.par_chunks_exact_mut(self.shape.len()).zip(range);
        let write = |(image, index): (&mut [u8], usize)| {
            let (bytes, sum) = picture::write(&self.root.join(self.names.os(index)), self.shape, image)?;
            Ok(ReadFile { path: self.names.text(index).into_owned(), bytes, sha256: sum.to_string() })
        };
        let read = images.map(write).collect();
        (pixels, read)
    }

    /// Images of these pixels.
    pub fn examples(&self, pixels: Vec<u8>) -> Examples {
        Examples::from_pixels(self.shape, self.scales.clone(), pixels, Vec::new())
    }
}
