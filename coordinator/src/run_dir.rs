//! The run directory: what a run leaves behind, and what an interrupted one continues from.
//!
//! ```text
//! config.toml         the configuration as resolved       metrics.jsonl        a line for every report
//! run.json            name and BLAS kernel of the run     model.safetensors    all frozen layers
//! layers/NN.safetensors  each frozen layer                readout.safetensors  the linear classifier
//! checkpoint/NN.safetensors  the layer in training        summary.json         what came out
//! checkpoint/joint.safetensors  all layers in training, in a joint schedule
//! ```
//!
//! Invariant: every file is written beside its place, synced and renamed, so each is either old or new, whole.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::state::{self, Header, StateError};
use scff::batch::{LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::{LayerState, Tensors};
use serde::{Deserialize, Serialize};

use crate::config::{Config, TrainingSchedule};
use crate::plan::Stage;
use crate::summary::LayerSummary;

/// A run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another run uses the directory.
    #[error("{}: another coordinator is using this run directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// It holds a run of another configuration.
    #[error("{}: holds a run of another configuration: {difference}; choose another directory with --out", path.display())]
    OtherConfig {
        /// The directory.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A file with tensors is damaged.
    #[error("{}: {source}; remove the file to train the layer anew", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StateError,
    },
    /// Tensors do not fit the layer.
    #[error("{}: {source}; remove the file to train the layer anew", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: scff::layer::ShapeError,
    },
    /// A JSON file says something unexpected.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A frozen layer is gone that others have trained upon since.
    #[error(
        "{}: not there, although the layers above it have trained on its outputs; remove {} too, to train all layers anew",
        path.display(), checkpoint.display()
    )]
    Missing {
        /// The layer's file.
        path: PathBuf,
        /// The checkpoint of the layers above.
        checkpoint: PathBuf,
    },
    /// There is no run.
    #[error("{}: no run directory: there is no config.toml in it", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
}

/// What a run is called and computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The run's name on the workers: unique, so that runs do not take each other's layers.
    pub id: String,
    /// BLAS and kernel that its bits depend on; empty until a first worker was there.
    pub blas: String,
    /// The most memory that coordinator and workers have had resident in an earlier sitting, added up.
    #[serde(default)]
    pub peak_rss_bytes: u64,
}

/// What a stage carries besides the layer's state: it survives an interruption with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// Seconds of training so far.
    pub seconds: f64,
    /// Bytes sent to workers so far.
    pub bytes_sent: u64,
    /// Mean goodness of positive pairs in the last report.
    pub goodness_pos: f64,
    /// Mean goodness of negative pairs in the last report.
    pub goodness_neg: f64,
    /// Seconds that the trainer waited for batches so far.
    #[serde(default)]
    pub waiting_seconds: f64,
    /// Sums of goodness that workers who share the layer sent each other so far, in bytes.
    #[serde(default)]
    pub bytes_exchanged: u64,
    /// Batches that they handed on to each other so far, in bytes.
    #[serde(default)]
    pub bytes_forwarded: u64,
}

/// A frozen layer, and how it was trained.
pub type Frozen = (Arc<FrozenLayer>, LayerSummary);

/// Layers in training, after the same number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: Step,
    /// Each layer's state, and what it carries besides.
    pub layers: Vec<(LayerIndex, LayerState, Carried)>,
}

/// An open run directory; it is locked until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

const LAYERS: &str = "layers";
const SUMMARY: &str = "summary";
const LAYER: &str = "layer";

