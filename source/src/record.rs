//! What was read of a data set's files: a manifest by which they are known again.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bad_file::BadFile;
use super::checksum::Sha256Sum;
use super::unpack;

/// A file that samples were read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// Its name in the folder that was read, behind the folder's own name.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 sum of its content, in hexadecimal digits.
    pub sha256: String,
}

/// A file that no sample could be made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its name in the folder that was read, behind the folder's own name.
    pub path: String,
    /// What was found instead of what was expected.
    pub why: String,
}

/// All files of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The SHA-256 sum of what `sha256sum` would print for all files, in their order here.
    pub sha256: String,
    /// The files, in the order in which samples stand.
    pub files: Vec<ReadFile>,
    /// Files that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// What was read of a data set, and what there is to say about it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Files whose sums were taken while they were read.
    pub files: Vec<ReadFile>,
    /// Files whose sums are taken when they are asked for.
    pub others: Vec<Unsummed>,
    /// Files that were left out.
    pub left_out: Vec<LeftOut>,
    /// What was taken for what, in sentences.
    pub notices: Vec<String>,
}

/// A file whose sum was not taken.
#[derive(Clone, Debug)]
pub struct Unsummed {
    /// What the manifest calls it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether the sum is that of its content, where it is gzipped.
    pub unpacked: bool,
    /// Its sum, once it was taken all the same.
    pub known: Option<ReadFile>,
}

impl ReadFile {
    /// A file of this content.
    pub fn of(path: String, content: &[u8]) -> Self {
        Self { path, bytes: content.len() as u64, sha256: Sha256Sum::of(content).to_string() }
    }

    /// The file at `place`, which is read for that.
    pub fn sum(place: &Path, path: String) -> Result<Self, BadFile> {
        let sum = File::open(place).and_then(|file| Sha256Sum::of_at_most(u64::MAX - 1, file));
        let (bytes, sum) = sum.map_err(|cause| BadFile::new(place, cause, "a file that can be read"))?;
        Ok(Self { path, bytes, sha256: sum.to_string() })
    }
}

impl Unsummed {
    /// A user's file.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, path: path.to_owned(), unpacked: false, known: None }
    }

    fn sum(&self) -> Result<ReadFile, BadFile> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        if !self.unpacked {
            return ReadFile::sum(&self.path, self.name.clone());
        }
        let sum = unpack::open(&self.path)
            .and_then(|(_, reader)| Sha256Sum::of_at_most(u64::MAX - 1, reader))
            .map_err(|cause| BadFile::new(&self.path, cause, "a file that can be read"));
        let (bytes, sum) = sum?;
        Ok(ReadFile { path: self.name.clone(), bytes, sha256: sum.to_string() })
    }
}

impl Record {
    /// Files of a known data set, which are known by what they hold.
    pub fn of_known<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let other = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
            Unsummed { name, path: path.to_owned(), unpacked: true, known: None }
        };
        Self { others: paths.into_iter().map(other).collect(), ..Self::default() }
    }

    /// Takes note of a user's file, whose sum is taken when it is asked for.
    pub fn note(&mut self, path: &Path) {
        self.others.push(Unsummed::of(path));
    }

    /// The sum of a file that was taken note of, which is kept.
    pub fn sum_of(&mut self, path: &Path) -> Result<ReadFile, BadFile> {
        let noted = self.others.iter_mut().find(|other| other.path == path);
        let noted = noted.expect("it was taken note of");
        let sum = noted.sum()?;
        noted.known = Some(sum.clone());
        Ok(sum)
    }

    /// Takes note of a file of labels, if there is one.
    pub fn note_labels(&mut self, labels: Option<&Path>) {
        if let Some(path) = labels {
            self.note(path);
        }
    }

    /// Takes the sums that were not taken yet, on all cores.
    pub fn manifest(&self) -> Result<Manifest, BadFile> {
        let others: Vec<_> = self.others.par_iter().map(Unsummed::sum).collect();
        let others = others.into_iter().collect::<Result<Vec<ReadFile>, _>>()?;
        let files: Vec<ReadFile> = self.files.iter().cloned().chain(others).collect();
        // As `sha256sum` prints them.
        let mut lines = String::new();
        for ReadFile { sha256, path, .. } in &files {
            writeln!(lines, "{sha256}  {path}").expect("text");
        }
        let sha256 = Sha256Sum::of(lines.as_bytes()).to_string();
        Ok(Manifest { sha256, files, left_out: self.left_out.clone() })
    }
}

impl Manifest {
    /// The first difference of what is there now, in words.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let pairs = self.files.iter().zip(&now.files);
        for (before, now) in pairs {
            if before.path != now.path {
                let gone = before.path < now.path;
                let (name, what) = if gone { (&before.path, "is gone") } else { (&now.path, "is new") };
                return Some(format!("{name} {what}"));
            }
            if before != now {
                let bytes = |file: &ReadFile| file.bytes;
                let lengths = format!("{} bytes then, {} now", bytes(before), bytes(now));
                return Some(format!("{} has another content ({lengths})", now.path));
            }
        }
        let shared = self.files.len().min(now.files.len());
        let added = now.files.get(shared).map(|file| format!("{} is new", file.path));
        added.or_else(|| self.files.get(shared).map(|file| format!("{} is gone", file.path)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Room;

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        let files = files.iter().map(|(path, content)| ReadFile::of((*path).to_owned(), content.as_bytes()));
        Record { files: files.collect(), ..Record::default() }.manifest().unwrap()
    }

    #[test]
    fn the_total_is_the_sum_of_what_sha256sum_prints() {
        let file = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a/b.png\n";
        assert_eq!(manifest(&[("a/b.png", "abc")]).sha256, Sha256Sum::of(file.as_bytes()).to_string());
    }

    #[test]
    fn the_first_difference_names_its_file() {
        let before = manifest(&[("a", "1"), ("b", "2"), ("d", "3")]);
        for (now, difference) in [
            (manifest(&[("a", "1"), ("b", "2"), ("d", "3")]), None),
            (
                manifest(&[("a", "1"), ("b", "20"), ("d", "3")]),
                Some("b has another content (1 bytes then, 2 now)"),
            ),
            (manifest(&[("a", "1"), ("d", "3")]), Some("b is gone")),
            (manifest(&[("a", "1"), ("b", "2"), ("c", "5"), ("d", "3")]), Some("c is new")),
            (manifest(&[("a", "1"), ("b", "2"), ("d", "3"), ("e", "4")]), Some("e is new")),
            (manifest(&[("a", "1"), ("b", "2")]), Some("d is gone")),
        ] {
            assert_eq!(before.difference(&now).as_deref(), difference);
            assert_eq!(before.sha256 == now.sha256, difference.is_none());
        }
    }

    #[test]
    fn a_gzipped_file_of_a_known_data_set_is_the_same_as_the_plain_one() {
        use crate::synthetic;
        let sums = |gzipped| {
            let dir = synthetic::Set::default().write(gzipped);
            let set = crate::load(&crate::DataSetName::Mnist.into(), dir.path(), &Room::boundless()).unwrap();
            set.record.manifest().unwrap()
        };
        let plain = sums([false; 4]);
        assert_eq!((plain.files.len(), plain.files[0].path.as_str()), (4, "train-images-idx3-ubyte"));
        assert_eq!(sums([true; 4]), plain);
    }
}
