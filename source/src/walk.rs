//! What lies in a folder, at any depth.

use std::fs;
use std::path::{Path, PathBuf};

use super::bad_file::BadFile;

/// Folders within folders, at most: links may lead in circles.
const DEPTH: usize = 16;

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path from the folder on, with slashes.
    pub name: String,
}

impl Found {
    /// The first folder on the way to it, if there is one.
    pub fn top(&self) -> Option<&str> {
        self.name.split_once('/').map(|(top, _)| top)
    }
}

/// The files in `root` and below, in the order of their names, folder by folder. What is hidden, and what archives of other
/// systems leave beside files (`__MACOSX`), is left out.
pub fn files(root: &Path) -> Result<Vec<Found>, BadFile> {
    let mut found = Vec::new();
    walk(root, "", 0, &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, name: &str, depth: usize, found: &mut Vec<Found>) -> Result<(), BadFile> {
    if depth > DEPTH {
        let expected = format!("at most {DEPTH} folders within each other");
        return Err(BadFile::new(folder, "one folder more", expected));
    }
    let unreadable = |cause| BadFile::new(folder, cause, "a folder that can be read");
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let mut entries = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    entries.sort();
    for path in entries {
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if own.starts_with('.') || own == "__MACOSX" {
            continue;
        }
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        if path.is_dir() {
            walk(&path, &name, depth + 1, found)?;
        } else {
            found.push(Found { path, name });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_at_any_depth_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for file in
            ["b/2.png", "b/1.png", "a.png", "b/c/3.png", ".hidden/4.png", "b/.5.png", "__MACOSX/6.png"]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = files(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["a.png", "b/1.png", "b/2.png", "b/c/3.png"]);
        assert_eq!((found[0].top(), found[3].top()), (None, Some("b")));
    }

    #[test]
    fn a_folder_that_leads_into_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        let error = files(dir.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("found one folder more, expected at most 16 folders within each other"),
            "{error}"
        );
    }
}
