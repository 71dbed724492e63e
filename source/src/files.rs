//! A user's files as a data set: what is learned from, and what tests.

use std::path::Path;
use std::sync::Arc;

use super::bad_file::BadFile;
use super::data_set::DataSet;
use super::error::DataError;
use super::examples::Examples;
use super::form::{Form, Taken};
use super::input::InputSpec;
use super::opened::Input;
use super::selection::FileSelection;
use super::share;

/// The test share of labelled samples where none is configured.
const TEST_SHARE: f64 = 0.1;

/// The data set of the files that are selected.
pub fn data_set(selection: &FileSelection) -> Result<DataSet, DataError> {
    let form = Form::find(&selection.path)?;
    let Taken { kind, standardize } = form.kind(selection)?;
    let input = form.open(&selection.path, selection.labels.as_deref(), &kind)?;
    if let [only] = input.classes() {
        let found = format!("the label {only:?} for all samples");
        return Err(BadFile::new(&selection.path, found, "two or more labels, or none").into());
    }
    let spec = InputSpec { kind, classes: input.classes().to_vec() };
    let all = whole(&input)?;
    let (learned, test) = if let Some(path) = &selection.test_path {
        (all, test(path, selection, &spec)?)
    } else {
        let share = selection.test.unwrap_or(if spec.classes.is_empty() { 0.0 } else { TEST_SHARE });
        let parts = share::take(share, all.labels(), all.len(), selection.seed);
        (all.subset(&parts.rest), all.subset(&parts.share))
    };
    let (train, unlabeled) =
        if spec.classes.is_empty() { (learned.subset(&[]), Some(learned)) } else { (learned, None) };
    Ok(DataSet { input: spec, standardize, train, test, validation: None, unlabeled })
}

/// The samples that test, in files of their own.
fn test(path: &Path, selection: &FileSelection, spec: &InputSpec) -> Result<Examples, DataError> {
    let input = Form::find(path)?.open(path, selection.test_labels.as_deref(), &spec.kind)?;
    let input = input.knowing(&spec.classes);
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
    whole(&input)
}

/// The first few names.
fn some(names: &[String]) -> String {
    const FEW: usize = 10;
    let more = if names.len() > FEW { ", ..." } else { "" };
    names[..names.len().min(FEW)].join(", ") + more
}

/// All samples, with their names where they have any.
fn whole(input: &Input) -> Result<Examples, DataError> {
    let all = input.read(0..input.len())?;
    if !input.has_names() {
        return Ok(all);
    }
    let names: Vec<Arc<str>> = (0..input.len()).map(|index| input.name(index).into()).collect();
    Ok(all.with_names(names))
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
    use crate::synthetic::{npy, npz};
    use crate::table_options::{Missing, TableOptions};

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn selection(dir: &TempDir, name: &str) -> FileSelection {
        FileSelection { test: Some(0.0), ..FileSelection::new(dir.path().join(name), Seed(1)) }
    }

    fn samples(examples: &Examples) -> Vec<Vec<f32>> {
        let sample = |index| {
            let mut sample = vec![0.0; examples.shape().len()];
            examples.write(index, &mut sample).unwrap();
            sample
        };
        (0..examples.len() as u32).map(sample).collect()
    }

    fn floats(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn refusal(selection: &FileSelection) -> String {
        data_set(selection).unwrap_err().to_string()
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
        let set = data_set(&selection(&dir, "images.npy")).unwrap();
        assert!(matches!(set.input.kind, InputKind::Images(_)) && set.standardize);
        let images = set.unlabeled.unwrap();
        assert_eq!(images.shape(), Shape { height: 2, width: 3, channels: 1 });
        assert_eq!(samples(&images)[0], [0.0, 51.0 / 255.0, 1.0, 0.0, 0.0, 0.0]);
        let set = data_set(&FileSelection { standardize: false, ..selection(&dir, "rows.npy") }).unwrap();
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
            let set = data_set(&selection).unwrap();
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
        let set = data_set(&tested("test.csv")).unwrap();
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
        let mut set = data_set(&FileSelection { table, ..selection(&dir, "first.csv") }).unwrap();
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
        let set = data_set(&selection(&dir, "small.npy")).unwrap();
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
}
