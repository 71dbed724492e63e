//! All samples of an input: in memory, or in a file where they are more than it has room for.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::bad_file::BadFile;
use super::checksum::Sha256Sum;
use super::error::DataError;
use super::examples::Examples;
use super::held::{Held, Value};
use super::lock::lock;
use super::opened::{Input, Reader};
use super::progress::Progress;
use super::record::{LeftOut, ReadFile, Record};
use super::room::Room;
use super::sample_file::{self, Said, SampleWriter};
use super::work::{Came, Sum, Work};

/// The form of decoded samples: another one where the same files become other values.
const FORM: u32 = 1;
/// What a file of decoded samples is called in its folder.
const FILE: &str = "samples";

/// How samples are taken, and what becomes known of them.
pub struct Taking<'a> {
    /// Where they are from.
    pub path: &'a Path,
    /// What that is called.
    pub name: &'a str,
    /// Whether what is broken is left out.
    pub skip_broken: bool,
    /// Where samples come to lie.
    pub room: &'a mut Room,
    /// Takes note of what was read and left out.
    pub record: &'a mut Record,
}

/// All samples of an input, with their labels, and their names where they have any.
pub fn whole(input: &Input, taking: &mut Taking<'_>) -> Result<Examples, DataError> {
    let (all, came) = match input.reader() {
        Reader::Known(examples) => (examples.clone(), Came::default()),
        Reader::Images(files) => {
            let (held, came) = hold(&files.work(), taking)?;
            (files.examples(held), came)
        }
        Reader::Recordings(files) => {
            let (held, came) = hold(&files.work(), taking)?;
            (files.examples(held, &came.lengths), came)
        }
        Reader::Array(samples) if samples.are_images() => {
            let (held, came) = hold(&samples.work_of_pixels(), taking)?;
            (samples.images(held), came)
        }
        Reader::Array(samples) => {
            let (held, came) = hold(&samples.work_of_numbers(), taking)?;
            (samples.rows(held), came)
        }
        Reader::Table(samples) => {
            let (held, came) = hold(&samples.work(taking.skip_broken), taking)?;
            (samples.examples(held), came)
        }
    };
    let gone: Vec<usize> = came.left_out.iter().map(|(index, _)| *index).collect();
    let kept: Vec<usize> = (0..input.len()).filter(|index| gone.binary_search(index).is_err()).collect();
    note(input, came, taking);
    let label = |&index: &usize| input.labels().get(index).copied();
    let all = all.with_labels(kept.iter().filter_map(label).collect());
    Ok(match input.names() {
        Some(names) if gone.is_empty() => all.with_names(names.clone()),
        Some(names) => all.with_names(kept.iter().map(|&index| names.os(index)).collect()),
        None if gone.is_empty() => all,
        None => all.with_names(kept.iter().map(ToString::to_string).collect()),
    })
}

/// Takes note of what was read and left out: each file as the folder's name and its own, rows as their table.
fn note(input: &Input, came: Came, taking: &mut Taking<'_>) {
    let Taking { name: folder, record, .. } = taking;
    let files = came.files.into_iter();
    record.files.extend(files.map(|file| ReadFile { path: format!("{folder}/{}", file.path), ..file }));
    let of_files = matches!(input.reader(), Reader::Images(_) | Reader::Recordings(_));
    for (index, why) in came.left_out {
        let path = if of_files { format!("{folder}/{}", input.name(index)) } else { (*folder).to_owned() };
        record.left_out.push(LeftOut { path, why });
    }
}

/// All values: in memory if there is room, otherwise in a file.
fn hold<T: Value>(work: &Work<'_, T>, taking: &mut Taking<'_>) -> Result<(Held<T>, Came), DataError> {
    if taking.room.take(work.bytes()) {
        // As they come: how many there will be is a file's word.
        let mut values = Vec::new();
        let mut push = |more: &[T]| {
            values.extend_from_slice(more);
            Ok::<_, DataError>(())
        };
        let came = work.all(taking.skip_broken, &mut push)?;
        return Ok((values.into(), came));
    }
    let (held, came, place) = match &work.stored {
        Some(stored) => {
            // Each is looked at once, for it may be no number.
            let came = work.all(taking.skip_broken, &mut |_| Ok::<_, DataError>(()))?;
            (Held::File(stored.clone()), came, taking.path.to_owned())
        }
        None => hold_in_file(work, taking)?,
    };
    let bytes = |bytes: u64| ByteSize(bytes).display().si();
    taking.record.notices.push(format!(
        "{}: {} samples of {} together, where {} of memory are left for them, are read from {} as they are needed",
        taking.path.display(),
        work.samples - came.left_out.len(),
        bytes(held.len() as u64 * T::BYTES as u64),
        bytes(taking.room.memory()),
        place.display()
    ));
    Ok((held, came))
}

