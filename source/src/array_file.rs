//! A NumPy array in a file of its own (`.npy`), or one of several in an archive (`.npz`).
//!
//! Its header is read and checked against the file before anything is allocated. Elements are read when they are asked for: at any
//! place where they are stored as they are, from front to back where they are compressed.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use npyz::{NpyHeader, Order};
use zip::{CompressionMethod, ZipArchive};

use super::bad_file::BadFile;
use super::element::Element;
use super::held::FileValues;

/// How an array begins.
const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of a header, at most: as many as NumPy reads.
const HEADER_BYTES: usize = 10_000;
/// Brackets of a header, at most: the parser takes stack for each within another.
const BRACKETS: usize = 64;
/// Arrays of an archive, at most.
const ARRAYS: usize = 1024;

const EXPECTED: &str = "a NumPy array";

/// An array whose header was read.
#[derive(Clone, Debug)]
pub struct ArrayFile {
    path: PathBuf,
    /// What it is called in its archive.
    name: Option<String>,
    file: Arc<File>,
    stored: Stored,
    /// Where the elements begin: in the file, or in what is unpacked.
    start: u64,
    /// The axes, samples first.
    axes: Vec<usize>,
    element: Element,
    /// Whether the first axis is the one that varies fastest.
    columns_first: bool,
    place: Arc<Mutex<Option<Place>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Plain,
    /// From this byte of the file on, so many of them, and the checksum of what they unpack to.
    Deflated {
        start: u64,
        bytes: u64,
        checksum: u32,
    },
}

/// How far compressed elements were read.
struct Place {
    position: u64,
    reader: CrcReader<Box<dyn Read + Send>>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.position)
    }
}

/// The arrays of the file at `path`, each with its name in the archive, or the only one without.
pub fn arrays(path: &Path) -> Result<Vec<ArrayFile>, BadFile> {
    let bad = |cause: io::Error| BadFile::new(path, cause, "a file that can be read");
    let mut file = File::open(path).map_err(bad)?;
    if !file.metadata().map_err(bad)?.is_file() {
        return Err(BadFile::new(path, "no plain file", EXPECTED));
    }
    let mut begin = Vec::new();
    (&mut file).take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(bad)?;
    if begin.starts_with(b"PK") {
        return archived(path, &file);
    }
    file.rewind().map_err(bad)?;
    let array = ArrayFile::read(path, None, &Arc::new(file), Stored::Plain, 0)?;
    array.check_length()?;
    Ok(vec![array])
}

fn archived(path: &Path, file: &File) -> Result<Vec<ArrayFile>, BadFile> {
    let bad = |cause: &dyn fmt::Display| BadFile::new(path, cause, "an archive of NumPy arrays (.npz)");
    let own = file.try_clone().map_err(|cause| bad(&cause))?;
    let mut archive = ZipArchive::new(BufReader::new(own)).map_err(|cause| bad(&cause))?;
    if archive.len() > ARRAYS {
        return Err(bad(&format_args!("an archive of {} files", archive.len())));
    }
    let file = Arc::new(file.try_clone().map_err(|cause| bad(&cause))?);
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|cause| bad(&cause))?;
        let Some(name) = npyz::npz::array_name_from_file_name(entry.name()) else { continue };
        let start = entry.data_start().unwrap_or_default();
        let stored = match entry.compression() {
            CompressionMethod::Stored => Stored::Plain,
            CompressionMethod::Deflated => {
                Stored::Deflated { start, bytes: entry.compressed_size(), checksum: entry.crc32() }
            }
            other => return Err(bad(&format_args!("the array {name} compressed by {other}"))),
        };
        if entry.encrypted() {
            return Err(bad(&format_args!("the encrypted array {name}")));
        }
        let array = ArrayFile::read(path, Some(name.to_owned()), &file, stored, start)?;
        let size = array.start + array.all_bytes() - if stored == Stored::Plain { start } else { 0 };
        if size != entry.size() {
            let found = format!("{} bytes, header and all", entry.size());
            return Err(array.bad(found, format_args!("{size}, as its header says")));
        }
        if stored == Stored::Plain {
            array.check_end()?;
        }
        arrays.push(array);
    }
    Ok(arrays)
}

