//! `config.toml`: whose run a directory holds. Configurations are compared by value.

use std::collections::{BTreeMap, BTreeSet};

use proto::state::sha256;
use scff::layer::{SequencePadding, Summary};
use toml::Value;

use super::error::RunDirError;
use super::store::{Files, Store};
use crate::config::{self, Config, LayerConfig, LayerKind, Padding, PoolConfig};

/// The file's name.
pub const FILE: &str = "config.toml";

/// What a directory's file says; errors where there is no run.
pub fn read(files: &Files) -> Result<Config, RunDirError> {
    find(files)?.ok_or_else(|| RunDirError::NoRun { place: files.place().clone() })
}

/// The file's text; errors where there is no run.
pub fn text(files: &Files) -> Result<String, RunDirError> {
    let bytes = files.read(FILE)?.ok_or_else(|| RunDirError::NoRun { place: files.place().clone() })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(files: &Files) -> Result<Option<Config>, RunDirError> {
    let Some(bytes) = files.read(FILE)? else { return Ok(None) };
    let parsed = config::parse(&files.at(FILE).to_string(), &String::from_utf8_lossy(&bytes), &[]);
    parsed.map(Some).map_err(|error| RunDirError::Config { error })
}

/// Keeps the configuration in a new directory, and what may change of it in one whose run goes on; errors in a directory of
/// another configuration. A finished run's stays as it is.
pub fn keep(store: &Store, config: &Config, finished: bool) -> Result<(), RunDirError> {
    let files = store.files();
    let Some(found) = find(files)? else { return store.write(FILE, config.to_toml().as_bytes()) };
    let (there, here) = (values(&found), values(config));
    let (changed, differences): (Vec<&String>, Vec<&String>) =
        differing(&there, &here).into_iter().partition(|key| may_change(key, finished));
    if !differences.is_empty() {
        return Err(RunDirError::OtherConfig {
            place: files.place().clone(),
            differences: listed(&differences, &there, &here),
        });
    }
    if finished || changed.is_empty() {
        return Ok(());
    }
    tracing::info!("{}: from here on, {}", files.at(FILE), listed(&changed, &there, &here));
    store.write(FILE, config.to_toml().as_bytes())
}

/// SHA-256 over all that the weights of a run's layers follow from.
///
/// A key that comes to exist later, and has a default, should not be written where it has it: hashes would change.
pub fn hash(config: &Config) -> String {
    let fixed = values(config).into_iter().filter(|(key, _)| !may_change(key, false));
    let lines: Vec<String> = fixed.map(|(key, value)| format!("{key} = {value}")).collect();
    sha256(lines.join("\n").as_bytes())
}

/// Whether a key may change while its run goes on. What weights do not depend on may: when to report and to write
/// checkpoints, and who shares a layer. So may the readout, which nothing has been made of yet; it is part of what a finished
/// run says of itself.
fn may_change(key: &str, finished: bool) -> bool {
    let observing = ["training.report_every", "training.checkpoint_every"];
    let of_a_layer = |name: &str| {
        key.strip_prefix("layers.").and_then(|rest| rest.split_once('.')).is_some_and(|(_, key)| key == name)
    };
    let of_the_readout = key.starts_with("readout.") || of_a_layer("readout");
    observing.contains(&key) || of_a_layer("shards") || (!finished && of_the_readout)
}

/// Every key's value as it is written, where it was left out too.
fn values(config: &Config) -> BTreeMap<String, String> {
    let table = resolved(config).to_toml().parse().expect("a configuration writes TOML");
    let mut values = BTreeMap::from([("number of layers".to_owned(), config.layers.len().to_string())]);
    flatten("", &Value::Table(table), &mut values);
    values
}

/// The same configuration, with the values of those keys whose default is another one's value.
fn resolved(config: &Config) -> Config {
    let mut config = config.clone();
    config.data.split = config.data.split.or(config.data.default_split());
    let block = config.training.block;
    let stride = |pool: &mut PoolConfig| pool.stride = pool.stride.or(Some(pool.size));
    for layer in &mut config.layers {
        let LayerConfig { kind, padding, algorithm, summary, block: own, pool, readout_pool, .. } = layer;
        *own = own.or(Some(block));
        match kind {
            LayerKind::Dense => {}
            LayerKind::Conv => {
                *padding = padding.or(Some(Padding::Positions(0)));
                // There was no other before there was the key.
                *algorithm = algorithm.filter(|algorithm| !algorithm.is_direct());
            }
            LayerKind::BiRnn => {
                *padding = padding.or(Some(Padding::Sequences(SequencePadding::default())));
                *summary = summary.or(Some(Summary::default()));
            }
        }
        pool.iter_mut().chain(readout_pool).for_each(stride);
    }
    config
}

fn flatten(path: &str, value: &Value, values: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let written = match value {
        Value::Table(table) => {
            return table.iter().for_each(|(name, value)| flatten(&below(name), value, values));
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            return numbered.for_each(|(index, value)| flatten(&below(&index.to_string()), value, values));
        }
        Value::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    };
    values.insert(path.to_owned(), written);
}

type Values = BTreeMap<String, String>;

/// The keys whose values differ, or that are on one side only; but for those of layers that only one side has.
fn differing<'a>(there: &'a Values, here: &'a Values) -> Vec<&'a String> {
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let on_both = |key: &str| match key.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((index, _)) => {
            [there, here].iter().all(|values| values.contains_key(&format!("layers.{index}.name")))
        }
        None => true,
    };
    keys.into_iter().filter(|key| there.get(*key) != here.get(*key) && on_both(key)).collect()
}

/// Differences that are told.
const TOLD: usize = 5;

