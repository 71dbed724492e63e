//! A user's folder of WAV files: the folders in it are labels, or it has none.

use std::path::Path;

use rayon::prelude::*;

use super::audio::{self, MfccOptions};
use super::bad_file::BadFile;
use super::error::DataError;
use super::folder_labels::labels;
use super::input::{InputKind, RecordingInput};
use super::names::Names;
use super::opened::{Input, Reader};
use super::recording_files::RecordingFiles;
use super::utterance::Utterance;
use super::walk::{self, Found};

/// Whether `path` is called like a recording.
pub fn is_recording(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wav"))
}

/// What the recordings in these folders, or below, are; those that are broken are left out of account, if they may be.
pub fn kind(folders: &[&Path], mfcc: MfccOptions, skip_broken: bool) -> Result<InputKind, DataError> {
    let mut longest = 0;
    for folder in folders {
        let lengths: Vec<_> = recordings(folder)?.par_iter().map(|file| audio::frames(&file.path)).collect();
        for length in lengths {
            match length {
                Ok(frames) => longest = longest.max(frames),
                Err(_) if skip_broken => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if longest == 0 {
        return Err(BadFile::new(folders[0], "no recording that can be read", "one at least").into());
    }
    Ok(InputKind::Recordings(RecordingInput { frames: longest, mfcc, moments: None }))
}

/// The recordings of a folder as `input` says; classes are what the folders in it are called.
pub fn open(path: &Path, input: &RecordingInput) -> Result<Input, DataError> {
    let files = recordings(path)?;
    let (labels, classes) = labels(path, &files)?;
    let root = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let names: Names = files.iter().map(|file| file.name.as_str()).collect();
    let files = RecordingFiles::new(root, names.clone(), input.clone());
    Ok(Input::new(Reader::Recordings(files), Some(names), labels, classes))
}

/// Recordings called so, with these labels: a name such as `yes/ann_7.wav` says who speaks, before its first underscore.
pub fn utterances<'a>(names: impl Iterator<Item = &'a str>, labels: &[u32]) -> Vec<Utterance> {
    let utterance = |(index, name): (usize, &str)| {
        let own = name.rsplit('/').next().unwrap_or_default();
        let speaker = own.split_once('_').map(|(speaker, _)| speaker.to_owned());
        let label = labels.get(index).copied().unwrap_or_default();
        Utterance { path: name.into(), label, speaker, take: None }
    };
    names.enumerate().map(utterance).collect()
}

fn recordings(path: &Path) -> Result<Vec<Found>, BadFile> {
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![Found { path: path.to_owned(), name }]);
    }
    let mut files = walk::files(path)?;
    // What begins so holds noise, in sets of spoken words.
    files.retain(|file| is_recording(&file.path) && !file.name.starts_with('_'));
    if files.is_empty() {
        return Err(BadFile::new(path, "no files called *.wav", "a folder of recordings"));
    }
    Ok(files)
}
