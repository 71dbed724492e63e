//! A user's files as a data set: what is learned from, and what tests.

use std::path::{Path, PathBuf};

use super::bad_file::BadFile;
use super::data_set::DataSet;
use super::error::DataError;
use super::examples::Examples;
use super::form::{Form, Taken};
use super::input::InputSpec;
use super::opened::Input;
use super::partition::partition;
use super::record::Record;
use super::recording_folder;
use super::room::Room;
use super::selection::{FileSelection, Split};
use super::share;
use super::split_folder::{self, SplitFolder};
use super::whole::{Taking, whole};

/// The test share of labelled samples where none is configured.
const TEST_SHARE: f64 = 0.1;

/// The data set of the files that are selected, as far as there is room in memory.
pub fn data_set(selection: &FileSelection, room: &Room) -> Result<DataSet, DataError> {
    let mut record = Record::default();
    let Places { train, test, validation } = Places::find(selection, &mut record)?;
    let form = Form::find(&train)?;
    let others = test.iter().chain(&validation).map(PathBuf::as_path);
    let paths: Vec<&Path> = std::iter::once(train.as_path()).chain(others).collect();
    let Taken { kind, standardize } = form.kind(&paths, selection)?;
    let input = form.open(&train, selection.labels.as_deref(), &kind, selection.skip_broken)?;
    if let [only] = input.classes() {
        let found = format!("the label {only:?} for all samples");
        return Err(BadFile::new(&train, found, "two or more labels, or none").into());
    }
    let spec = InputSpec { kind, classes: input.classes().to_vec() };
    let mut reading = Reading { selection, room: room.clone(), record };
    let all = reading.whole(&input, &train, form)?;
    reading.record.note_labels(selection.labels.as_deref());
    let mut part = |path: Option<PathBuf>| path.map(|path| reading.measured(&path, &spec)).transpose();
    let (test, validation) = (part(test)?, part(validation)?);
    reading.record.note_labels(selection.test_labels.as_deref());
    let Parts { learned, test, validation } = match test {
        Some(test) => Parts { learned: all, test, validation },
        None => parts(selection, all)?,
    };
    let (train, unlabeled) =
        if spec.classes.is_empty() { (learned.subset(&[]), Some(learned)) } else { (learned, None) };
    let record = reading.record;
    Ok(DataSet { input: spec, standardize, train, test, validation, unlabeled, record })
}

/// Where samples lie.
struct Places {
    train: PathBuf,
    test: Option<PathBuf>,
    validation: Option<PathBuf>,
}

impl Places {
    /// The selected files, or the parts of a folder that says itself what tests.
    fn find(selection: &FileSelection, record: &mut Record) -> Result<Self, BadFile> {
        let FileSelection { path, test_path, test, .. } = selection;
        let Some(SplitFolder { train, test: tests, validation }) = split_folder::find(path) else {
            return Ok(Self { train: path.clone(), test: test_path.clone(), validation: None });
        };
        let own = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if test.is_some() {
            let folders = [Some(&train), tests.as_ref(), validation.as_ref()].into_iter().flatten();
            let found =
                format!("the folders {}", folders.map(|folder| own(folder)).collect::<Vec<_>>().join(", "));
            return Err(BadFile::new(path, found, "no data.test, since they say what tests"));
        }
        let labelled = |folder: &PathBuf| Form::has_labels(folder);
        // Some publish the samples of their test, and keep its labels.
        let tests = tests.filter(|tests| validation.is_none() || labelled(tests) || !labelled(&train));
        let (tests, validation) = match (test_path, tests) {
            (Some(given), _) => (Some(given.clone()), None),
            (None, Some(tests)) => (Some(tests), validation),
            (None, None) => (validation, None),
        };
        if let Some(tests) = &tests {
            let parts =
                format!("{}: {} is learned from, and {} tests", path.display(), own(&train), own(tests));
            record.notices.push(match &validation {
                Some(validation) => format!("{parts}; {} validates", own(validation)),
                None => parts,
            });
        }
        Ok(Self { train, test: tests, validation })
    }
}

/// Samples that lie together, told apart.
struct Parts {
    learned: Examples,
    test: Examples,
    validation: Option<Examples>,
}

