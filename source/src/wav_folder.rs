//! A user's folder of WAV files: one folder in it for each label.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bad_file::BadFile;
use super::utterance::Utterance;

/// Labels of a folder, at most.
pub const LABELS: usize = 65_536;

/// The recordings in `folder`, and what their labels are called. Labels are the folders in it, numbered in the order of their
/// names; in each, files whose names end in `.wav` are taken. What begins with a dot or an underscore is left out. A name such
/// as `ann_7.wav` says who speaks, before its first underscore.
pub fn utterances(folder: &Path) -> Result<(Vec<Utterance>, Vec<String>), BadFile> {
    let labels: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    if !(2..=LABELS).contains(&labels.len()) {
        let expected = format!("2 to {LABELS}, one for each label, with WAV files in them");
        return Err(BadFile::new(folder, format_args!("{} folders", labels.len()), expected));
    }
    let mut utterances = Vec::new();
    for (label, folder) in labels.iter().enumerate() {
        let files: Vec<PathBuf> = entries(folder)?.into_iter().filter(|path| is_wav(path)).collect();
        if files.is_empty() {
            return Err(BadFile::new(folder, "no files called *.wav", "recordings of a label"));
        }
        utterances.extend(files.into_iter().map(|path| {
            let speaker =
                path.file_stem().and_then(|stem| Some(stem.to_str()?.split_once('_')?.0.to_owned()));
            Utterance { path, label: label as u32, speaker, take: None }
        }));
    }
    Ok((utterances, labels.iter().map(|folder| name_of(folder)).collect()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in `folder` and not left out, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BadFile> {
    let paths: io::Result<Vec<PathBuf>> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths = paths.map_err(|cause| BadFile::new(folder, cause, "a folder of recordings"))?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with(['.', '_'])));
    paths.sort();
    Ok(paths)
}

fn is_wav(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav")) && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::audio::MfccOptions;
    use crate::load::load;
    use crate::room::Room;
    use crate::selection::{Recordings, Selection, Split};

    /// A folder of these files, each a tone of its own length.
    fn folder(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        for (index, file) in files.iter().enumerate() {
            let path = dir.path().join("spoken").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut writer = hound::WavWriter::create(path, spec).unwrap();
            for at in 0..1_000 + 100 * index as i32 {
                writer.write_sample(at % (20 + index as i32) * 500).unwrap();
            }
            writer.finalize().unwrap();
        }
        dir
    }

    const FILES: [&str; 7] = [
        "yes/ann_1.wav",
        "yes/bob_1.WAV",
        "no/ann_1.wav",
        "no/bob_1.wav",
        "no/bob_2.wav",
        "_noise/rain.wav",
        "no/.hidden.wav",
    ];

    fn names(dir: &Path) -> Vec<String> {
        let (utterances, _) = utterances(&dir.join("spoken")).unwrap();
        utterances.iter().map(|found| found.path.strip_prefix(dir).unwrap().display().to_string()).collect()
    }

    #[test]
    fn labels_are_folders_and_speakers_begin_names() {
        let dir = folder(&FILES);
        fs::write(dir.path().join("spoken/no/notes.txt"), "no recording").unwrap();
        fs::create_dir(dir.path().join("spoken/no/more.wav")).unwrap();
        let expected = ["no/ann_1.wav", "no/bob_1.wav", "no/bob_2.wav", "yes/ann_1.wav", "yes/bob_1.WAV"];
        assert_eq!(names(dir.path()), expected.map(|name| format!("spoken/{name}")));
        let split = Split::Speakers(vec!["ann".to_owned()]);
        let recordings = Recordings { split, mfcc: MfccOptions::default() };
        let set =
            load(&Selection::Folder { folder: "spoken".into(), recordings }, dir.path(), &Room::boundless())
                .unwrap();
        assert_eq!(
            (set.input.classes.len(), set.train.labels(), set.test.labels()),
            (2, &[0, 0, 1][..], &[0, 1][..])
        );
        // no/bob_2.wav has 1,400 samples; yes/bob_1.WAV 1,100.
        let frames = |index| set.train.shape_of(index).height;
        assert_eq!((frames(1), frames(2), set.test.shape().height), (1 + 2_800 / 200, 1 + 2_200 / 200, 15));
    }

    #[test]
    fn folders_that_hold_no_data_set_are_refused_with_their_names() {
        let refusal =
            |files: &[&str]| utterances(&folder(files).path().join("spoken")).unwrap_err().to_string();
        let one = refusal(&["yes/ann_1.wav"]);
        assert!(one.ends_with(
            "spoken: found 1 folders, expected 2 to 65536, one for each label, with WAV files in them"
        ));
        let empty = refusal(&["yes/ann_1.wav", "no/ann_1.mp3"]);
        assert!(
            empty.ends_with("spoken/no: found no files called *.wav, expected recordings of a label"),
            "{empty}"
        );
        let missing = utterances("nowhere".as_ref()).unwrap_err().to_string();
        assert!(missing.starts_with("nowhere: found No such file"), "{missing}");
    }

    #[test]
    fn of_several_broken_recordings_the_first_is_told() {
        let dir = folder(&FILES);
        for broken in ["yes/ann_1.wav", "no/bob_2.wav"] {
            fs::write(dir.path().join("spoken").join(broken), "RIFF").unwrap();
        }
        let recordings =
            Recordings { split: Split::Speakers(vec!["ann".to_owned()]), ..Recordings::default() };
        let error =
            load(&Selection::Folder { folder: "spoken".into(), recordings }, dir.path(), &Room::boundless())
                .unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with("no/bob_2.wav: found a file that ends after 4 bytes, within its header, expected the header of a WAV file"), "{error}");
    }
}
