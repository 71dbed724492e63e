//! Which data set, and how its recordings are taken, where it has any.

use std::fmt::Display;
use std::path::PathBuf;

use source::{DataSetName, DataSource, FileSelection, ImageOptions, Missing, Recordings, Selection, Split};

use super::error::{PlanError, check};
use crate::config::{Config, DataConfig, SplitKind};

/// The data set of a configuration.
pub fn source(data: &DataConfig) -> Result<DataSource, PlanError> {
    match (data.name, &data.path) {
        (Some(name), None) => Ok(DataSource::Known(name)),
        (None, Some(path)) => Ok(DataSource::Path(path.clone())),
        (name, _) => Err(PlanError {
            key: "data".to_owned(),
            found: if name.is_some() { "name and path" } else { "neither name nor path" }.to_owned(),
            expected: "the name of a data set, such as name = \"mnist\", or else the path of one, such as path = \"photos\""
                .to_owned(),
        }),
    }
}

/// The data set of a configuration, and how it is taken.
pub fn selection(config: &Config) -> Result<Selection, PlanError> {
    let data = &config.data;
    match source(data)? {
        DataSource::Known(name) => known(config, name),
        DataSource::Path(path) => files(config, path),
    }
}

fn known(config: &Config, name: DataSetName) -> Result<Selection, PlanError> {
    let data = &config.data;
    let by_path = "nothing: it is for a data set that is given by its path";
    for (given, key) in [
        (data.labels.is_some(), "data.labels"),
        (data.test.is_some(), "data.test"),
        (data.test_path.is_some(), "data.test_path"),
        (data.test_labels.is_some(), "data.test_labels"),
        (data.skip_broken.is_some(), "data.skip_broken"),
        (data.standardize.is_some(), "data.standardize"),
        (data.table.is_some(), "data.table"),
        (data.images.is_some(), "data.images"),
    ] {
        check(!given, key, "given", by_path)?;
    }
    let folder = data.folder.as_deref();
    let is_folder = name == DataSetName::WavFolder;
    let expected =
        if is_folder { "the path of a folder of WAV files" } else { "nothing, but for a wav-folder" };
    check(
        folder.is_some() == is_folder,
        "data.folder",
        shown(folder.map(|folder| folder.display())),
        expected,
    )?;
    let Some(default_split) = data.default_split() else {
        let nothing = format!("nothing: {name} has no recordings");
        check(data.split.is_none(), "data.split", "given", &nothing)?;
        check(data.test_speakers.is_empty(), "data.test_speakers", "given", &nothing)?;
        check(data.mfcc.is_none(), "data.mfcc", "given", &nothing)?;
        return Ok(Selection::Plain(name));
    };
    let split = data.split.unwrap_or(default_split);
    check_speakers(data, Some(split))?;
    let split = match split {
        SplitKind::Official => {
            check(
                !is_folder,
                "data.split",
                "official",
                "random or speakers: a folder has no split of its own",
            )?;
            Split::Official
        }
        SplitKind::Random => Split::Random(config.seed),
        SplitKind::Speakers => Split::Speakers(data.test_speakers.clone()),
    };
    let recordings = Recordings { split, mfcc: data.mfcc.unwrap_or_default() };
    Ok(match folder {
        Some(folder) => Selection::Folder { folder: folder.to_owned(), recordings },
        None => Selection::Fsdd(recordings),
    })
}

