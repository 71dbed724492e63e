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
//! Invariant: every file is written beside its place, synced and renamed, so each is either old or new, whole; but for
//! `metrics.jsonl`, which grows.

mod error;
mod json;
mod store;

mod configuration;
mod identity;

mod checkpoint;
mod frozen;
mod metrics;

use std::path::{Path, PathBuf};

use scff::batch::{LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::Tensors;

use crate::config::{Config, TrainingSchedule};
use crate::plan::Stage;
use crate::summary::Summary;

pub use checkpoint::{Checkpoint, TrainedLayer};
pub use error::RunDirError;
pub use frozen::FrozenLayerFile;
pub use identity::RunIdentity;
pub use metrics::MetricsFile;

use store::{Files, Store};

/// A run directory that is read and not written to; whoever writes to it is not in the way.
#[derive(Debug)]
pub struct RunDirReader {
    files: Files,
}

impl RunDirReader {
    /// Opens the directory of a run that exists.
    pub fn open(path: &Path) -> Result<Self, RunDirError> {
        let files = Files::new(path);
        configuration::find(&files)?;
        Ok(Self { files })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.files.folder()
    }

    /// Where the resolved configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.files.at(configuration::FILE)
    }

    /// The run's identity, if it has one yet.
    pub fn identity(&self) -> Result<Option<RunIdentity>, RunDirError> {
        identity::read(&self.files)
    }

    /// Each layer, with its summary, if it is frozen.
    pub fn frozen(&self, stages: &[Stage]) -> Result<Vec<Option<FrozenLayerFile>>, RunDirError> {
        stages.iter().map(|stage| frozen::read(&self.files, stage)).collect()
    }
}

/// The run directory of a run at work; it is locked until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    store: Store,
}

impl RunDir {
    /// Opens `path` for a run of `config`: a new directory, or one that holds a run of the same configuration.
    pub fn open(path: &Path, config: &Config) -> Result<Self, RunDirError> {
        let store = Store::open(path, &["layers", "checkpoint"])?;
        configuration::keep(&store, config)?;
        Ok(Self { store })
    }

    /// Opens the directory of a run that exists.
    pub fn existing(path: &Path) -> Result<Self, RunDirError> {
        configuration::find(&Files::new(path))?;
        Ok(Self { store: Store::open(path, &[])? })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.store.files().folder()
    }