/// Values in a file of decoded samples, which is made if it is not there, and the file.
fn hold_in_file<T: Value>(
    work: &Work<'_, T>,
    taking: &mut Taking<'_>,
) -> Result<(Held<T>, Came, PathBuf), DataError> {
    let sums = match &work.sums {
        Some(sums) => sums(),
        None => vec![taking.record.sum_of(taking.path)],
    };
    let key = key(&work.decoding, taking.skip_broken, &sums);
    let folder = taking.room.folder().join(&key[..32]);
    let failed = |cause| DataError::Decoded { path: folder.clone(), bytes: work.bytes(), cause };
    fs::create_dir_all(&folder).map_err(failed)?;
    let _locked = lock(&folder, Some("decodes these samples")).map_err(failed)?;
    let path = folder.join(FILE);
    if let Some((held, Said { lengths, left_out, .. })) = sample_file::open(&path, &key).map_err(failed)? {
        let gone = |index: usize| left_out.binary_search_by_key(&index, |(gone, _)| *gone).is_ok();
        let files = if work.sums.is_some() { sums } else { Vec::new() };
        let kept = files.into_iter().enumerate().filter(|(index, _)| !gone(*index));
        let files = kept.map(|(_, sum)| sum).collect::<Result<_, _>>()?;
        return Ok((held, Came { files, lengths, left_out }, path));
    }
    let mut progress = Progress::new(true, &format!("{}, decoded", taking.name), work.bytes());
    let mut writer = SampleWriter::create(&path).map_err(failed)?;
    let mut written = 0;
    let mut push = |values: &[T]| {
        written += (values.len() * T::BYTES) as u64;
        progress.set(written);
        writer.push(values).map_err(failed)
    };
    let came = work.all(taking.skip_broken, &mut push)?;
    check_unchanged(&came, &sums, taking.path)?;
    let said = Said { key, lengths: came.lengths.clone(), left_out: came.left_out.clone() };
    Ok((writer.finish(said).map_err(failed)?, came, path))
}

/// What values follow from: the files' content, how they are decoded, and by which version.
fn key(decoding: &str, skip_broken: bool, sums: &[Sum]) -> String {
    let mut text = format!("{FORM} {} {decoding} {skip_broken}", env!("CARGO_PKG_VERSION"));
    for sum in sums {
        match sum {
            Ok(file) => write!(text, "\n{}  {}", file.sha256, file.path),
            Err(error) => write!(text, "\n{error}"),
        }
        .expect("text");
    }
    Sha256Sum::of(text.as_bytes()).to_string()
}