/// A user's files.
fn files(config: &Config, path: PathBuf) -> Result<Selection, PlanError> {
    let data = &config.data;
    let by_name = "nothing: it is for a data set that is given by its name";
    check(data.folder.is_none(), "data.folder", "given", by_name)?;
    let split = split_of_files(config)?;
    let images = data.images.clone().unwrap_or_default();
    check_images(&images)?;
    if let Some(test) = data.test {
        check((0.0..1.0).contains(&test), "data.test", test, "a share of the samples, from 0 to below 1")?;
        let either = "nothing where data.test_path says what tests";
        check(data.test_path.is_none(), "data.test", test, either)?;
    }
    let no_test = "nothing, but for data.test_path";
    check(data.test_labels.is_none() || data.test_path.is_some(), "data.test_labels", "given", no_test)?;
    let standardize = data.standardize.unwrap_or(true);
    let table = data.table.clone().unwrap_or_default();
    let means = "zero or refuse, since data.standardize = false and no means are taken";
    check(standardize || table.missing != Missing::Mean, "data.table.missing", "mean", means)?;
    Ok(Selection::Files(Box::new(FileSelection {
        labels: data.labels.clone(),
        test_path: data.test_path.clone(),
        test_labels: data.test_labels.clone(),
        images,
        table,
        mfcc: data.mfcc,
        split,
        skip_broken: data.skip_broken.unwrap_or(false),
        standardize,
        test: data.test,
        ..FileSelection::new(path, config.seed)
    })))
}

/// How recordings of a user are split, unless a share of them tests.
fn split_of_files(config: &Config) -> Result<Option<Split>, PlanError> {
    let data = &config.data;
    let tested = data.test.is_some() || data.test_path.is_some();
    let either = "nothing where data.test or data.test_path says what tests";
    check(data.split.is_none() || !tested, "data.split", "given", either)?;
    check_speakers(data, data.split)?;
    Ok(match data.split {
        None => None,
        Some(SplitKind::Random) => Some(Split::Random(config.seed)),
        Some(SplitKind::Speakers) => Some(Split::Speakers(data.test_speakers.clone())),
        Some(SplitKind::Official) => {
            let expected = "random or speakers: a folder has no split of its own";
            return check(false, "data.split", "official", expected).map(|()| None);
        }
    })
}

/// Speakers are named where they are what splits recordings.
fn check_speakers(data: &DataConfig, split: Option<SplitKind>) -> Result<(), PlanError> {
    check(
        split == Some(SplitKind::Speakers) || data.test_speakers.is_empty(),
        "data.test_speakers",
        data.test_speakers.join(", "),
        "nothing, but for data.split = \"speakers\"",
    )
}

/// Pixels of a side, at most.
const SIDE: u32 = 4096;

fn check_images(images: &ImageOptions) -> Result<(), PlanError> {
    let ImageOptions { height, width, channels, mean, deviation } = images;
    for (key, side) in [("data.images.height", height), ("data.images.width", width)] {
        let side = side.unwrap_or(1);
        check((1..=SIDE).contains(&side), key, side, format!("1 to {SIDE} pixels"))?;
    }
    let either = "1 for grey, or 3 for red, green and blue";
    check(matches!(channels, None | Some(1 | 3)), "data.images.channels", shown(channels.as_ref()), either)?;
    let both = "both data.images.mean and data.images.deviation, or neither";
    check(mean.is_some() == deviation.is_some(), "data.images", "one of them", both)?;
    let Some((mean, deviation)) = mean.as_ref().zip(deviation.as_ref()) else { return Ok(()) };
    let count = channels.unwrap_or(0) as usize;
    let found = format!("{} and {} numbers", mean.len(), deviation.len());
    let expected = "as many means and deviations as data.images.channels, which is to be given too";
    check((mean.len(), deviation.len()) == (count, count), "data.images.mean", found, expected)?;
    let good = mean.iter().all(|mean| mean.is_finite())
        && deviation.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0);
    check(good, "data.images.deviation", "given", "numbers above 0, and finite means")
}

fn shown(given: Option<impl Display>) -> String {
    given.map_or_else(|| "nothing".to_owned(), |given| given.to_string())
}

#[cfg(test)]
mod tests {
    use scff::seed::Seed;
    use source::{MfccOptions, Normalize, TableOptions};

    use super::*;
    use crate::config;

    /// The selection of `name` with changes.
    fn selected(name: &str, changes: &[&str]) -> Result<Selection, PlanError> {
        let text = include_str!("../../../configs/iris.toml").replace("\"iris\"", &format!("\"{name}\""));
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        selection(&config::parse("given.toml", &text, &changes).unwrap())
    }

