//! What a configuration file says, before anything is made of it.
//!
//! Unknown keys and wrong types are refused here, with file, key and what is allowed; impossible combinations
//! are refused by [`crate::plan`].

mod data;

pub use data::{DataConfig, SplitKind};

use std::path;

use scff::layer::{Algorithm, PairSource, PoolKind, SequencePadding, Summary, Transmit};
use scff::seed::Seed;
use scff::train::Sharing;
use serde::{Deserialize, Serialize};
use serde_path_to_error::{Path, Segment};

use crate::grid::Grid;
use crate::mistyped;

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// All random choices follow from it.
    pub seed: Seed,
    /// Precision in which activations travel, are kept and are read out.
    #[serde(default)]
    pub wire: WireFormat,
    /// The data set and its views.
    pub data: DataConfig,
    /// What all layers have in common.
    pub training: TrainingConfig,
    /// The layers, from the input up.
    pub layers: Vec<LayerConfig>,
    /// The linear classifier that measures the frozen features; a run without it needs no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout: Option<ReadoutConfig>,
}

/// Precision on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireFormat {
    /// Single precision.
    #[default]
    F32,
    /// Half precision: half the bytes, activations rounded to 11 bits.
    F16,
}

/// `[training]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// In which order layers train.
    #[serde(default)]
    pub schedule: TrainingSchedule,
    /// Samples of a batch.
    pub batch: u32,
    /// Channels of a block: the unit in which layers are computed and sharded. Part of what fixes the bits. A layer may
    /// have its own.
    #[serde(default = "default_block")]
    pub block: u32,
    /// Steps between two lines of metrics.
    #[serde(default = "default_report_every")]
    pub report_every: u64,
    /// Steps between two checkpoints; a multiple of `report_every`.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: u64,
}

/// In which order layers train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingSchedule {
    /// Each layer trains and is frozen before the next.
    #[default]
    Greedy,
    /// Every layer steps on every batch, on the outputs of the layer below as it is then, until its own epochs are over.
    Joint,
}

/// `[[layers]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// The layer's name in logs and summaries.
    pub name: String,
    /// Kind of map.
    pub kind: LayerKind,
    /// Output units; of a convolution, output channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
    /// Hidden units of each direction of a bidirectional recurrent layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<u32>,
    /// Side of a convolution's square kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u32>,
    /// Reflect padding of a convolution [default: 0]; or what a recurrent layer makes of sequences of different lengths:
    /// "masked", where only frames count that are there, or "counts", where a batch is padded with frames of zeros, as in
    /// the paper's code [default: "masked"].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Padding>,
    /// How a convolution is computed: "direct", as patches times weights, or by "winograd", with a quarter of the multiplications,
    /// where the kernel is 3x3. Part of what fixes the bits [default: "winograd" of such convolutions that read a convolution of at
    /// least 64 channels and have as many, unless samples are shared; in the file of a run "direct", which nothing else was once].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// What the readout reads of the states of a recurrent layer: its "last" ones, their "mean" over all frames, or their
    /// means over "thirds" of them [default: "last"].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Channels of a block [default: that of `[training]`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<u32>,
    /// `makes`: pairs are made of single samples (every first layer; algorithm 2). `takes`: the pairs of the
    /// layer below (algorithm 1).
    pub pairs: PairSource,
    /// How many workers share the layer at most: a number, a grid of workers such as "2x3", for two rows that divide the samples of
    /// each batch and three columns that divide channels, or "auto" for as many as there are. Only layers that train alone are
    /// shared [default: what --shards says].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<Shards>,
    /// What workers that share the layer divide: its "channels", the "samples" of each batch, or both ("grid"). Part of what
    /// fixes the bits, with one worker too [default: "grid" for convolutions that take pairs, "samples" for those that make
    /// pairs and whose gradient is smaller than their goodness].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// What is passed on.
    pub transmit: Transmit,
    /// Negative pairs per sample and step.
    #[serde(default = "one")]
    pub negatives: u32,
    /// Whether the readout reads this layer.
    #[serde(default = "yes")]
    pub readout: bool,
    /// Epochs.
    pub epochs: u32,
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The learning rate is multiplied by this ...
    pub gamma: f64,
    /// ... every so many batches.
    pub period: u64,
    /// Positive pairs are pushed above this goodness.
    pub theta_pos: f32,
    /// Negative pairs are pushed below this goodness.
    pub theta_neg: f32,
    /// Weight of the penalty on the norm of positive goodness.
    pub lambda: f32,
    /// Pooling of what a convolution passes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolConfig>,
    /// Pooling once more before the readout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readout_pool: Option<PoolConfig>,
}

