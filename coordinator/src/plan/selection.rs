//! Which data set, and how its recordings are taken, where it has any.

use std::fmt::Display;

use source::{DataSetName, Recordings, Selection, Split};

use super::error::{PlanError, check};
use crate::config::{Config, SplitKind};

/// The data set of a configuration, and how it is taken.
pub fn selection(config: &Config) -> Result<Selection, PlanError> {
    let data = &config.data;
    let folder = data.folder.as_deref();
    let is_folder = data.name == DataSetName::WavFolder;
    let expected =
        if is_folder { "the path of a folder of WAV files" } else { "nothing, but for a wav-folder" };
    check(
        folder.is_some() == is_folder,
        "data.folder",
        shown(folder.map(|folder| folder.display())),
        expected,
    )?;
    let Some(default_split) = data.default_split() else {
        let nothing = format!("nothing: {} has no recordings", data.name);
        check(data.split.is_none(), "data.split", "given", &nothing)?;
        check(data.test_speakers.is_empty(), "data.test_speakers", "given", &nothing)?;
        check(data.mfcc.is_none(), "data.mfcc", "given", &nothing)?;
        return Ok(Selection::Plain(data.name));
    };
    let split = data.split.unwrap_or(default_split);
    check(
        split == SplitKind::Speakers || data.test_speakers.is_empty(),
        "data.test_speakers",
        data.test_speakers.join(", "),
        "nothing, but for data.split = \"speakers\"",
    )?;
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

fn shown(given: Option<impl Display>) -> String {
    given.map_or_else(|| "nothing".to_owned(), |given| given.to_string())
}

#[cfg(test)]
mod tests {
    use scff::seed::Seed;
    use source::{MfccOptions, Normalize};

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
    fn impossible_selections_are_refused_with_key_and_value() {
        let nothing = "expected nothing: mnist has no recordings";
        for (name, changes, refusal) in [
            ("mnist", &["data.split=random"][..], format!("data.split = given: {nothing}")),
            ("mnist", &["data.mfcc={}"], format!("data.mfcc = given: {nothing}")),
            ("mnist", &["data.test_speakers=[\"a\"]"], format!("data.test_speakers = given: {nothing}")),
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
