//! A file of decoded samples: their values, then what is said of them.
//!
//! ```text
//! values | what is said of them, as JSON | CRC-32 of both | length of what is said, 8 bytes | MAGIC
//! ```
//!
//! It is written beside its place, synced and renamed. One that is broken is none: what samples were decoded from is still there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Crc;
use serde::{Deserialize, Serialize};

use super::held::{FileValues, Held, Value};

/// How a file ends.
const MAGIC: &[u8; 8] = b"SAMPLES1";
/// Bytes behind what is said.
const LAST: u64 = 20;
/// Bytes of what is said of samples, at most.
const SAID: u64 = 1 << 32;
/// Bytes that are read at a time where all are.
const BUFFER: usize = 1 << 20;

/// What a file says of its samples.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// What they were decoded from, and how.
    pub key: String,
    /// How many values each has; empty where all have as many.
    pub lengths: Vec<usize>,
    /// Samples that there are not, by their places among all, and why.
    pub left_out: Vec<(usize, String)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    said: Said,
    values: usize,
}

/// The samples in the file at `path`, if it is whole and has this key.
pub fn open<T: Value>(path: &Path, key: &str) -> io::Result<Option<(Held<T>, Said)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(End { said, values }) = end::<T>(&file)? else { return Ok(None) };
    if said.key != key {
        return Ok(None);
    }
    let values = FileValues { file: Arc::new(file), path: path.into(), start: 0, count: values };
    Ok(Some((Held::File(values), said)))
}

/// What a file says, if all of it is as it was written.
fn end<T: Value>(file: &File) -> io::Result<Option<End>> {
    let Some(place) = file.metadata()?.len().checked_sub(LAST) else { return Ok(None) };
    let mut last = [0; LAST as usize];
    file.read_exact_at(&mut last, place)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let (crc32, length) = (number(&last[..4]), number(&last[4..12]));
    let Some(start) = place.checked_sub(length).filter(|_| last[12..] == *MAGIC && length <= SAID) else {
        return Ok(None);
    };
    if u64::from(sum(file, place)?) != crc32 {
        return Ok(None);
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, start)?;
    let end: Option<End> = serde_json::from_slice(&text).ok();
    Ok(end.filter(|end| end.values.checked_mul(T::BYTES).is_some_and(|bytes| bytes as u64 == start)))
}

/// The sum of the first bytes of a file.
fn sum(file: &File, bytes: u64) -> io::Result<u32> {
    let (mut crc, mut buffer) = (Crc::new(), vec![0; BUFFER]);
    let mut reader = file.take(bytes);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(crc.sum()),
            read => crc.update(&buffer[..read]),
        }
    }
}

/// A file that is being written.
pub struct SampleWriter<T> {
    file: BufWriter<File>,
    path: PathBuf,
    part: PathBuf,
    crc: Crc,
    values: usize,
    of: PhantomData<T>,
}

impl<T: Value> SampleWriter<T> {
    /// What becomes the file at `path`. Whoever does this has a lock on its folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let part = path.with_extension("part");
        let file = BufWriter::with_capacity(BUFFER, File::create(&part)?);
        Ok(Self { file, path: path.to_owned(), part, crc: Crc::new(), values: 0, of: PhantomData })
    }

    /// Appends values.
    pub fn push(&mut self, values: &[T]) -> io::Result<()> {
        let bytes = T::to_bytes(values);
        self.crc.update(&bytes);
        self.values += values.len();
        self.file.write_all(&bytes)
    }

    /// Gives the file its name, and the values out.
    pub fn finish(mut self, said: Said) -> io::Result<Held<T>> {
        let values = self.values;
        let text = serde_json::to_vec(&End { said, values })?;
        self.crc.update(&text);
        self.file.write_all(&text)?;
        self.file.write_all(&self.crc.sum().to_le_bytes())?;
        self.file.write_all(&(text.len() as u64).to_le_bytes())?;
        self.file.write_all(MAGIC)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.part, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let file = Arc::new(File::open(&self.path)?);
        let values = FileValues { file, path: self.path.as_path().into(), start: 0, count: values };
        Ok(Held::File(values))
    }
}

/// What did not become whole is not kept.
impl<T> Drop for SampleWriter<T> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> PathBuf {
        let path = folder.join("samples");
        let mut writer = SampleWriter::create(&path).unwrap();
        writer.push(&[1.5_f32, f32::NAN]).unwrap();
        writer.push(&[-3.0]).unwrap();
        let said = Said { key: "k".to_owned(), lengths: vec![1, 2], ..Said::default() };
        writer.finish(said).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_at_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let (held, said) = open::<f32>(&path, "k").unwrap().unwrap();
        assert_eq!((held.len(), said.lengths), (3, vec![1, 2]));
        assert_eq!(&*held.at(2..3).unwrap(), [-3.0]);
        assert!(held.at(0..2).unwrap()[1].is_nan());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_broken_cut_off_or_of_another_key_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        assert!(open::<f32>(&path, "other").unwrap().is_none());
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(open::<f32>(&path, "k").unwrap().is_none(), "{length} bytes");
        }
        for byte in 0..whole.len() {
            let mut broken = whole.clone();
            broken[byte] ^= 128;
            fs::write(&path, &broken).unwrap();
            assert!(open::<f32>(&path, "k").unwrap().is_none(), "byte {byte}");
        }
    }

    #[test]
    fn what_does_not_become_whole_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = SampleWriter::create(&dir.path().join("samples")).unwrap();
        writer.push(&[1_u8]).unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
