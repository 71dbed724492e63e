//! Files that may be gzipped, read as if they were not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// How a file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As it is.
    Raw,
    /// As a gzip file, of one or more members.
    Gzipped,
}

/// How a gzip file starts: its magic number, then 8 for deflate, the only method there is. Files of pixels have no
/// header of their own to tell them by.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// The content of the file at `path`, unpacked if it starts like a gzip file, whatever it is called.
///
/// Anything behind the end of the gzip data is an error when it is reached.
pub fn open(path: &Path) -> io::Result<(Stored, Box<dyn Read + Send>)> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP) {
        Ok((Stored::Gzipped, Box::new(MultiGzDecoder::new(file))))
    } else {
        Ok((Stored::Raw, Box::new(file)))
    }
}
