//! Small data sets for tests: 3 training and 2 test images 28x28 in IDX files that can be spoilt before
//! they are written.

use std::fs;
use std::io::Write;
use std::ops::{Index, IndexMut};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::examples::Examples;

/// One of the four files.
#[derive(Clone, Copy)]
pub enum File {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

/// The bytes of the four files.
pub struct Set(pub [Vec<u8>; 4]);

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

impl Default for Set {
    fn default() -> Self {
        Self([images(3), labels(&[9, 0, 3]), images(2), labels(&[1, 8])])
    }
}

impl Set {
    /// Writes the files to the folder `mnist` of a new temporary folder, gzipped where told.
    pub fn write(&self, gzipped: [bool; 4]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mnist")).unwrap();
        let files = [File::TrainImages, File::TrainLabels, File::TestImages, File::TestLabels];
        for (file, gzipped) in files.into_iter().zip(gzipped) {
            let bytes = if gzipped { gzip(&self[file]) } else { self[file].clone() };
            fs::write(self.path(dir.path(), file, gzipped), bytes).unwrap();
        }
        dir
    }

    /// Where `write` puts a file.
    #[expect(clippy::unused_self, reason = "reads as `set.path`")]
    pub fn path(&self, dir: &Path, file: File, gzipped: bool) -> PathBuf {
        dir.join("mnist").join(format!("{}{}", NAMES[file as usize], if gzipped { ".gz" } else { "" }))
    }
}

impl Index<File> for Set {
    type Output = Vec<u8>;

    fn index(&self, file: File) -> &Vec<u8> {
        &self.0[file as usize]
    }
}

impl IndexMut<File> for Set {
    fn index_mut(&mut self, file: File) -> &mut Vec<u8> {
        &mut self.0[file as usize]
    }
}

/// Pixel `i` of image `item`.
pub fn pixel(item: usize, i: usize) -> u8 {
    (item * 31 + i * 7) as u8
}

/// An IDX file of this many images 28x28.
pub fn images(items: usize) -> Vec<u8> {
    let mut file = header(&[2051, items as u32, 28, 28]);
    file.extend((0..items).flat_map(|item| (0..784).map(move |i| pixel(item, i))));
    file
}

/// An IDX file of labels.
pub fn labels(labels: &[u8]) -> Vec<u8> {
    let mut file = header(&[2049, labels.len() as u32]);
    file.extend(labels);
    file
}

/// `bytes` gzipped.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn header(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A NumPy array: its type, whether its first axis varies fastest, its axes as Python writes them, and its elements.
pub fn npy(descr: &str, columns_first: bool, axes: &str, elements: &[u8]) -> Vec<u8> {
    let order = if columns_first { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {axes}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    array.extend((header.len() as u16).to_le_bytes());
    array.extend(header.as_bytes());
    array.extend(elements);
    array
}

/// An archive of named arrays.
pub fn npz(arrays: &[(&str, &[u8])], compressed: bool) -> Vec<u8> {
    let method = if compressed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, array) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A folder of these files.
pub fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

/// All samples, which are of one shape.
pub fn samples(examples: &Examples) -> Vec<Vec<f32>> {
    let sample = |index| {
        let mut sample = vec![0.0; examples.shape().len()];
        examples.write(index, &mut sample).unwrap();
        sample
    };
    (0..examples.len() as u32).map(sample).collect()
}

/// The bytes of numbers.
pub fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
