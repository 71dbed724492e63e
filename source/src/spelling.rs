//! Names that programs and people write in several ways: `MNIST`, `Fashion_MNIST`, `train-images.idx3-ubyte`.

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

/// The file `name` of `folder`, however it is spelt; also in a folder of the file's own name, where Kaggle's archives
/// have it.
pub fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    let found: Vec<PathBuf> = entries(folder).into_iter().filter(|path| is(path, name)).collect();
    let inner = found.iter().filter(|path| path.is_dir()).flat_map(|path| entries(path));
    let inner = inner.filter(|path| is(path, name));
    found.iter().cloned().chain(inner).find(|path| path.is_file())
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