    /// Where the resolved configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.store.files().at(configuration::FILE)
    }

    /// The run's identity; a new one where there is none yet.
    pub fn identity(&self) -> Result<RunIdentity, RunDirError> {
        if let Some(identity) = identity::read(self.store.files())? {
            return Ok(identity);
        }
        let identity = RunIdentity::new(self.path());
        identity::write(&self.store, &identity)?;
        Ok(identity)
    }

    /// Keeps the run's identity.
    pub fn save_identity(&self, identity: &RunIdentity) -> Result<(), RunDirError> {
        identity::write(&self.store, identity)
    }

    /// Each layer, with its summary, if it is frozen.
    pub fn frozen(&self, stages: &[Stage]) -> Result<Vec<Option<FrozenLayerFile>>, RunDirError> {
        stages.iter().map(|stage| frozen::read(self.store.files(), stage)).collect()
    }

    /// The error of a frozen layer that is gone.
    pub fn missing(&self, layer: LayerIndex) -> RunDirError {
        let files = self.store.files();
        RunDirError::Missing {
            path: files.at(&frozen::file(layer)),
            checkpoint: files.at(&checkpoint::file(TrainingSchedule::Joint, layer)),
        }
    }

    /// Keeps a frozen layer.
    pub fn save_frozen(&self, index: LayerIndex, frozen: &FrozenLayerFile) -> Result<(), RunDirError> {
        frozen::write(&self.store, index, frozen)
    }

    /// The checkpoint of a layer; in a joint schedule that of all layers in training.
    pub fn checkpoint(
        &self,
        schedule: TrainingSchedule,
        layer: LayerIndex,
        stages: &[Stage],
    ) -> Result<Option<Checkpoint>, RunDirError> {
        checkpoint::read(self.store.files(), &checkpoint::file(schedule, layer), stages)
    }

    /// The steps that [`Self::checkpoint`] has, without its tensors.
    pub fn checkpoint_step(
        &self,
        schedule: TrainingSchedule,
        layer: LayerIndex,
    ) -> Result<Option<Step>, RunDirError> {
        checkpoint::step(self.store.files(), &checkpoint::file(schedule, layer))
    }

    /// Replaces a checkpoint by one of layers that have taken as many steps.
    pub fn save_checkpoint(
        &self,
        schedule: TrainingSchedule,
        layers: &[(LayerIndex, &TrainedLayer)],
    ) -> Result<(), RunDirError> {
        let (first, _) = layers.first().expect("a layer");
        checkpoint::write(&self.store, &checkpoint::file(schedule, *first), layers)
    }

    /// Drops a checkpoint that nothing will go on from.
    pub fn drop_checkpoint(&self, schedule: TrainingSchedule, layer: LayerIndex) -> Result<(), RunDirError> {
        self.store.remove(&checkpoint::file(schedule, layer))
    }

    /// Opens the metrics, to add lines.
    pub fn metrics(&self) -> Result<MetricsFile, RunDirError> {
        metrics::open(&self.store)
    }

    /// Drops the lines of metrics but those of `frozen` layers and of `training` ones up to `step`: later steps are taken
    /// again.
    pub fn rewind_metrics(
        &self,
        frozen: &[LayerIndex],
        training: &[LayerIndex],
        step: Step,
    ) -> Result<(), RunDirError> {
        metrics::rewind(&self.store, frozen, training, step)
    }

    /// Writes all frozen layers into one file, as `layers.0.weight` and so on.
    pub fn save_model(&self, layers: &[&FrozenLayer]) -> Result<(), RunDirError> {
        frozen::write_model(&self.store, layers)
    }

    /// Writes the readout.
    pub fn save_readout(&self, parameters: &Tensors) -> Result<(), RunDirError> {
        frozen::write_readout(&self.store, parameters)
    }

    /// What came out, if the run is finished.
    pub fn summary(&self) -> Result<Option<Summary>, RunDirError> {
        let files = self.store.files();
        files.read(SUMMARY)?.map(|bytes| json::parse(&files.at(SUMMARY), &bytes)).transpose()
    }

    /// Keeps what came out: the run is finished.
    pub fn save_summary(&self, summary: &Summary) -> Result<(), RunDirError> {
        self.store.write(SUMMARY, json::document(summary).as_bytes())
    }
}

const SUMMARY: &str = "summary.json";

#[cfg(test)]
mod tests {
    use std::fs;

    use scff::batch::Epoch;
    use scff::layer::LayerState;
    use scff::seed::{Purpose, Seed};
    use source::{Shape, TrainingSamples};

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::totals::Carried;

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        config::parse("iris", include_str!("../../../configs/iris.toml"), &overrides).unwrap()
    }

    const GREEDY: TrainingSchedule = TrainingSchedule::Greedy;

    fn stages() -> Vec<Stage> {
        let shape = Shape { height: 1, width: 1, channels: 4 };
        Plan::new(&config(&[]), shape, TrainingSamples::labelled(120)).unwrap().stages
    }

    fn trained(layer: u32, carried: Carried) -> TrainedLayer {
        let mut random = Seed(1).stream(Purpose::Initialization, LayerIndex(layer), Epoch(0), Step(0));
        let state = LayerState::initial(&stages()[layer as usize].spec.map, &mut random);
        TrainedLayer { state, carried }
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
        let layer = trained(0, carried);
        run.save_checkpoint(GREEDY, &[(LayerIndex(0), &layer)]).unwrap();
        let expected = Checkpoint { step: Step(0), layers: [(LayerIndex(0), layer)].into() };
        assert_eq!(checkpoint(&run).unwrap(), Some(expected));
        assert_eq!(run.checkpoint_step(GREEDY, LayerIndex(0)).unwrap(), Some(Step(0)));
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
        let layers = [0, 1].map(|layer| (LayerIndex(layer), trained(layer, Carried::default())));
        run.save_checkpoint(joint, &layers.each_ref().map(|(layer, trained)| (*layer, trained))).unwrap();
        let checkpoint = |run: &RunDir| run.checkpoint(joint, LayerIndex(0), &stages()).unwrap();
        assert_eq!(checkpoint(&run).unwrap().layers, layers.into());
        run.drop_checkpoint(joint, LayerIndex(0)).unwrap();
        assert_eq!(checkpoint(&run), None);
        let error = run.missing(LayerIndex(0)).to_string();
        assert!(error.contains("layers/00.safetensors: not there") && error.contains("joint.safetensors"));
    }
}