/// How many workers share a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// As many as there are on machines of their own: local workers do not share, for they have the same cores.
    Auto,
    /// So many at most.
    AtMost(u16),
    /// Those of a grid, or of a smaller one where there are not as many or the layer has not as many parts.
    Within(Grid),
}

impl std::str::FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self::AtMost(number)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Within).map_err(|()| {
                format!(
                    "found `{text}`, expected a number of workers, 1 or more, a grid such as `2x3`, or `auto`"
                )
            }),
        }
    }
}

impl Serialize for Shards {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::AtMost(number) => serializer.serialize_u16(*number),
            Self::Within(grid) => serializer.collect_str(grid),
        }
    }
}

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// `pool = { kind = "max", size = 4, stride = 2, padding = 1 }`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Maxima or averages.
    pub kind: PoolKind,
    /// Side of the square window.
    pub size: u32,
    /// From one window to the next [default: the size].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<u32>,
    /// Cells around the map.
    #[serde(default)]
    pub padding: u32,
}

/// A convolution's padding, or a recurrent layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Positions around a map.
    Positions(u32),
    /// What counts of a batch of sequences.
    Sequences(SequencePadding),
}

impl Serialize for Padding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Positions(number) => serializer.serialize_u32(*number),
            Self::Sequences(padding) => padding.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Padding {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::{Error, IntoDeserializer};
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(word) => {
                SequencePadding::deserialize(word.into_deserializer()).map(Self::Sequences)
            }
            other => u32::deserialize(other).map(Self::Positions).map_err(Error::custom),
        }
    }
}

/// Kinds of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// Every unit reads every input.
    Dense,
    /// Every channel reads patches of an image or of the map below, the same weights everywhere.
    Conv,
    /// A bidirectional recurrent layer, which reads sequences frame by frame.
    #[serde(rename = "birnn")]
    BiRnn,
}

/// `[readout]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadoutConfig {
    /// Adam's learning rate in the first epoch; it halves at 20, 35, 50, 60, 70, 80 and 90 % of the epochs.
    pub lr: f64,
    /// Samples of a batch.
    pub batch: u32,
    /// Epochs.
    pub epochs: u32,
    /// Probability that a feature is dropped in a training step.
    pub dropout: f32,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn default_block() -> u32 {
    200
}

fn default_report_every() -> u64 {
    100
}

fn default_checkpoint_every() -> u64 {
    1000
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{file}: {}{}", cause.to_string().trim_end(),
            spelling.as_ref().map(|spelling| format!("; {spelling}")).unwrap_or_default())]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        cause: Box<toml::de::Error>,
        /// How TOML writes what stands there, if that can be guessed.
        spelling: Option<String>,
    },
    /// A key is unknown, missing or of the wrong type.
    #[error("{file}: {key}: {message}")]
    Key {
        /// The file.
        file: String,
        /// The key's path.
        key: String,
        /// What was found and what is allowed.
        message: String,
    },
    /// An override is not `key=value`, or names no place in the file.
    #[error("--set {given}: {message}")]
    Override {
        /// The argument as given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
}

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

/// Channels in and out with which Winograd's algorithm pays: of fewer, transforms take what products gain.
const TRANSFORMED: u32 = 64;

