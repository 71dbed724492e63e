//! A configuration as it is read: TOML, then overrides, then what it means.

use std::path;

use serde_path_to_error::{Path, Segment};

use super::algorithm::choose_algorithms;
use super::error::ConfigError;
use super::overrides::set_key;
use super::{Config, DataConfig};
use crate::mistyped;

/// Reads a configuration file and applies `key=value` overrides, whose keys are paths such as `layers.0.lr`. Convolutions say
/// from here on by which algorithm they are computed, where that is not direct.
pub fn load(file: &std::path::Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let name = file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|source| ConfigError::Read { file: name.clone(), source })?;
    let mut config = parse(&name, &text, overrides)?;
    let DataConfig { path, labels, test_path, test_labels, .. } = &mut config.data;
    let paths = [("path", path), ("labels", labels), ("test_path", test_path), ("test_labels", test_labels)];
    for (key, path) in paths {
        let Some(path) = path else { continue };
        let key = format!("data.{key}");
        let set = |given: &String| given.split_once('=').is_some_and(|(set, _)| set.trim() == key);
        let base = if overrides.iter().any(set) { None } else { file.parent() };
        let from = base.map_or_else(|| path.clone(), |base| base.join(&*path));
        *path = path::absolute(&from).unwrap_or(from);
    }
    choose_algorithms(&mut config.layers);
    Ok(config)
}

/// Reads a configuration from `text`; `file` names it in errors.
pub fn parse(file: &str, text: &str, overrides: &[String]) -> Result<Config, ConfigError> {
    let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        let start = cause.span().map_or(0, |span| text[..span.start].rfind('\n').map_or(0, |end| end + 1));
        let spelling = mistyped::spelling(text[start..].lines().next().unwrap_or_default());
        ConfigError::Syntax { file: file.to_owned(), cause: Box::new(cause), spelling }
    })?;
    let mut value = toml::Value::Table(table);
    for given in overrides {
        set_key(&mut value, given)
            .map_err(|message| ConfigError::Override { given: given.clone(), message })?;
    }
    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let found = at(&value, error.path());
        let message = mistyped::explain(error.inner().to_string().trim(), found);
        ConfigError::Key { file: file.to_owned(), key: error.path().to_string(), message }
    })
}

/// The value at `path`.
fn at<'a>(root: &'a toml::Value, path: &Path) -> Option<&'a toml::Value> {
    path.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use scff::seed::Seed;
    use source::DataSetName;

    use super::super::WireFormat;
    use super::*;

    const TEXT: &str = include_str!("../../../configs/iris.toml");

    fn refusal(text: &str, overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        parse("some.toml", text, &overrides).unwrap_err().to_string()
    }

    #[test]
    fn overrides_reach_every_place() {
        let set = ["layers.0.lr=0.5", "seed=9", "data.name=mnist", "wire=f16"].map(str::to_owned);
        let config = parse("iris.toml", TEXT, &set).unwrap();
        assert!((config.layers[0].lr - 0.5).abs() < f64::EPSILON);
        assert_eq!(config.seed, Seed(9));
        assert_eq!(config.data.name, Some(DataSetName::Mnist));
        assert_eq!(config.wire, WireFormat::F16);
    }

    #[test]
    fn a_resolved_configuration_reads_back() {
        let config = parse("iris.toml", TEXT, &[]).unwrap();
        assert_eq!(parse("again", &config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn a_relative_path_begins_at_the_file_or_where_it_is_typed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.toml");
        let paths = "path = \"x.npy\"\nlabels = \"y.npy\"";
        std::fs::write(&file, TEXT.replace("name = \"iris\"", paths)).unwrap();
        let paths = |set: &[String]| {
            let data = load(&file, set).unwrap().data;
            (data.path.unwrap(), data.labels.unwrap())
        };
        let beside = |name| dir.path().join(name);
        assert_eq!(paths(&[]), (beside("x.npy"), beside("y.npy")));
        let typed = std::env::current_dir().unwrap().join("others");
        assert_eq!(paths(&["data.path=others".to_owned()]), (typed, beside("y.npy")));
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused_with_file_and_key() {
        let unknown = refusal(TEXT, &["layers.0.lrr=1"]);
        assert!(
            unknown.starts_with("some.toml: layers[0].lrr: unknown field `lrr`, expected one of"),
            "{unknown}"
        );
        let wrong = refusal(TEXT, &["layers.0.lr=fast"]);
        assert_eq!(wrong, "some.toml: layers[0].lr: found the text \"fast\", expected a number, such as 0.1");
        let variant = refusal(TEXT, &["wire=f8"]);
        assert!(
            variant.starts_with("some.toml: wire: unknown variant `f8`, expected `f32` or `f16`"),
            "{variant}"
        );
        assert!(refusal("seed = ", &[]).starts_with("some.toml: "));
        let missing = refusal("seed = 1", &[]);
        assert!(missing.contains("missing field `data`"), "{missing}");
    }

    #[test]
    fn values_of_a_wrong_type_are_shown_with_an_example_of_a_right_one() {
        for (given, refusal) in [
            ("layers.0.lr=.1", "layers[0].lr: found the text \".1\", expected a number, such as 0.1"),
            ("layers.0.lr=0,25", "layers[0].lr: found the text \"0,25\", expected a number, such as 0.25"),
            (
                "training.batch=64.0",
                "training.batch: found the number 64.0, expected a whole number from 0 to",
            ),
            ("training.batch=64.0", "such as 64"),
            (
                "training.batch=-1",
                "training.batch: found the number -1, expected a whole number from 0 to 4294967295",
            ),
            ("data.translation=300", "found the number 300, expected a whole number from 0 to 255"),
            ("seed=x", "seed: found the text \"x\", expected a whole number, 0 or more, such as 100"),
            ("data.flip=1", "data.flip: found the number 1, expected true or false"),
            ("layers.0.name=3", "layers[0].name: found the number 3, expected a text in quotes"),
            ("wire=5", "wire: found the number 5, expected a text in quotes"),
            ("layers=3", "layers: found the number 3, expected a list"),
            ("layers.0.pool=max", "layers[0].pool: found the text \"max\", expected a table"),
            ("layers.0.shards=1.5", "layers[0].shards: found `1.5`, expected a number of workers"),
        ] {
            let error = self::refusal(TEXT, &[given]);
            assert!(error.contains(refusal), "{given}: {error}");
        }
    }

    #[test]
    fn what_is_no_toml_is_shown_as_toml_writes_it() {
        for (line, spelling) in [
            ("lr = .1", "TOML writes this number 0.1"),
            ("name = iris", "TOML writes text in quotes: \"iris\""),
            ("flip = True", "TOML writes true"),
        ] {
            let text = format!("seed = 1\n{line}\nwire = \"f32\"\n");
            let error = parse("some.toml", &text, &[]).unwrap_err();
            assert!(std::error::Error::source(&error).is_none(), "nothing is said twice");
            let error = error.to_string();
            assert!(error.starts_with("some.toml: ") && error.ends_with(spelling), "{error}");
        }
    }

    #[test]
    fn overrides_that_lead_nowhere_are_refused() {
        assert!(refusal(TEXT, &["lr"]).contains("expected key=value"));
        assert!(refusal(TEXT, &["layers.7.lr=1"]).contains("there is no `layers.7`"));
        assert!(refusal(TEXT, &["seed.x.y=1"]).contains("lies inside a plain value"));
        assert!(refusal(TEXT, &["nothing.x=1"]).contains("there is no `nothing`"));
    }
}