    #[test]
    fn recordings_are_selected_as_configured() {
        let recordings = |split, mfcc| Recordings { split, mfcc };
        let plain = MfccOptions::default();
        assert_eq!(selected("mnist", &[]), Ok(Selection::Plain(DataSetName::Mnist)));
        assert_eq!(selected("fsdd", &[]), Ok(Selection::Fsdd(recordings(Split::Official, plain))));
        let random = ["data.split=random", "seed=7"];
        assert_eq!(selected("fsdd", &random), Ok(Selection::Fsdd(recordings(Split::Random(Seed(7)), plain))));
        let changes = [
            "data.folder=commands",
            "data.split=speakers",
            "data.test_speakers=[\"ann\"]",
            "data.mfcc={ deltas = true, normalize = \"coefficients\" }",
        ];
        let mfcc = MfccOptions { deltas: true, normalize: Normalize::Coefficients, first: false };
        let recordings = recordings(Split::Speakers(vec!["ann".to_owned()]), mfcc);
        let folder = Selection::Folder { folder: "commands".into(), recordings };
        assert_eq!(selected("wav-folder", &changes), Ok(folder));
    }

    #[test]
    fn files_are_selected_as_configured() {
        let text = include_str!("../../../configs/iris.toml").replace("name = \"iris\"", "path = \"/x.csv\"");
        let selected = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
            selection(&config::parse("given.toml", &text, &changes).unwrap())
        };
        let plain = FileSelection::new("/x.csv".into(), Seed(1));
        assert_eq!(selected(&["seed=1"]), Ok(Selection::Files(Box::new(plain.clone()))));
        let table =
            TableOptions { label: Some("kind".to_owned()), missing: Missing::Mean, ..Default::default() };
        let changes =
            ["seed=1", "data.table={ label = \"kind\", missing = \"mean\" }", "data.test_path=/y.csv"];
        let tested = FileSelection { table, test_path: Some("/y.csv".into()), ..plain };
        assert_eq!(selected(&changes), Ok(Selection::Files(Box::new(tested))));
        for (changes, refusal) in [
            (
                &["data.test=0.5", "data.test_path=/y.csv"][..],
                "data.test = 0.5: expected nothing where data.test_path says what tests",
            ),
            (
                &["data.test_labels=/y.npy"],
                "data.test_labels = given: expected nothing, but for data.test_path",
            ),
            (
                &["data.standardize=false", "data.table={ missing = \"mean\" }"],
                "data.table.missing = mean: expected zero or refuse",
            ),
        ] {
            let error = selected(changes).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{error}");
        }
    }

    #[test]
    fn impossible_selections_are_refused_with_key_and_value() {
        let nothing = "expected nothing: mnist has no recordings";
        for (name, changes, refusal) in [
            ("mnist", &["data.split=random"][..], format!("data.split = given: {nothing}")),
            ("mnist", &["data.mfcc={}"], format!("data.mfcc = given: {nothing}")),
            ("mnist", &["data.test_speakers=[\"a\"]"], format!("data.test_speakers = given: {nothing}")),
            (
                "mnist",
                &["data.test_path=x"],
                "data.test_path = given: expected nothing: it is for a data set that is given by its path"
                    .into(),
            ),
            ("fsdd", &["data.folder=x"], "data.folder = x: expected nothing, but for a wav-folder".into()),
            ("wav-folder", &[], "data.folder = nothing: expected the path of a folder of WAV files".into()),
            (
                "wav-folder",
                &["data.folder=x", "data.split=official"],
                "data.split = official: expected random or speakers: a folder has no split of its own".into(),
            ),
            (
                "fsdd",
                &["data.test_speakers=[\"theo\"]"],
                "data.test_speakers = theo: expected nothing, but for data.split = \"speakers\"".into(),
            ),
        ] {
            assert_eq!(selected(name, changes).unwrap_err().to_string(), refusal);
        }
    }
}