/// Files that were decoded must be those whose sums were taken before.
fn check_unchanged(came: &Came, sums: &[Sum], path: &Path) -> Result<(), BadFile> {
    let mut before = sums.iter().flatten();
    match came.files.iter().find(|now| !before.any(|before| before == *now)) {
        Some(now) => {
            Err(BadFile::new(&path.join(&now.path), "another content than a moment before", "one that stays"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use scff::seed::Seed;
    use tempfile::TempDir;

    use super::*;
    use crate::data_set::DataSet;
    use crate::files::data_set;
    use crate::selection::FileSelection;
    use crate::synthetic::{floats, folder, npy, samples};
    use crate::table_options::{Missing, TableOptions};

    fn selection(dir: &TempDir, name: &str) -> FileSelection {
        FileSelection { test: Some(0.0), ..FileSelection::new(dir.path().join(name), Seed(1)) }
    }

    /// A tone of so many samples at 8 kHz.
    fn write_wav(path: &Path, samples: usize) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for at in 0..samples {
            writer.write_sample(((at * 37 % 101) as i16 - 50) * 200).unwrap();
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn samples_that_memory_has_no_room_for_are_the_same_from_a_file() {
        let folder = room_folder();
        for (_dir, selection) in every_form() {
            let in_memory = data_set(&selection, &Room::boundless()).unwrap();
            let room = Room::new(0, folder.path().to_owned());
            for again in [false, true] {
                let mut set = data_set(&selection, &room).unwrap();
                let parts = [(&set.train, &in_memory.train), (&set.test, &in_memory.test)];
                let unlabeled = set.unlabeled.iter().zip(&in_memory.unlabeled);
                for (found, expected) in parts.into_iter().chain(unlabeled) {
                    assert_same(found, expected);
                }
                let notices = set.record.notices.join("");
                assert!(notices.contains("as they are needed"), "{again}: {notices}");
                assert_eq!(set.record.manifest().unwrap(), in_memory.record.manifest().unwrap());
                set.train = set.train.subset(&[]);
            }
        }
    }

    #[test]
    fn a_file_of_samples_is_made_anew_where_it_is_broken_or_its_data_are_others() {
        let (dir, selection) = images();
        let folder = room_folder();
        let room = Room::new(0, folder.path().to_owned());
        let first = |set: &DataSet| (samples(set.unlabeled.as_ref().unwrap())[0][0] * 255.0).round() as u8;
        let before = first(&data_set(&selection, &room).unwrap());
        let made = walk_samples(folder.path());
        assert_eq!(made.len(), 1);
        fs::write(&made[0], "broken").unwrap();
        assert_eq!(first(&data_set(&selection, &room).unwrap()), before);
        ::image::GrayImage::from_pixel(4, 4, ::image::Luma([255])).save(dir.path().join("0.png")).unwrap();
        assert_eq!(first(&data_set(&selection, &room).unwrap()), 255);
        assert_eq!(walk_samples(folder.path()).len(), 2);
    }

    #[test]
    fn arrays_are_read_where_they_are() {
        let rows = npy("<f4", false, "(2, 2)", &floats(&[1.0, 2.0, 3.0, 4.0]));
        let nan = npy("<f4", false, "(1, 2)", &floats(&[1.0, f32::NAN]));
        let dir = folder(&[("rows.npy", &rows), ("nan.npy", &nan)]);
        let folder = room_folder();
        let room = Room::new(0, folder.path().to_owned());
        let set = data_set(&selection(&dir, "rows.npy"), &room).unwrap();
        assert_eq!(samples(&set.unlabeled.unwrap()), [[1.0, 2.0], [3.0, 4.0]]);
        assert!(walk_samples(folder.path()).is_empty(), "nothing is copied");
        let error = data_set(&selection(&dir, "nan.npy"), &room).unwrap_err().to_string();
        assert!(error.contains("nan.npy: found NaN in sample 0"), "{error}");
    }

    #[test]
    fn broken_files_are_left_out_from_a_file_of_samples_too() {
        let (dir, selection) = images();
        fs::write(dir.path().join("1.png"), "broken").unwrap();
        let folder = room_folder();
        let room = Room::new(0, folder.path().to_owned());
        let error = data_set(&selection, &room).unwrap_err().to_string();
        assert!(error.contains("1.png: found bytes"), "{error}");
        for _ in 0..2 {
            let selection = FileSelection { skip_broken: true, ..selection.clone() };
            let set = data_set(&selection, &room).unwrap();
            assert_eq!((set.unlabeled.unwrap().len(), set.record.left_out.len()), (3, 1));
            assert!(set.record.left_out[0].path.ends_with("/1.png"));
        }
    }

    #[test]
    fn where_there_is_no_room_at_all_one_error_says_what_is_needed() {
        let (dir, selection) = images();
        let file = dir.path().join("0.png").join("no folder");
        let error = data_set(&selection, &Room::new(0, file)).unwrap_err().to_string();
        assert!(error.contains("64 B are needed for decoded samples: --data-cache names another"), "{error}");
    }

    fn room_folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    /// Four grey images.
    fn images() -> (TempDir, FileSelection) {
        let dir = folder(&[]);
        for index in 0..4_u8 {
            let image =
                ::image::GrayImage::from_fn(4, 4, |x, y| ::image::Luma([index * 50 + (x + 4 * y) as u8]));
            image.save(dir.path().join(format!("{index}.png"))).unwrap();
        }
        let selection = FileSelection::new(dir.path().to_owned(), Seed(1));
        (dir, selection)
    }

    /// Images, a table, an array of doubles and recordings.
    fn every_form() -> Vec<(TempDir, FileSelection)> {
        let table = folder(&[("a.csv", b"x,y,label\n1,2,a\n3,?,b\n5,6,b\n7,8,a\n")]);
        let options = TableOptions { missing: Missing::Mean, ..TableOptions::default() };
        let of_table = FileSelection { table: options, test: Some(0.5), ..selection(&table, "a.csv") };
        let doubles: Vec<u8> =
            [1.0, 2.0, 3.0, 4.0_f64].iter().flat_map(|number| number.to_le_bytes()).collect();
        let array = folder(&[("a.npy", &npy("<f8", true, "(2, 2)", &doubles))]);
        let of_array = selection(&array, "a.npy");
        let recordings = folder(&[]);
        for (name, samples) in [("yes/ann_0.wav", 1_600), ("no/ann_1.wav", 2_400), ("yes/bob_0.wav", 2_000)] {
            let path = recordings.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_wav(&path, samples);
        }
        let of_recordings = FileSelection::new(recordings.path().to_owned(), Seed(1));
        vec![images(), (table, of_table), (array, of_array), (recordings, of_recordings)]
    }

    fn assert_same(found: &Examples, expected: &Examples) {
        assert_eq!(
            (found.len(), found.labels(), found.layout()),
            (expected.len(), expected.labels(), expected.layout())
        );
        let bits = |examples: &Examples, index| {
            let mut sample = vec![0.0; examples.shape_of(index).len()];
            examples.write(index, &mut sample).unwrap();
            sample.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        for index in 0..found.len() as u32 {
            assert_eq!(
                (bits(found, index), found.name(index)),
                (bits(expected, index), expected.name(index))
            );
        }
        assert_eq!(found.moments().unwrap(), expected.moments().unwrap());
    }

    /// Files of samples below a folder.
    fn walk_samples(folder: &Path) -> Vec<PathBuf> {
        let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("samples"));
        folders.filter(|file| file.exists()).collect()
    }
}