impl RunDir {
    /// Opens `path` for a run of `config`: a new directory, or one that holds a run of the same configuration.
    pub fn open(path: &Path, config: &Config) -> Result<Self, RunDirError> {
        for folder in ["layers", "checkpoint"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(|source| RunDirError::Io { path: folder, source })?;
        }
        let run = Self { _lock: lock(path)?, path: path.to_owned() };
        let text = config.to_toml();
        match fs::read_to_string(run.config_file()) {
            Ok(found) if found == text => {}
            Ok(found) => {
                return Err(RunDirError::OtherConfig {
                    path: run.path,
                    difference: difference(&found, &text),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                run.write("config.toml", text.as_bytes())?;
            }
            Err(source) => return Err(RunDirError::Io { path: run.config_file(), source }),
        }
        Ok(run)
    }

    /// Opens the directory of a run that exists.
    pub fn existing(path: &Path) -> Result<Self, RunDirError> {
        if !path.join("config.toml").is_file() {
            return Err(RunDirError::NoRun { path: path.to_owned() });
        }
        Ok(Self { _lock: lock(path)?, path: path.to_owned() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the resolved configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Where the metrics are.
    pub fn metrics_file(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The run's identity; a new one where there is none yet.
    pub fn identity(&self) -> Result<RunIdentity, RunDirError> {
        if let Some(identity) = self.read_json("run.json")? {
            return Ok(identity);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let unique = format!("{} {} {}", self.path.display(), std::process::id(), now.as_nanos());
        let identity = RunIdentity {
            id: state::sha256(unique.as_bytes())[..16].to_owned(),
            blas: String::new(),
            peak_rss_bytes: 0,
        };
        self.write_json("run.json", &identity)?;
        Ok(identity)
    }

    /// Keeps the run's identity.
    pub fn save_identity(&self, identity: &RunIdentity) -> Result<(), RunDirError> {
        self.write_json("run.json", identity)
    }

    /// Each layer, with its summary, if it is frozen.
    pub fn frozen(&self, stages: &[Stage]) -> Result<Vec<Option<Frozen>>, RunDirError> {
        stages
            .iter()
            .map(|stage| {
                let Some((path, bytes)) = self.read(&layer_file(stage.layer))? else { return Ok(None) };
                let damaged = |source| RunDirError::State { path: path.clone(), source };
                let (mut parts, header) = state::decode(&bytes, &[""]).map_err(damaged)?;
                let text = state::field(&header, SUMMARY).map_err(damaged)?;
                let summary = serde_json::from_str(text)
                    .map_err(|source| RunDirError::Json { path: path.clone(), source })?;
                let layer = FrozenLayer::new(stage.spec.clone(), parts.remove(0))
                    .map_err(|source| RunDirError::Shape { path, source })?;
                Ok(Some((Arc::new(layer), summary)))
            })
            .collect()
    }

    /// The error of a frozen layer that is gone.
    pub fn missing(&self, layer: LayerIndex) -> RunDirError {
        RunDirError::Missing {
            path: self.path.join(layer_file(layer)),
            checkpoint: self.path.join(checkpoint_file(TrainingSchedule::Joint, layer)),
        }
    }

    /// Keeps a frozen layer.
    pub fn save_frozen(
        &self,
        layer: LayerIndex,
        parameters: &Tensors,
        summary: &LayerSummary,
    ) -> Result<(), RunDirError> {
        let text = serde_json::to_string(summary).expect("a summary is plain data");
        let header = Header::from([(LAYER.to_owned(), layer.0.to_string()), (SUMMARY.to_owned(), text)]);
        self.write(&layer_file(layer), &state::encode(&[("", parameters)], header))
    }

    /// The checkpoint of a layer; in a joint schedule that of all layers in training.
    pub fn checkpoint(
        &self,
        schedule: TrainingSchedule,
        layer: LayerIndex,
        stages: &[Stage],
    ) -> Result<Option<Checkpoint>, RunDirError> {
        let Some((path, bytes)) = self.read(&checkpoint_file(schedule, layer))? else { return Ok(None) };
        let damaged = |source| RunDirError::State { path: path.clone(), source };
        let header = state::header(&bytes).map_err(damaged)?;
        let text = state::field(&header, LAYERS).map_err(damaged)?;
        let json = |source| RunDirError::Json { path: path.clone(), source };
        let layers: Vec<(u32, Carried)> = serde_json::from_str(text).map_err(json)?;
        let names: Vec<String> = layers.iter().map(|(layer, _)| part_name(LayerIndex(*layer))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (states, _) = state::decode_states(&bytes, &names).map_err(damaged)?;
        let mut checkpoint =
            Checkpoint { step: states.first().map_or(Step(0), |state| state.step), layers: vec![] };
        for ((layer, carried), state) in layers.into_iter().zip(states) {
            let layer = LayerIndex(layer);
            let stage = stages.get(layer.0 as usize).ok_or_else(|| {
                damaged(StateError::Header {
                    name: LAYERS.to_owned(),
                    found: layer.0.to_string(),
                    expected: format!("layers below {}", stages.len()),
                })
            })?;
            state
                .check(&stage.spec.map)
                .map_err(|source| RunDirError::Shape { path: path.clone(), source })?;
            checkpoint.layers.push((layer, state, carried));
        }
        Ok(Some(checkpoint))
    }

    /// Replaces a checkpoint by one of layers that have taken as many steps.
    pub fn save_checkpoint(
        &self,
        schedule: TrainingSchedule,
        layers: &[(LayerIndex, &LayerState, &Carried)],
    ) -> Result<(), RunDirError> {
        let carried: Vec<(u32, &Carried)> =
            layers.iter().map(|(layer, _, carried)| (layer.0, *carried)).collect();
        let text = serde_json::to_string(&carried).expect("plain data");
        let names: Vec<String> = layers.iter().map(|(layer, ..)| part_name(*layer)).collect();
        let states: Vec<_> =
            names.iter().map(String::as_str).zip(layers.iter().map(|(_, state, _)| *state)).collect();
        let header = Header::from([(LAYERS.to_owned(), text)]);
        let first = layers.first().expect("a layer").0;
        self.write(&checkpoint_file(schedule, first), &state::encode_states(&states, header))
    }

    /// Drops a checkpoint that nothing will go on from.
    pub fn drop_checkpoint(&self, schedule: TrainingSchedule, layer: LayerIndex) -> Result<(), RunDirError> {
        let checkpoint = self.path.join(checkpoint_file(schedule, layer));
        match fs::remove_file(&checkpoint) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(RunDirError::Io { path: checkpoint, source })
            }
            _ => Ok(()),
        }
    }

    /// Writes all frozen layers into one file, as `layers.0.weight` and so on.
    pub fn save_model(&self, layers: &[Arc<FrozenLayer>]) -> Result<(), RunDirError> {
        let names: Vec<String> = (0..layers.len()).map(|index| format!("layers.{index}")).collect();
        let parts: Vec<_> =
            names.iter().map(String::as_str).zip(layers.iter().map(|layer| layer.parameters())).collect();
        self.write("model.safetensors", &state::encode(&parts, Header::new()))
    }

    /// Writes the readout.
    pub fn save_readout(&self, parameters: &Tensors) -> Result<(), RunDirError> {
        self.write("readout.safetensors", &state::encode(&[("", parameters)], Header::new()))
    }

    /// Reads a JSON file, if it is there.
    pub fn read_json<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, RunDirError> {
        let Some((path, bytes)) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| RunDirError::Json { path, source })
    }

    /// Writes a JSON file.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunDirError> {
        let mut text = serde_json::to_string_pretty(value).expect("plain data");
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    fn read(&self, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, RunDirError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some((path, bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunDirError::Io { path, source }),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunDirError> {
        let path = self.path.join(name);
        write_atomically(&path, bytes).map_err(|source| RunDirError::Io { path, source })
    }
}

fn layer_file(layer: LayerIndex) -> String {
    format!("layers/{:02}.safetensors", layer.0)
}

fn checkpoint_file(schedule: TrainingSchedule, layer: LayerIndex) -> String {
    match schedule {
        TrainingSchedule::Greedy => format!("checkpoint/{:02}.safetensors", layer.0),
        TrainingSchedule::Joint => "checkpoint/joint.safetensors".to_owned(),
    }
}

fn part_name(layer: LayerIndex) -> String {
    format!("layers.{}", layer.0)
}

fn lock(path: &Path) -> Result<File, RunDirError> {
    let path = path.join("lock");
    let io = |source| RunDirError::Io { path: path.clone(), source };
    let file = File::create(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunDirError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Writes beside the file's place, syncs, renames, and syncs the folder.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn difference(found: &str, expected: &str) -> String {
    let mut section = "";
    let mut expected_lines = expected.lines();
    for line in found.lines() {
        if line.starts_with('[') {
            section = line;
        }
        match expected_lines.next() {
            Some(expected) if expected == line => {}
            Some(expected) => {
                return format!("`{line}` there, `{expected}` here {section}").trim_end().to_owned();
            }
            None => return format!("`{line}` only there {section}").trim_end().to_owned(),
        }
    }
    expected_lines.next().map_or_else(|| "none".to_owned(), |line| format!("`{line}` only here"))
}

/// Reads a step from a line of metrics.
#[derive(Deserialize)]
struct MetricsPlace {
    layer: u32,
    step: u64,
}

impl RunDir {
    /// Drops the lines of metrics but those of `frozen` layers and of `training` ones up to `step`: later steps are taken
    /// again.
    pub fn rewind_metrics(
        &self,
        frozen: &[LayerIndex],
        training: &[LayerIndex],
        step: Step,
    ) -> Result<(), RunDirError> {
        let Some((_, bytes)) = self.read("metrics.jsonl")? else { return Ok(()) };
        let text = String::from_utf8_lossy(&bytes);
        let stays = |line: &&str| {
            serde_json::from_str::<MetricsPlace>(line).is_ok_and(|place| {
                let layer = LayerIndex(place.layer);
                frozen.contains(&layer) || (training.contains(&layer) && place.step <= step.0)
            })
        };
        let kept: String = text.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
        if kept.len() == bytes.len() { Ok(()) } else { self.write("metrics.jsonl", kept.as_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use scff::batch::Epoch;
    use scff::seed::{Purpose, Seed};
    use source::{Shape, TrainingSamples};

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        config::parse("iris", include_str!("../../configs/iris.toml"), &overrides).unwrap()
    }

    const GREEDY: TrainingSchedule = TrainingSchedule::Greedy;

    fn stages() -> Vec<Stage> {
        let shape = Shape { height: 1, width: 1, channels: 4 };
        Plan::new(&config(&[]), shape, TrainingSamples::labelled(120)).unwrap().stages
    }

    fn state(layer: u32) -> LayerState {
        let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(layer), Epoch(0), Step(0));
        LayerState::initial(&stages()[layer as usize].spec.map, &mut random)
    }

    #[test]
    fn a_directory_serves_one_coordinator_and_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path(), &config(&[])).unwrap();
        assert!(matches!(RunDir::open(folder.path(), &config(&[])), Err(RunDirError::Locked { .. })));
        let identity = run.identity().unwrap();
        drop(run);
        assert_eq!(RunDir::open(folder.path(), &config(&[])).unwrap().identity().unwrap(), identity);
        let error = RunDir::open(folder.path(), &config(&["layers.1.lr=0.5"])).unwrap_err().to_string();
        assert!(error.contains("`lr = 0.01` there, `lr = 0.5` here [[layers]]"), "{error}");
    }

    #[test]
    fn a_checkpoint_comes_back_and_a_damaged_one_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path(), &config(&[])).unwrap();
        let checkpoint = |run: &RunDir| run.checkpoint(GREEDY, LayerIndex(0), &stages());
        assert!(checkpoint(&run).unwrap().is_none());
        let carried = Carried { seconds: 1.5, bytes_sent: 7, ..Carried::default() };
        run.save_checkpoint(GREEDY, &[(LayerIndex(0), &state(0), &carried)]).unwrap();
        let expected = Checkpoint { step: Step(0), layers: vec![(LayerIndex(0), state(0), carried)] };
        assert_eq!(checkpoint(&run).unwrap(), Some(expected));
        let file = folder.path().join("checkpoint/00.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        let error = checkpoint(&run).unwrap_err().to_string();
        assert!(error.contains("checkpoint/00.safetensors: header field `sha256`"), "{error}");
        assert!(error.contains("remove the file"), "{error}");
        fs::write(&file, &bytes[..100]).unwrap();
        assert!(checkpoint(&run).unwrap_err().to_string().contains("not a safetensors file"));
    }

    #[test]
    fn layers_that_train_together_have_one_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path(), &config(&[])).unwrap();
        let joint = TrainingSchedule::Joint;
        let layers = [0, 1].map(|layer| (LayerIndex(layer), state(layer), Carried::default()));
        let borrowed = layers.each_ref().map(|(layer, state, carried)| (*layer, state, carried));
        run.save_checkpoint(joint, &borrowed).unwrap();
        let checkpoint = |run: &RunDir| run.checkpoint(joint, LayerIndex(0), &stages()).unwrap();
        assert_eq!(checkpoint(&run).unwrap().layers, layers);
        run.drop_checkpoint(joint, LayerIndex(0)).unwrap();
        assert_eq!(checkpoint(&run), None);
        let error = run.missing(LayerIndex(0)).to_string();
        assert!(error.contains("layers/00.safetensors: not there") && error.contains("joint.safetensors"));
    }

    #[test]
    fn metrics_are_rewound_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path(), &config(&[])).unwrap();
        let line = |layer, step| format!("{{\"layer\":{layer},\"step\":{step}}}\n");
        let lines: Vec<String> =
            [(0, 10), (0, 20), (1, 10), (1, 20)].iter().map(|&(l, s)| line(l, s)).collect();
        fs::write(run.metrics_file(), lines.concat() + "{\"layer\":1,\"st").unwrap();
        run.rewind_metrics(&[LayerIndex(0)], &[LayerIndex(1)], Step(10)).unwrap();
        assert_eq!(fs::read_to_string(run.metrics_file()).unwrap(), lines[..3].concat());
        run.rewind_metrics(&[], &[LayerIndex(0), LayerIndex(1)], Step(10)).unwrap();
        assert_eq!(fs::read_to_string(run.metrics_file()).unwrap(), [line(0, 10), line(1, 10)].concat());
        run.rewind_metrics(&[], &[LayerIndex(0)], Step(0)).unwrap();
        assert_eq!(fs::read_to_string(run.metrics_file()).unwrap(), "");
    }
}