fn listed(keys: &[&String], there: &Values, here: &Values) -> String {
    let value = |values: &Values, key: &str| values.get(key).map_or("nothing", String::as_str).to_owned();
    let told = keys.iter().take(TOLD);
    let mut told: Vec<String> = told
        .map(|key| format!("{key} is {} there and {} here", value(there, key), value(here, key)))
        .collect();
    if keys.len() > TOLD {
        told.push(format!("and {} more differ", keys.len() - TOLD));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::objects::Patience;

    const IRIS: &str = include_str!("../../../configs/iris.toml");
    const CIFAR: &str = include_str!("../../../configs/cifar10.toml");

    fn config(text: &str, overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        config::parse("given.toml", text, &overrides).unwrap()
    }

    /// Opens a directory whose file says `there` with a configuration.
    fn open(there: &[u8], here: &Config, finished: bool) -> Result<String, RunDirError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), there).unwrap();
        keep(&Store::open(&folder.path().into(), &[], Patience::default()).unwrap(), here, finished)?;
        Ok(fs::read_to_string(folder.path().join(FILE)).unwrap())
    }

    #[test]
    fn a_comment_a_default_or_a_last_newline_makes_no_other_configuration() {
        let here = config(IRIS, &[]);
        let without = here.to_toml().replace("held_out = 0\n", "").replace("wire = \"f32\"\n", "");
        for there in [IRIS, IRIS.trim_end(), &without, &format!("# mine\n{}", here.to_toml())] {
            assert_eq!(open(there.as_bytes(), &here, false).unwrap(), there, "it stays as it is");
        }
        let replaced = |padding: &str, block: &str, stride: &str| {
            let text = CIFAR.replace("padding = 2\n", padding).replace("block = 96\n", block);
            hash(&config(&text.replace("stride = 2,", stride), &[]))
        };
        assert_eq!(replaced("", "", ""), replaced("padding = 0\n", "block = 200\n", "stride = 4,"));
        assert_ne!(replaced("", "", ""), replaced("padding = 1\n", "", ""));
    }

    #[test]
    fn runs_that_say_no_algorithm_are_those_of_the_direct_one() {
        let with = |change: &str| hash(&config(CIFAR, &[change]));
        assert_eq!(hash(&config(CIFAR, &[])), with("layers.2.algorithm=direct"));
        assert_ne!(hash(&config(CIFAR, &[])), with("layers.2.algorithm=winograd"));
        let winograd = config(CIFAR, &["layers.2.algorithm=winograd"]);
        let error = open(CIFAR.as_bytes(), &winograd, false).unwrap_err().to_string();
        assert!(error.contains("layers.2.algorithm is nothing there and \"winograd\" here"), "{error}");
    }

    #[test]
    fn a_difference_is_told_with_its_key_and_both_values() {
        let here = config(IRIS, &["layers.1.lr=0.5", "wire=f16"]);
        let error = open(IRIS.as_bytes(), &here, false).unwrap_err().to_string();
        assert!(error.contains("layers.1.lr is 0.01 there and 0.5 here"), "{error}");
        assert!(error.contains("wire is \"f32\" there and \"f16\" here"), "{error}");
        let one: String = IRIS.split("[[layers]]").take(2).collect::<Vec<_>>().join("[[layers]]")
            + "[readout]"
            + IRIS.split("[readout]").nth(1).unwrap();
        let error = open(IRIS.as_bytes(), &config(&one, &[]), false).unwrap_err().to_string();
        assert!(error.contains("number of layers is 2 there and 1 here"), "{error}");
        assert!(!error.contains("layers.1"), "{error}");
        let many =
            config(IRIS, &["seed=7", "data.flip=true", "wire=f16", "training.batch=9", "layers.0.lr=1.5"]);
        let error = open(IRIS.as_bytes(), &many, false).unwrap_err().to_string();
        assert!(!error.contains("more differ"), "{error}");
        let more = Config { layers: config(IRIS, &["layers.0.units=9"]).layers, ..many };
        let error = open(IRIS.as_bytes(), &config(&more.to_toml(), &["layers.1.lr=2.5"]), false).unwrap_err();
        assert!(
            error.to_string().contains("and 1 more differ; choose another directory with --out"),
            "{error}"
        );
    }

    #[test]
    fn what_weights_do_not_depend_on_may_change_while_a_run_goes_on() {
        let free = ["training.report_every=5", "training.checkpoint_every=5", "layers.0.shards=2"];
        let here = config(IRIS, &free);
        assert_eq!(open(IRIS.as_bytes(), &here, false).unwrap(), here.to_toml());
        assert_eq!(open(IRIS.as_bytes(), &here, true).unwrap(), IRIS, "a finished run is left alone");
        let readout = config(IRIS, &["readout.lr=0.5", "layers.0.readout=false"]);
        assert_eq!(open(IRIS.as_bytes(), &readout, false).unwrap(), readout.to_toml());
        let error = open(IRIS.as_bytes(), &readout, true).unwrap_err().to_string();
        assert!(error.contains("readout.lr is 0.01 there and 0.5 here"), "{error}");
        let all: Vec<&str> = free.iter().copied().chain(["readout.lr=0.5"]).collect();
        assert_eq!(hash(&config(IRIS, &all)), hash(&config(IRIS, &[])));
        assert_ne!(hash(&config(IRIS, &["layers.0.lr=0.02"])), hash(&config(IRIS, &[])));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_named_with_what_to_do() {
        let here = config(IRIS, &[]);
        let parts = [&b""[..], b"seed = ", b"\xff\xfe", &IRIS.as_bytes()[..600]];
        for there in parts {
            let error = open(there, &here, false).unwrap_err().to_string();
            assert!(error.contains("/config.toml: "), "{error}");
            assert!(error.contains("mend it, or choose another directory with --out"), "{error}");
        }
    }
}
