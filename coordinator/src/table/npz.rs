//! NumPy's `.npz`: several arrays in a ZIP archive, not compressed, one after the other.

use std::io::{self, BufWriter, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::part_file::PartFile;

/// An archive of arrays that grows. What is written goes to the array that was begun last.
pub struct NpzFile(ZipWriter<BufWriter<PartFile>>);

impl NpzFile {
    /// Begins an archive.
    pub fn begin(part: PartFile) -> Self {
        Self(ZipWriter::new(BufWriter::new(part)))
    }

    /// Begins the file of an array, whose header follows.
    pub fn begin_array(&mut self, name: &str) -> anyhow::Result<&mut (impl Write + use<>)> {
        // Arrays may have more than 4 GiB.
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
        self.0.start_file(format!("{name}.npy"), options)?;
        Ok(&mut self.0)
    }

    /// Where the last array goes on.
    pub fn array(&mut self) -> &mut impl Write {
        &mut self.0
    }

    /// All arrays are there.
    pub fn finish(self) -> anyhow::Result<()> {
        self.0.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.keep()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn on_a_full_disk_the_error_names_the_file_and_no_part_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = NpzFile::begin(PartFile::on_a_full_disk(&dir.path().join("out.npz")));
        let error = archive.begin_array("features").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("out.npz: No space left on device"), "{error}");
        drop(archive);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
