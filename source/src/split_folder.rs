//! A folder whose folders are no labels but say what is learned from and what tests.

use std::fs;
use std::path::{Path, PathBuf};

/// What such folders are called.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 2] = ["test", "testing"];
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// The parts of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitFolder {
    /// What is learned from.
    pub train: PathBuf,
    /// What tests, if it is there.
    pub test: Option<PathBuf>,
    /// What validates, if it is there.
    pub validation: Option<PathBuf>,
}

/// The parts of the folder at `path`, if all folders in it are called like parts and there is more than one.
pub fn find(path: &Path) -> Option<SplitFolder> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| {
        path.is_dir() && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
    });
    folders.sort();
    let mut take = |names: &[&str]| {
        let called = |path: &PathBuf| {
            path.file_name().is_some_and(|own| names.iter().any(|name| own.eq_ignore_ascii_case(name)))
        };
        let place = folders.iter().position(called)?;
        Some(folders.remove(place))
    };
    let parts = SplitFolder { train: take(&TRAIN)?, test: take(&TEST), validation: take(&VALIDATION) };
    let split = parts.test.is_some() || parts.validation.is_some();
    (split && folders.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_parts_only_if_all_of_them_are() {
        let found = |folders: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for folder in folders {
                fs::create_dir(dir.path().join(folder)).unwrap();
            }
            fs::write(dir.path().join("README"), "").unwrap();
            find(dir.path()).map(|parts| (parts.test.is_some(), parts.validation.is_some()))
        };
        assert_eq!(found(&["train", "test"]), Some((true, false)));
        assert_eq!(found(&["Train", "val", ".cache"]), Some((false, true)));
        assert_eq!(found(&["training", "testing", "valid"]), Some((true, true)));
        assert_eq!(found(&["train"]), None);
        assert_eq!(found(&["train", "test", "trucks"]), None);
        assert_eq!(found(&["test", "val"]), None);
    }
}
