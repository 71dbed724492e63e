//! Names that programs and people write in several ways: `MNIST`, `Fashion_MNIST`, `train-images.idx3-ubyte`.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How many entries of a folder are looked at.
const MOST_ENTRIES: usize = 10_000;

/// `name` without what its spellings differ in: case and everything but letters and digits.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether the last component of `path` is `name`, however it is spelt.
pub fn is(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| plain(&found.to_string_lossy()) == plain(name))
}

/// What is in `folder`, in the order of the names; nothing where it cannot be read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// A folder, whose entries are read once, if at all.
pub struct Folder<'a> {
    path: &'a Path,
    /// What is in it, by plain names.
    entries: OnceCell<HashMap<String, Vec<PathBuf>>>,
}

impl<'a> Folder<'a> {
    /// The folder at `path`; it need not be there.
    pub fn new(path: &'a Path) -> Self {
        Self { path, entries: OnceCell::new() }
    }

    /// Where it is.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// The file `name` in it, however it is spelt; also in a folder of the file's own name, where Kaggle's archives have it.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let found = self.spelt().get(&plain(name))?;
        let inner = found.iter().filter(|path| path.is_dir()).flat_map(|path| entries(path));
        let inner = inner.filter(|path| is(path, name));
        found.iter().cloned().chain(inner).find(|path| path.is_file())
    }

    fn spelt(&self) -> &HashMap<String, Vec<PathBuf>> {
        self.entries.get_or_init(|| {
            let mut spelt: HashMap<String, Vec<PathBuf>> = HashMap::new();
            for path in entries(self.path) {
                let name = path.file_name().map(|name| plain(&name.to_string_lossy()));
                spelt.entry(name.unwrap_or_default()).or_default().push(path);
            }
            spelt
        })
    }
}

/// The folders whose path from `data_dir` is `place`, such as `mnist/raw`, however they are spelt. `data_dir` may end
/// with the first components of the place, or with all of it.
pub fn folders(data_dir: &Path, place: &str) -> Vec<PathBuf> {
    let names: Vec<&str> = place.split('/').filter(|name| !name.is_empty()).collect();
    let whole = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let begun = (0..=names.len()).filter(|&count| ends_with(&whole, &names[..count]));
    begun.flat_map(|count| below(data_dir, &names[count..])).collect()
}

fn ends_with(path: &Path, names: &[&str]) -> bool {
    let mut ancestors = path.ancestors();
    names.iter().rev().all(|name| ancestors.next().is_some_and(|path| is(path, name)))
}

fn below(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let Some((name, rest)) = names.split_first() else { return vec![folder.to_owned()] };
    let inner = entries(folder).into_iter().filter(|path| is(path, name) && path.is_dir());
    inner.flat_map(|path| below(&path, rest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_name_are_alike_and_other_names_are_not() {
        for name in ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "Train_Images IDX3 ubyte"] {
            assert!(is(Path::new(name), "train-images-idx3-ubyte"), "{name}");
        }
        for name in ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", ".."] {
            assert!(!is(Path::new(name), "train-images-idx3-ubyte"), "{name}");
        }
    }

    #[test]
    fn a_file_is_found_however_it_is_spelt_and_in_a_folder_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (flat, nested) = (dir.path().join("Some_File.TXT"), dir.path().join("other-file"));
        fs::write(&flat, "").unwrap();
        fs::create_dir(&nested).unwrap();
        fs::write(nested.join("other.file"), "").unwrap();
        let folder = Folder::new(dir.path());
        assert_eq!(folder.file("some-file.txt"), Some(flat));
        assert_eq!(folder.file("other-file"), Some(nested.join("other.file")));
        assert_eq!(folder.file("somefile"), None);
        assert_eq!(Folder::new(&nested.join("nowhere")).file("other-file"), None);
    }

    #[test]
    fn a_place_is_found_from_above_and_from_within() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("MNIST").join("raw");
        fs::create_dir_all(&raw).unwrap();
        for from in [dir.path(), &dir.path().join("MNIST"), &raw] {
            assert_eq!(folders(from, "mnist/raw"), std::slice::from_ref(&raw), "{}", from.display());
        }
        assert_eq!(folders(&raw, "mnist"), Vec::<PathBuf>::new());
        assert_eq!(folders(&raw, ""), std::slice::from_ref(&raw));
    }
}