/// A share tests; of recordings, the split says which.
fn parts(selection: &FileSelection, all: Examples) -> Result<Parts, DataError> {
    if let Some(split) = &selection.split {
        let names: Vec<String> = (0..all.len() as u32).map(|index| all.name(index).into_owned()).collect();
        let utterances = recording_folder::utterances(names.iter().map(String::as_str), all.labels());
        let parts = partition(&utterances, split)?;
        let validation = matches!(split, Split::Random(_)).then(|| all.subset(&parts.validation));
        return Ok(Parts { learned: all.subset(&parts.train), test: all.subset(&parts.test), validation });
    }
    let share = selection.test.unwrap_or(if all.labels().is_empty() { 0.0 } else { TEST_SHARE });
    let parts = share::take(share, all.labels(), all.len(), selection.seed);
    Ok(Parts { learned: all.subset(&parts.rest), test: all.subset(&parts.share), validation: None })
}

/// What is selected, and what becomes known while it is read.
struct Reading<'a> {
    selection: &'a FileSelection,
    room: Room,
    record: Record,
}

impl Reading<'_> {
    /// Samples that are measured on, in files of their own.
    fn measured(&mut self, path: &Path, spec: &InputSpec) -> Result<Examples, DataError> {
        let form = Form::find(path)?;
        let FileSelection { test_labels, skip_broken, .. } = self.selection;
        let input = form.open(path, test_labels.as_deref(), &spec.kind, *skip_broken)?;
        let input = input.knowing(&spec.classes).in_only_folder(&spec.classes);
        if let Some(other) = input.classes().iter().find(|class| !spec.classes.contains(class)) {
            let expected = if spec.classes.is_empty() {
                "no labels, as what is learned from has none".to_owned()
            } else {
                format!("the labels of what is learned from: {}", some(&spec.classes))
            };
            return Err(BadFile::new(path, format_args!("the label {other:?}"), expected).into());
        }
        if input.labels().is_empty() && !spec.classes.is_empty() {
            return Err(BadFile::new(path, "no labels", "labels, as what is learned from has").into());
        }
        self.whole(&input, path, form)
    }

    /// All samples of an input, whose files are recorded.
    fn whole(&mut self, input: &Input, path: &Path, form: Form) -> Result<Examples, DataError> {
        let Self { selection, room, record } = self;
        if matches!(form, Form::Array | Form::Table) {
            record.note(path);
        } else if input.labels().is_empty()
            && let Some(folder) = input.only_folder()
        {
            let taken = "which is no label where it is the only folder: these samples have no labels";
            record.notices.push(format!("{}: all files lie in {folder}, {taken}", path.display()));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let skip_broken = selection.skip_broken;
        let all = whole(input, &mut Taking { path, name: &name, skip_broken, room, record })?;
        if all.is_empty() {
            let found = format!("{} broken files and no others", record.left_out.len());
            return Err(BadFile::new(path, found, "a sample at least").into());
        }
        Ok(all)
    }
}

/// The first few names.
fn some(names: &[String]) -> String {
    const FEW: usize = 10;
    let more = if names.len() > FEW { ", ..." } else { "" };
    names[..names.len().min(FEW)].join(", ") + more
}

#[cfg(test)]
mod tests {
    use std::fs;

    use scff::seed::Seed;
    use tempfile::TempDir;

    use super::*;
    use crate::input::{InputKind, NumberInput};
    use crate::input_source::InputSource;
    use crate::open::open_input;
    use crate::shape::Shape;
    use crate::synthetic::{floats, folder, npy, npz, samples};
    use crate::table_options::{Missing, TableOptions};

    fn selection(dir: &TempDir, name: &str) -> FileSelection {
        FileSelection { test: Some(0.0), ..FileSelection::new(dir.path().join(name), Seed(1)) }
    }

    fn refusal(selection: &FileSelection) -> String {
        data_set(selection, &Room::boundless()).unwrap_err().to_string()
    }