impl ArrayFile {
    /// Reads the header that begins at `start`.
    fn read(
        path: &Path,
        name: Option<String>,
        file: &Arc<File>,
        stored: Stored,
        start: u64,
    ) -> Result<Self, BadFile> {
        let bad = |found: &dyn fmt::Display, expected: &dyn fmt::Display| {
            called(path, name.as_deref(), found, expected)
        };
        let (bytes, header) =
            header(&mut opened(file, stored, start)).map_err(|cause| bad(&cause, &EXPECTED))?;
        let dtype = header.dtype();
        let element = Element::of(&dtype).ok_or_else(|| {
            bad(
                &format_args!("elements of the type {}", dtype.descr()),
                &"whole numbers, floats, booleans, or texts as labels",
            )
        })?;
        let axes: Option<Vec<usize>> =
            header.shape().iter().map(|&axis| usize::try_from(axis).ok()).collect();
        let axes = axes.unwrap_or_default();
        let all = axes.iter().try_fold(element.bytes(), |all, &axis| all.checked_mul(axis.max(1)));
        if all.is_none_or(|all| all > isize::MAX as usize) || axes.len() != header.shape().len() {
            return Err(bad(&format_args!("axes {:?}", header.shape()), &"an array that fits a memory"));
        }
        let start = if stored == Stored::Plain { start + bytes } else { bytes };
        let columns_first = header.order() == Order::Fortran && axes.len() > 1;
        let (path, file) = (path.to_owned(), file.clone());
        Ok(Self { path, name, file, stored, start, axes, element, columns_first, place: Arc::default() })
    }

    /// What the archive calls it; nothing in a file of its own.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The axes, samples first.
    pub fn axes(&self) -> &[usize] {
        &self.axes
    }

    /// What its elements are.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Elements along all axes but the first.
    pub fn elements_of_sample(&self) -> usize {
        self.axes.iter().skip(1).product()
    }

    /// Its elements in the file, where they lie there one sample after the other.
    pub fn stored(&self) -> Option<FileValues> {
        let plain = self.stored == Stored::Plain && !self.columns_first;
        plain.then(|| FileValues {
            file: self.file.clone(),
            path: self.path.as_path().into(),
            start: self.start,
            count: self.axes.iter().product(),
        })
    }

    fn all_bytes(&self) -> u64 {
        (self.element.bytes() * self.axes.iter().product::<usize>()) as u64
    }

    /// An error about this array.
    pub fn bad(&self, found: impl fmt::Display, expected: impl fmt::Display) -> BadFile {
        called(&self.path, self.name(), &found, &expected)
    }

    /// Whether a file of its own has all elements, and nothing else.
    fn check_length(&self) -> Result<(), BadFile> {
        let expected = self.start + self.all_bytes();
        let found = self.file.metadata().map_err(|cause| self.bad(cause, EXPECTED))?.len();
        if found == expected {
            return Ok(());
        }
        Err(self.bad(format_args!("{found} bytes"), format_args!("{expected}, as its header says")))
    }

    /// Whether an archive has all elements of an array that it stores as it is.
    fn check_end(&self) -> Result<(), BadFile> {
        let end = self.start + self.all_bytes();
        let found = self.file.metadata().map_err(|cause| self.bad(cause, EXPECTED))?.len();
        if end <= found {
            return Ok(());
        }
        Err(self.bad(format_args!("an end after {found} bytes"), format_args!("elements up to byte {end}")))
    }

    /// The bytes of a range of samples, each sample's elements in the order of its axes.
    ///
    /// # Panics
    /// If there are fewer samples.
    pub fn samples(&self, range: Range<usize>) -> Result<Vec<u8>, BadFile> {
        assert!(range.end <= self.axes[0], "{range:?} of {} samples", self.axes[0]);
        let bytes = self.element.bytes() * self.elements_of_sample();
        if self.columns_first {
            return self.gathered(range);
        }
        let (offset, length) = ((range.start * bytes) as u64, range.len() * bytes);
        self.bytes(offset, length).map_err(|cause| self.broken(&cause))
    }