/// Convolutions of such shapes are computed by Winograd's algorithm where nothing else is said.
fn choose_algorithms(layers: &mut [LayerConfig]) {
    for index in 1..layers.len() {
        let (below, layer) = (&layers[index - 1], &layers[index]);
        let wide = |layer: &LayerConfig| {
            layer.kind == LayerKind::Conv && layer.units.is_some_and(|units| units >= TRANSFORMED)
        };
        let possible = layer.kernel == Some(3) && layer.sharing != Some(Sharing::Samples);
        if layer.algorithm.is_none() && possible && wide(below) && wide(layer) {
            layers[index].algorithm = Some(Algorithm::Winograd);
        }
    }
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
        apply_override(&mut value, given)
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

impl Config {
    /// The configuration as TOML: what a run directory keeps.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a parsed configuration can be written")
    }
}

fn apply_override(root: &mut toml::Value, given: &str) -> Result<(), String> {
    let (path, value) = given.split_once('=').ok_or("expected key=value, such as layers.0.lr=0.01")?;
    let value = parse_value(value.trim());
    let mut segments = path.trim().split('.').peekable();
    let mut place = root;
    let mut walked = String::new();
    while let Some(segment) = segments.next() {
        walked = if walked.is_empty() { segment.to_owned() } else { format!("{walked}.{segment}") };
        place = match place {
            toml::Value::Table(table) if segments.peek().is_none() => {
                table.insert(segment.to_owned(), value);
                return Ok(());
            }
            toml::Value::Table(table) => {
                table.get_mut(segment).ok_or_else(|| format!("there is no `{walked}`"))?
            }
            toml::Value::Array(items) => {
                let length = items.len();
                let item = segment.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| format!("there is no `{walked}`: expected an index below {length}"))?
            }
            _ => return Err(format!("`{walked}` lies inside a plain value")),
        };
    }
    *place = value;
    Ok(())
}

/// A TOML value, or else the text itself, so that `--set data.name=mnist` needs no quotes.
fn parse_value(text: &str) -> toml::Value {
    let wrapped = format!("value = {text}").parse::<toml::Table>();
    wrapped
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use source::DataSetName;

    use super::*;

    const TEXT: &str = include_str!("../../configs/iris.toml");

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
    fn wide_convolutions_of_3x3_are_computed_by_winograd_where_nothing_else_is_said() {
        let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/cifar10.toml"));
        let algorithms = |set: &[&str]| {
            let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
            let layers = load(file, &set).unwrap().layers;
            layers.into_iter().map(|layer| layer.algorithm).collect::<Vec<_>>()
        };
        let winograd = Some(Algorithm::Winograd);
        assert_eq!(algorithms(&[]), [None, winograd, winograd]);
        assert_eq!(algorithms(&["layers.1.algorithm=direct"]), [None, Some(Algorithm::Direct), winograd]);
        assert_eq!(algorithms(&["layers.2.sharing=samples"]), [None, winograd, None]);
        assert_eq!(algorithms(&["layers.1.units=32"]), [None; 3]);
        assert_eq!(algorithms(&["layers.1.kernel=5"]), [None, None, winograd]);
        let of_a_run = parse("config.toml", include_str!("../../configs/cifar10.toml"), &[]).unwrap();
        assert!(of_a_run.layers.iter().all(|layer| layer.algorithm.is_none()));
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
    fn a_layer_is_shared_by_a_number_of_workers_or_all() {
        let shards = |given: &str| {
            let set = [format!("layers.0.shards={given}")];
            parse("iris.toml", TEXT, &set).map(|config| config.layers[0].shards)
        };
        assert_eq!(shards("4").unwrap(), Some(Shards::AtMost(4)));
        assert_eq!(shards("auto").unwrap(), Some(Shards::Auto));
        assert_eq!(shards("2x3").unwrap(), Some(Shards::Within(Grid { rows: 2, columns: 3 })));
        for wrong in ["0", "3x0", "2x", "x"] {
            let error = shards(wrong).unwrap_err().to_string();
            let expected = format!("layers[0].shards: found `{wrong}`, expected a number of workers");
            assert!(error.contains(&expected), "{error}");
        }
        for set in
            [["layers.0.shards=3", "layers.1.shards=auto"], ["layers.0.shards=2x3", "layers.1.shards=1x4"]]
        {
            let config = parse("iris.toml", TEXT, &set.map(str::to_owned)).unwrap();
            assert_eq!(parse("again", &config.to_toml(), &[]).unwrap(), config);
        }
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