    /// The samples at a path for a model of `set`, whose statistics were taken.
    fn later(set: &DataSet, path: &Path) -> Result<Input, String> {
        let mut spec = set.input.clone();
        spec.take_moments(&set.train).unwrap();
        open_input(&InputSource::Path(path.to_owned()), "nowhere".as_ref(), &spec)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_of_several_axes_are_images_and_floats_are_numbers() {
        let images = npy("|u1", false, "(2, 2, 3)", &[0, 51, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255]);
        let rows = npy("<f4", false, "(2, 2)", &floats(&[1.0, 2.0, 3.0, 4.0]));
        let dir = folder(&[("images.npy", &images), ("rows.npy", &rows)]);
        let set = data_set(&selection(&dir, "images.npy"), &Room::boundless()).unwrap();
        assert!(matches!(set.input.kind, InputKind::Images(_)) && set.standardize);
        let images = set.unlabeled.unwrap();
        assert_eq!(images.shape(), Shape { height: 2, width: 3, channels: 1 });
        assert_eq!(samples(&images)[0], [0.0, 51.0 / 255.0, 1.0, 0.0, 0.0, 0.0]);
        let set = data_set(
            &FileSelection { standardize: false, ..selection(&dir, "rows.npy") },
            &Room::boundless(),
        )
        .unwrap();
        let kind = InputKind::Numbers(NumberInput::new(Shape { height: 1, width: 1, channels: 2 }));
        assert!(set.input.kind == kind && !set.standardize);
        assert_eq!(samples(&set.unlabeled.unwrap()), [[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn labels_of_an_array_are_in_its_archive_or_in_a_file_of_their_own() {
        let rows = npy("<f4", false, "(3, 1)", &floats(&[1.0, 2.0, 3.0]));
        let labels = npy("<i2", false, "(3,)", &[7, 0, 3, 0, 7, 0]);
        let names = npy("|S1", false, "(3,)", b"abc");
        let archive = npz(&[("X", &rows), ("y", &labels), ("names", &names)], true);
        let dir = folder(&[("a.npz", &archive), ("x.npy", &rows), ("y.npy", &labels)]);
        let beside = FileSelection { labels: Some(dir.path().join("y.npy")), ..selection(&dir, "x.npy") };
        for (selection, name) in [(selection(&dir, "a.npz"), "c"), (beside, "2")] {
            let set = data_set(&selection, &Room::boundless()).unwrap();
            assert_eq!((set.train.labels(), set.train.name(2)), (&[1, 0, 1][..], name.into()));
            assert_eq!(set.input.classes, ["3", "7"]);
        }
        let few = npy("<i2", false, "(2,)", &[7, 0, 3, 0]);
        let same = npy("<i2", false, "(3,)", &[7, 0, 7, 0, 7, 0]);
        for (labels, found) in
            [(few, "y.npy: found axes [2], expected one for each of 3"), (same, "the label \"7\" for all")]
        {
            fs::write(dir.path().join("y.npy"), labels).unwrap();
            let labels = Some(dir.path().join("y.npy"));
            let error = refusal(&FileSelection { labels, ..selection(&dir, "x.npy") });
            assert!(error.contains(found), "{error}");
        }
    }

    #[test]
    fn a_test_path_tests_in_place_of_a_share_and_its_labels_are_those_of_what_is_learned_from() {
        let table = |rows: &str| format!("x,label\n{rows}").into_bytes();
        let (train, test) = (table("1,a\n2,b\n3,c\n"), table("9,c\n8,a\n"));
        let dir = folder(&[
            ("train.csv", &train),
            ("test.csv", &test),
            ("other.csv", &table("9,c\n8,d\n")),
            ("none.csv", b"x\n1\n"),
        ]);
        let tested = |name: &str| FileSelection {
            test_path: Some(dir.path().join(name)),
            test: None,
            ..selection(&dir, "train.csv")
        };
        let set = data_set(&tested("test.csv"), &Room::boundless()).unwrap();
        assert_eq!((set.train.labels(), set.test.labels()), (&[0, 1, 2][..], &[2, 0][..]));
        assert_eq!(samples(&set.test), [[9.0], [8.0]]);
        let error = refusal(&tested("other.csv"));
        assert!(
            error.contains(
                "other.csv: found the label \"d\", expected the labels of what is learned from: a, b, c"
            ),
            "{error}"
        );
        assert!(refusal(&tested("none.csv")).contains("none.csv: found no labels, expected labels"));
    }

    #[test]
    fn a_later_table_is_read_by_the_names_of_its_columns_and_standardised_as_the_first() {
        let first = b"id,x,y,kind\nr1,0,10,a\nr2,2,?,b\nr3,4,30,a\n";
        let second = b"y,other,x\n20,7,2\n";
        let dir = folder(&[("first.csv", first), ("second.csv", second), ("third.csv", b"x,z\n1,2\n")]);
        let text = |text: &str| Some(text.to_owned());
        let table = TableOptions {
            label: text("kind"),
            name: text("id"),
            missing: Missing::Mean,
            ..Default::default()
        };
        let mut set =
            data_set(&FileSelection { table, ..selection(&dir, "first.csv") }, &Room::boundless()).unwrap();
        assert_eq!((set.train.labels(), set.train.name(1)), (&[0, 1, 0][..], "r2".into()));
        let mut spec = set.input.clone();
        spec.take_moments(&set.train).unwrap();
        spec.scale(&mut set.train);
        let deviation = 1.5_f32.sqrt();
        for (found, expected) in
            samples(&set.train).concat().iter().zip([-deviation, -1.0, 0.0, 0.0, deviation, 1.0])
        {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
        let input = later(&set, &dir.path().join("second.csv")).unwrap();
        assert_eq!((input.len(), input.labels()), (1, &[][..]));
        assert_eq!(samples(&input.read(0..1).unwrap()), [[0.0, 0.0]]);
        let error = later(&set, &dir.path().join("third.csv")).unwrap_err();
        assert!(error.contains("third.csv: found the columns x, z, expected one called y"), "{error}");
        let written = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<InputSpec>(&written).unwrap(), spec);
    }

    #[test]
    fn a_model_of_images_reads_arrays_of_them_in_other_sizes_and_no_tables() {
        let small = npy("|u1", false, "(1, 2, 2)", &[0, 0, 255, 255]);
        let large = npy("|u1", false, "(2, 4, 4, 3)", &[51; 96]);
        let floats = npy("<f4", false, "(1, 2, 2)", &[0; 16]);
        let dir = folder(&[
            ("small.npy", &small),
            ("large.npy", &large),
            ("floats.npy", &floats),
            ("a.csv", b"x\n1\n"),
        ]);
        let set = data_set(&selection(&dir, "small.npy"), &Room::boundless()).unwrap();
        let spec = set.input.clone();
        let open = |name: &str| {
            open_input(&InputSource::Path(dir.path().join(name)), "nowhere".as_ref(), &spec)
                .map_err(|error| error.to_string())
        };
        let input = open("large.npy").unwrap();
        assert_eq!(samples(&input.read(1..2).unwrap()), [[51.0 / 255.0; 4]]);
        assert!(open("floats.npy").unwrap_err().contains("floats.npy: found samples 2x2x1 of float32"));
        assert!(open("a.csv").unwrap_err().contains("a.csv: found a table, expected images"));
    }

    #[test]
    fn arrays_of_other_axes_are_refused_with_what_would_do() {
        for (axes, refusal) in [
            ("(2, 3, 8, 8)", "found axes [2, 3, 8, 8], expected channels last"),
            ("(384,)", "found axes [384], expected two to four axes, samples first"),
            ("(0, 8)", "expected 1 to 4294967295 samples"),
        ] {
            let bytes = if axes.starts_with("(0") { Vec::new() } else { vec![0; 384] };
            let dir = folder(&[("a.npy", &npy("|u1", false, axes, &bytes))]);
            let error = self::refusal(&selection(&dir, "a.npy"));
            assert!(error.contains(refusal), "{error}");
        }
        let dir = folder(&[("a.doc", b"")]);
        assert!(
            refusal(&selection(&dir, "a.doc"))
                .contains("a.doc: found a file of another name, expected a folder")
        );
        assert!(refusal(&selection(&dir, "b.npy")).contains("b.npy: found No such file"));
    }

    /// Images of one colour each, 8x8, in a folder; what is no image is as it is written here.
    fn images(files: &[(&str, Option<&[u8]>)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (index, (name, content)) in (0..).zip(files) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => ::image::RgbImage::from_pixel(8, 8, [index, 2 * index, 7].into()).save(path).unwrap(),
            }
        }
        dir
    }

    fn names(examples: &Examples) -> Vec<String> {
        (0..examples.len() as u32).map(|index| examples.name(index).into_owned()).collect()
    }

    #[test]
    fn folders_called_train_and_test_are_parts_and_no_labels() {
        let dir = images(&[
            ("train/cats/a.png", None),
            ("train/dogs/b.png", None),
            ("test/cats/e.png", None),
            ("test/dogs/c.png", None),
            ("val/cats/d.png", None),
        ]);
        let whole = FileSelection::new(dir.path().to_owned(), Seed(1));
        let set = data_set(&whole, &Room::boundless()).unwrap();
        assert_eq!(
            (names(&set.train), set.train.labels()),
            (vec!["cats/a.png".into(), "dogs/b.png".into()], &[0, 1][..])
        );
        assert_eq!(
            (names(&set.test), set.test.labels()),
            (vec!["cats/e.png".into(), "dogs/c.png".into()], &[0, 1][..])
        );
        assert_eq!(names(&set.validation.unwrap()), ["cats/d.png"]);
        assert!(set.record.notices[0].ends_with("train is learned from, and test tests; val validates"));
        let error = refusal(&FileSelection { test: Some(0.5), ..whole });
        assert!(error.contains("found the folders train, test, val, expected no data.test"), "{error}");
    }

    #[test]
    fn tiny_imagenet_is_read_in_its_official_layout() {
        let annotations: &[u8] = b"v0.png\tn02\t0\t0\t7\t7\nv1.png\tn01\t0\t0\t7\t7\n";
        let dir = images(&[
            ("wnids.txt", Some(b"n01\nn02\n")),
            ("train/n01/images/n01_0.png", None),
            ("train/n01/n01_boxes.txt", Some(b"n01_0.png\t0\t0\t7\t7\n")),
            ("train/n02/images/n02_0.png", None),
            ("val/images/v0.png", None),
            ("val/images/v1.png", None),
            ("val/val_annotations.txt", Some(annotations)),
            ("test/images/t0.png", None),
        ]);
        let selection = FileSelection::new(dir.path().to_owned(), Seed(1));
        let set = data_set(&selection, &Room::boundless()).unwrap();
        assert_eq!(set.input.classes, ["n01", "n02"]);
        assert_eq!((set.train.labels(), set.test.labels()), (&[0, 1][..], &[1, 0][..]));
        assert!(set.validation.is_none() && names(&set.test) == ["images/v0.png", "images/v1.png"]);
        fs::write(dir.path().join("val/val_annotations.txt"), "v0.png\tn02\n").unwrap();
        let error = refusal(&selection);
        assert!(error.contains("val_annotations.txt: found no line of images/v1.png"), "{error}");
    }

    #[test]
    fn broken_files_are_an_error_or_are_left_out_and_listed() {
        let dir = images(&[
            ("cats/a.png", None),
            ("cats/b.png", Some(b"broken")),
            ("dogs/c.png", None),
            ("dogs/d.png", Some(b"")),
        ]);
        let strict = FileSelection { test: Some(0.0), ..FileSelection::new(dir.path().to_owned(), Seed(1)) };
        assert!(refusal(&strict).contains("cats/b.png: found bytes that begin like no such image"));
        let set =
            data_set(&FileSelection { skip_broken: true, ..strict.clone() }, &Room::boundless()).unwrap();
        assert_eq!(
            (names(&set.train), set.train.labels()),
            (vec!["cats/a.png".into(), "dogs/c.png".into()], &[0, 1][..])
        );
        let sample = &samples(&set.train)[1];
        assert_eq!((sample.len(), (sample[0] * 255.0).round()), (8 * 8 * 3, 2.0), "the pixels of c.png");
        let manifest = set.record.manifest().unwrap();
        let left_out: Vec<String> = manifest.left_out.iter().map(ToString::to_string).collect();
        assert!(
            left_out[0].contains("/cats/b.png: found bytes")
                && left_out[1].contains("/dogs/d.png: found an empty")
        );
        assert!(manifest.files[1].path.ends_with("/dogs/c.png") && manifest.files.len() == 2);
        fs::remove_file(dir.path().join("cats/a.png")).unwrap();
        fs::remove_file(dir.path().join("dogs/c.png")).unwrap();
        let error = refusal(&FileSelection { skip_broken: true, ..strict });
        assert!(error.contains("found no image that can be read"), "{error}");
    }

    #[test]
    fn one_folder_is_no_label_and_that_is_said() {
        let dir = images(&[("cats/a.png", None), ("cats/b.png", None)]);
        let set = data_set(&FileSelection::new(dir.path().to_owned(), Seed(1)), &Room::boundless()).unwrap();
        assert!(set.input.classes.is_empty() && set.unlabeled.unwrap().len() == 2);
        assert!(
            set.record.notices[0].contains("all files lie in cats, which is no label"),
            "{:?}",
            set.record.notices
        );
    }

    /// A recording of so many samples at 8 kHz.
    fn recording(samples: i32) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        (0..samples).for_each(|at| writer.write_sample(at % 40 * 500).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn recordings_are_read_by_their_path_split_by_speakers_and_later_ones_too() {
        let [short, long] = [recording(1_000), recording(1_400)];
        let dir = images(&[
            ("yes/ann_1.wav", Some(&short)),
            ("yes/bob_1.wav", Some(&long)),
            ("no/ann_1.wav", Some(&short)),
            ("no/bob_1.wav", Some(&short)),
            ("_noise/rain.wav", Some(&short)),
        ]);
        let selection = FileSelection::new(dir.path().to_owned(), Seed(1));
        let split = Some(Split::Speakers(vec!["ann".to_owned()]));
        let set = data_set(&FileSelection { split, ..selection.clone() }, &Room::boundless()).unwrap();
        assert_eq!(names(&set.train), ["no/bob_1.wav", "yes/bob_1.wav"]);
        assert_eq!((set.test.labels(), set.input.classes.join(" ").as_str()), (&[0, 1][..], "no yes"));
        assert_eq!(
            (set.input.shape().height, set.train.shape_of(0).height),
            (1 + 2_800 / 200, 1 + 2_000 / 200)
        );
        let later = later(&set, &dir.path().join("yes")).unwrap();
        assert_eq!((later.len(), later.name(1)), (2, "bob_1.wav".into()));
        assert_eq!(later.read(0..2).unwrap().shape_of(1).height, 15);
        ::image::RgbImage::new(2, 2).save(dir.path().join("yes/a.png")).unwrap();
        let error = refusal(&selection);
        assert!(
            error.contains("found images and recordings, such as yes/a.png and _noise/rain.wav"),
            "{error}"
        );
    }

    #[test]
    fn broken_rows_of_a_table_are_left_out_where_they_may_be_and_others_keep_their_numbers() {
        let table = b"x,y,label\n1,2,a\n3,b\n5,cat,b\n7,8,b\n9,10,\n11,12,a\n";
        let dir = folder(&[("a.csv", table)]);
        let strict = selection(&dir, "a.csv");
        assert!(refusal(&strict).contains("a.csv: found 2 cells in line 3, expected 3"));
        let set = data_set(&FileSelection { skip_broken: true, ..strict }, &Room::boundless()).unwrap();
        assert_eq!(samples(&set.train), [[1.0, 2.0], [7.0, 8.0], [11.0, 12.0]]);
        assert_eq!((set.train.labels(), set.input.classes.join(" ")), (&[0, 1, 0][..], "a b".to_owned()));
        assert_eq!((set.train.name(1), set.train.name(2)), ("3".into(), "5".into()));
        let left_out: Vec<String> = set.record.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(left_out[0], "a.csv: found 2 cells in line 3, expected 3");
        assert!(left_out[1].starts_with("a.csv: found \"cat\" in line 4, column y"), "{left_out:?}");
        assert!(left_out[2].starts_with("a.csv: found nothing in line 6, column label"), "{left_out:?}");
    }

    #[test]
    fn keys_of_other_forms_are_refused_with_what_they_are_for() {
        let dir = folder(&[("a.csv", b"x\n1\n2\n")]);
        let plain = selection(&dir, "a.csv");
        let error = refusal(&FileSelection { mfcc: Some(crate::MfccOptions::default()), ..plain });
        assert!(error.contains("since data.mfcc is given"), "{error}");
    }
}