    /// Samples whose elements lie apart from each other.
    fn gathered(&self, range: Range<usize>) -> Result<Vec<u8>, BadFile> {
        let (count, size, elements) = (self.axes[0], self.element.bytes(), self.elements_of_sample());
        let mut samples = vec![0; range.len() * elements * size];
        // In the file the samples' elements of one place lie side by side, the first of the other axes varying fastest.
        for place in 0..elements {
            let element = columns_last(place, &self.axes[1..]);
            let offset = ((place * count + range.start) * size) as u64;
            let column = self.bytes(offset, range.len() * size).map_err(|cause| self.broken(&cause))?;
            for (sample, value) in column.chunks_exact(size).enumerate() {
                samples[(sample * elements + element) * size..][..size].copy_from_slice(value);
            }
        }
        Ok(samples)
    }

    /// So many bytes from an offset in the elements on.
    fn bytes(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let Stored::Deflated { checksum, .. } = self.stored else {
            let mut bytes = vec![0; length];
            self.file.read_exact_at(&mut bytes, self.start + offset)?;
            return Ok(bytes);
        };
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.start + offset;
        let taken = place.take().filter(|place| place.position <= from);
        let mut now = match taken {
            Some(place) => place,
            None => Place { position: 0, reader: CrcReader::new(opened(&self.file, self.stored, 0)) },
        };
        let skip = from - now.position;
        let mut bytes = Vec::new();
        let skipped = io::copy(&mut (&mut now.reader).take(skip), &mut io::sink())?;
        (&mut now.reader).take(length as u64).read_to_end(&mut bytes)?;
        if skipped < skip || bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        now.position = from + length as u64;
        if now.position == self.start + self.all_bytes() && now.reader.crc().sum() != checksum {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "other bytes than its checksum was taken of",
            ));
        }
        *place = Some(now);
        Ok(bytes)
    }

    fn broken(&self, cause: &io::Error) -> BadFile {
        self.bad(cause, format_args!("elements of the axes {:?}", self.axes))
    }
}

fn called(path: &Path, name: Option<&str>, found: &dyn fmt::Display, expected: &dyn fmt::Display) -> BadFile {
    match name {
        Some(name) => BadFile::new(path, format_args!("{found} in the array {name}"), expected),
        None => BadFile::new(path, found, expected),
    }
}

/// The file from `start` on, unpacked.
fn opened(file: &Arc<File>, stored: Stored, start: u64) -> Box<dyn Read + Send> {
    let from = |position| BufReader::new(Positioned { file: file.clone(), position });
    match stored {
        Stored::Plain => Box::new(from(start)),
        Stored::Deflated { start, bytes, .. } => Box::new(DeflateDecoder::new(from(start).take(bytes))),
    }
}

/// A file read from a position that is not the file's own, whoever else reads.
struct Positioned {
    file: Arc<File>,
    position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// The header, and how many bytes it has.
fn header(reader: &mut dyn Read) -> io::Result<(u64, NpyHeader)> {
    let invalid = |found: &str| io::Error::new(io::ErrorKind::InvalidData, found.to_owned());
    let mut bytes = vec![0; 10];
    reader.read_exact(&mut bytes).map_err(|_| invalid("fewer bytes than a header has"))?;
    if !bytes.starts_with(MAGIC) {
        return Err(invalid("bytes that begin like no such array"));
    }
    // The length has two bytes, or four in later versions.
    if bytes[6] > 1 {
        bytes.resize(12, 0);
        reader.read_exact(&mut bytes[10..]).map_err(|_| invalid("fewer bytes than a header has"))?;
    }
    let length = bytes[8..].iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte));
    if length > HEADER_BYTES {
        return Err(invalid("a header that is too long"));
    }
    let begin = bytes.len();
    bytes.resize(begin + length, 0);
    reader.read_exact(&mut bytes[begin..]).map_err(|_| invalid("an end within the header"))?;
    let brackets = bytes[begin..].iter().filter(|byte| b"([{".contains(byte)).count();
    if brackets > BRACKETS {
        return Err(invalid("a header of too many brackets"));
    }
    Ok((bytes.len() as u64, NpyHeader::from_reader(&bytes[..])?))
}

