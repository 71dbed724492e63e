//! The data sets that there are, and which are here.

use std::io::{self, Write};
use std::path::Path;

use super::catalog::official;
use super::folder;
use super::hint::fetch_command;
use super::name::DataSetName;

/// Writes one line for every known data set: its name, its size, and where it is or how to get it.
pub fn list(data_dir: &Path, out: &mut impl Write) -> io::Result<()> {
    for name in DataSetName::ALL {
        let Some(official) = official(name) else {
            writeln!(out, "{name:<14} {:<47} part of this program", "120 + 30 rows 1x1x4")?;
            continue;
        };
        write!(out, "{name:<14} {:<47} ", official.contents())?;
        match folder::find(name, data_dir) {
            Ok(files) => writeln!(out, "in {}", files.folder().display())?,
            Err(_) => writeln!(
                out,
                "not here: `{}` downloads {}{} to {}",
                fetch_command(name, data_dir),
                if official.is_repacked() { "at most " } else { "" },
                official.download_size().display().si(),
                folder::own(official, data_dir).display(),
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn the_list_says_where_a_set_is_or_how_to_get_it() {
        let dir = synthetic::Set::default().write([true; 4]);
        let mut text = Vec::new();
        list(dir.path(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), DataSetName::ALL.len());
        assert!(text.contains(&format!("in {}", dir.path().join("mnist").display())), "{text}");

        let nowhere = tempfile::tempdir().unwrap();
        let mut text = Vec::new();
        list(nowhere.path(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for (name, size) in [("mnist", "11.6 MB"), ("stl10", "2.6 GB")] {
            let data = nowhere.path().display();
            let hint = format!("`coordinator data fetch {name} --data {data}` downloads {size} to");
            assert!(text.contains(&hint), "{text}");
        }
        assert!(text.contains("5000 + 8000 images 96x96x3, 100000 unlabeled"), "{text}");
    }
}
