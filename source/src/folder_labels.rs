//! Labels of a user's folder of files: the folders in it, or a list as Tiny ImageNet has one.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::bad_file::BadFile;
use super::classes::{self, CLASSES};
use super::walk::Found;

/// The list of labels of Tiny ImageNet's validation images: on each line a file's name and its label, with tabs between.
const ANNOTATIONS: &str = "val_annotations.txt";
/// Bytes of such a list, at most.
const ANNOTATION_BYTES: u64 = 64 << 20;

/// The label of each file of a folder, and what they are called; none where all files lie in one folder.
pub fn labels(folder: &Path, files: &[Found]) -> Result<(Vec<u32>, Vec<String>), BadFile> {
    let list = folder.join(ANNOTATIONS);
    if list.is_file() {
        return annotated(&list, files);
    }
    let mut classes: Vec<&str> = files.iter().filter_map(Found::top).collect();
    classes.dedup();
    if let Some(outside) = files.iter().find(|file| file.top().is_none())
        && let Some(inside) = classes.first()
    {
        let expected = format!("all files in it, or all in folders such as {inside}, which are their labels");
        return Err(BadFile::new(
            &outside.path,
            format_args!("beside folders of such files in {}", folder.display()),
            expected,
        ));
    }
    if classes.len() < 2 {
        return Ok((Vec::new(), Vec::new()));
    }
    if classes.len() > CLASSES {
        let found = format!("{} folders", classes.len());
        return Err(BadFile::new(folder, found, format_args!("at most {CLASSES}")));
    }
    let mut labels = Vec::with_capacity(files.len());
    let mut label = 0;
    for file in files {
        // They stand in the order of the folders.
        while file.top() != Some(classes[label]) {
            label += 1;
        }
        labels.push(label as u32);
    }
    Ok((labels, classes.into_iter().map(str::to_owned).collect()))
}

/// Labels as a list has them.
fn annotated(list: &Path, files: &[Found]) -> Result<(Vec<u32>, Vec<String>), BadFile> {
    const EXPECTED: &str = "lines of a file's name, a tab and its label";
    let mut text = String::new();
    let read = File::open(list).and_then(|file| file.take(ANNOTATION_BYTES).read_to_string(&mut text));
    read.map_err(|cause| BadFile::new(list, cause, EXPECTED))?;
    let mut labels = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut cells = line.split('\t');
        let (Some(name), Some(label)) = (cells.next(), cells.next()) else {
            return Err(BadFile::new(list, format_args!("{line:?} in line {number}"), EXPECTED));
        };
        labels.insert(name, label);
    }
    let label = |file: &Found| {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        labels
            .get(name)
            .copied()
            .ok_or_else(|| BadFile::new(list, format_args!("no line of {}", file.name), EXPECTED))
    };
    let texts = files.iter().map(label).collect::<Result<Vec<&str>, _>>()?;
    classes::counted(&texts).map_err(|found| BadFile::new(list, found, format_args!("at most {CLASSES}")))
}