/// Where an element stands in a sample if its last axis varies fastest, given where it stands if its first does.
fn columns_last(mut place: usize, axes: &[usize]) -> usize {
    let mut element = 0;
    for (axis, &length) in axes.iter().enumerate() {
        element += place % length * axes[axis + 1..].iter().product::<usize>();
        place /= length;
    }
    element
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::synthetic::{npy, npz};

    fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.npy");
        fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn refusal(bytes: &[u8]) -> String {
        let (_dir, path) = written(bytes);
        let error = arrays(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        error
    }

    #[test]
    fn any_samples_are_read_of_an_array_that_is_stored_or_compressed() {
        let array = npy("|u1", false, "(4, 3)", &(0..12).collect::<Vec<u8>>());
        for bytes in [array.clone(), npz(&[("X", &array)], false), npz(&[("X", &array)], true)] {
            let (_dir, path) = written(&bytes);
            let [array] = arrays(&path).unwrap().try_into().unwrap();
            assert_eq!((array.axes(), array.elements_of_sample()), (&[4, 3][..], 3));
            assert_eq!(array.samples(1..3).unwrap(), (3..9).collect::<Vec<u8>>());
            assert_eq!(array.samples(3..4).unwrap(), [9, 10, 11]);
            assert_eq!(array.samples(0..4).unwrap(), (0..12).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn an_array_whose_first_axis_varies_fastest_is_read_in_the_order_of_its_axes() {
        // Two samples of 2x3: the element (n, y, x) is n + 2 y + 4 x in the file, and its value is its own place.
        let array = npy("|u1", true, "(2, 2, 3)", &(0..12).collect::<Vec<u8>>());
        let (_dir, path) = written(&array);
        let [array] = arrays(&path).unwrap().try_into().unwrap();
        assert_eq!(array.samples(0..2).unwrap(), [0, 4, 8, 2, 6, 10, 1, 5, 9, 3, 7, 11]);
        assert_eq!(array.samples(1..2).unwrap(), [1, 5, 9, 3, 7, 11]);
    }

    #[test]
    fn hostile_headers_are_refused_before_memory_is_taken() {
        let huge = npy("<f8", false, "(4000000000, 4000000000, 4000000000)", &[]);
        assert!(refusal(&huge).contains("expected an array that fits a memory"), "{}", refusal(&huge));
        let large = npy("<f8", false, "(1000000, 1000000)", &[0; 8]);
        assert!(
            refusal(&large).contains("expected 8000000000128, as its header says"),
            "{}",
            refusal(&large)
        );
        let nested = npy("|u1", false, &"(".repeat(200), &[]);
        assert!(refusal(&nested).contains("a header of too many brackets"));
        let mut long = b"\x93NUMPY\x02\x00".to_vec();
        long.extend(u32::MAX.to_le_bytes());
        assert!(refusal(&long).contains("a header that is too long"));
        for (descr, found) in [("|O", "elements of the type '|O'"), ("<c16", "elements of the type '<c16'")] {
            assert!(refusal(&npy(descr, false, "(1, 1)", &[0; 16])).contains(found));
        }
    }

    #[test]
    fn what_is_cut_off_or_is_no_array_is_refused() {
        let whole = npy("<f4", false, "(2, 2)", &[0; 16]);
        assert!(refusal(&whole[..whole.len() - 1]).contains("bytes, expected"));
        assert!(refusal(&[&whole[..], &[0]].concat()).contains("bytes, expected"));
        assert!(refusal(&whole[..20]).contains("an end within the header"));
        assert!(refusal(b"").contains("fewer bytes than a header has"));
        assert!(refusal(b"some text or other").contains("begin like no such array"));
        assert!(refusal(b"PK\x03\x04 nothing").contains("expected an archive of NumPy arrays"));
        let archive = npz(&[("X", &whole)], true);
        for end in [30, archive.len() / 2, archive.len() - 1] {
            refusal(&archive[..end]);
        }
        let mut damaged = npz(&[("X", &npy("|u1", false, "(64, 64)", &[7; 4096]))], true);
        let middle = damaged.len() / 4;
        damaged[middle..middle + 4].fill(0xff);
        let (_dir, path) = written(&damaged);
        let read = arrays(&path).and_then(|arrays| arrays[0].samples(0..64));
        assert!(read.unwrap_err().to_string().contains("some.npy"));
    }
}
