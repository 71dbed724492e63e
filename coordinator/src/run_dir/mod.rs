//! The run directory: what a run leaves behind, and what an interrupted one continues from.
//!
//! ```text
//! config.toml         the configuration as resolved       metrics.jsonl        a line for every report
//! run.json            name and BLAS kernel of the run     model.safetensors    all frozen layers
//! input.json          how its samples are read and scaled  manifest.json        the files that they were read from
//! layers/NN.safetensors  each frozen layer                readout.safetensors  the linear classifier
//! checkpoint/NN.safetensors  the layer in training        summary.json         what came out
//! checkpoint/joint.safetensors  all layers in training, in a joint schedule
//! checkpoint/*.previous.safetensors  the checkpoint before  lock              held by who writes
//! checkpoint.safetensors  a baseline that learns, after its last epoch
//! scores/METHOD.safetensors  what samples are compared with to score them
//! baseline.json       what came out of a baseline, which has config.toml, model and readout besides, or is a run of no epochs
//! ```
//!
//! It is a folder, or a prefix on an object store. Invariant: every file is either old or new, whole; but for `metrics.jsonl`,
//! which grows. So who only reads needs no lock. Invariant: nothing is written that cannot be read back.

mod error;
mod format;
mod json;
mod store;

mod configuration;
mod identity;
mod input;
mod manifest;

mod checkpoint;
mod frozen;
mod metrics;

mod reference;

mod baseline;

use scff::batch::{LayerIndex, Step};
use scff::frozen::FrozenLayer;
use scff::layer::Tensors;
use source::{InputSpec, Manifest};

use crate::config::{Config, TrainingSchedule};
use crate::location::Location;
use crate::objects::Patience;
use crate::plan::Stage;
use crate::summary::Summary;
use crate::totals::Metrics;

pub use baseline::{BaselineCheckpoint, BaselineDir};
pub use checkpoint::{Checkpoint, TrainedLayer};
pub use error::{Damage, RunDirError};
pub use frozen::{FrozenLayerFile, ModelFile, ReadoutFile, read_layer, read_model};
pub use identity::RunIdentity;
pub use reference::{Arrays, ReferenceOf, write as keep_reference};

use store::{Files, Store};

/// A run directory that is read and not written to; whoever writes to it is not in the way.
#[derive(Debug)]
pub struct RunDirReader {
    files: Files,
    configuration: String,
}

impl RunDirReader {
    /// Opens the directory of a run that exists.
    pub fn open(place: &Location) -> Result<Self, RunDirError> {
        let files = Files::open(place)?;
        let configuration = configuration::hash(&configuration::read(&files)?);
        Ok(Self { files, configuration })
    }

    /// The directory.
    pub fn place(&self) -> &Location {
        self.files.place()
    }

    /// Where the resolved configuration is, and what it says.
    pub fn config_file(&self) -> Result<(Location, String), RunDirError> {
        Ok((self.files.at(configuration::FILE), configuration::text(&self.files)?))
    }

    /// Whether its layers are those of a run of `config`.
    pub fn is_of(&self, config: &Config) -> bool {
        self.configuration == configuration::hash(config)
    }

    /// The run's identity, if it has one yet.
    pub fn identity(&self) -> Result<Option<RunIdentity>, RunDirError> {
        identity::read(&self.files)
    }

    /// How samples of the run's kind are read; runs of earlier versions do not say.
    pub fn input(&self) -> Result<Option<InputSpec>, RunDirError> {
        input::read(&self.files)
    }

    /// Each layer, with its summary, if it is frozen.
    pub fn frozen(&self, stages: &[Stage]) -> Result<Vec<Option<FrozenLayerFile>>, RunDirError> {
        stages.iter().map(|stage| frozen::read(&self.files, stage, &self.configuration)).collect()
    }

    /// The layers that are frozen so far, from the input up, as their files say that they are; and which of them the readout
    /// reads, where a file says.
    pub fn model(&self) -> Result<ModelFile, RunDirError> {
        match frozen::model(&self.files)? {
            Some(model) => Ok(model),
            None => Ok(ModelFile { layers: frozen::layers(&self.files)?, read: None }),
        }
    }

    /// What samples are compared with by a method: arrays of these names and ranks, where they are there and were made with
    /// these layers.
    pub fn reference(
        &self,
        method: &str,
        of: &ReferenceOf,
        expected: &[(&'static str, usize)],
    ) -> Result<Option<Arrays>, RunDirError> {
        reference::read(&self.files, method, of, expected)
    }

    /// The readout, if it is trained.
    pub fn readout(&self) -> Result<Option<ReadoutFile>, RunDirError> {
        frozen::readout(&self.files)
    }
}

/// The run directory of a run at work; it is locked until it is dropped.
#[derive(Debug)]
pub struct RunDir {
    store: Store,
    /// The hash of what the weights follow from.
    configuration: String,
    /// How many layers the configuration has.
    layers: u32,
}

impl RunDir {
    /// Opens `place` for a run of `config`: a new directory, or one that holds a run of the same configuration. On an object
    /// store, where others that are at work may have to be waited for, with `patience`.
    pub fn open(place: &Location, config: &Config, patience: Patience) -> Result<Self, RunDirError> {
        let store = Store::open(place, &[frozen::FOLDER, checkpoint::FOLDER], patience)?;
        let kept = store.files().has(SUMMARY).and_then(|done| configuration::keep(&store, config, done));
        kept.inspect_err(|_| store.release())?;
        Ok(Self { store, configuration: configuration::hash(config), layers: config.layers.len() as u32 })
    }

    /// Lets others have the directory. Nothing is written any more.
    pub fn release(&self) {
        self.store.release();
    }

    /// The directory.
    pub fn place(&self) -> &Location {
        self.store.files().place()
    }

    /// The run's identity; a new one where there is none yet.
    pub fn identity(&self) -> Result<RunIdentity, RunDirError> {
        if let Some(identity) = identity::read(self.store.files())? {
            return Ok(identity);
        }
        let identity = RunIdentity::new(self.place());
        identity::write(&self.store, &identity)?;
        Ok(identity)
    }

    /// Keeps the run's identity.
    pub fn save_identity(&self, identity: &RunIdentity) -> Result<(), RunDirError> {
        identity::write(&self.store, identity)
    }

    /// Keeps how samples are read; errors where the run began with others.
    pub fn keep_input(&self, input: &InputSpec) -> Result<(), RunDirError> {
        input::keep(&self.store, input)
    }

    /// Keeps what the classes of a readout are called, whose labels are none of the data set's.
    pub fn name_classes(&self, classes: &[String]) -> Result<(), RunDirError> {
        input::name_classes(&self.store, classes)
    }

    /// Keeps which files samples were read from, and their sum in the run's identity; errors where the run began with others.
    pub fn keep_manifest(&self, manifest: &Manifest) -> Result<(), RunDirError> {
        manifest::keep(&self.store, manifest)?;
        let identity = self.identity()?;
        if identity.data_sha256.as_ref() == Some(&manifest.sha256) {
            return Ok(());
        }
        self.save_identity(&RunIdentity { data_sha256: Some(manifest.sha256.clone()), ..identity })
    }

    /// Each layer, with its summary, if it is frozen.
    pub fn frozen(&self, stages: &[Stage]) -> Result<Vec<Option<FrozenLayerFile>>, RunDirError> {
        let read = |stage| frozen::read(self.store.files(), stage, &self.configuration);
        stages.iter().map(read).collect()
    }

    /// The error of a frozen layer that is gone.
    pub fn missing(&self, layer: LayerIndex) -> RunDirError {
        let files = self.store.files();
        RunDirError::Missing {
            place: files.at(&frozen::file(layer)),
            checkpoints: files.at(checkpoint::FOLDER),
        }
    }

    /// Keeps a frozen layer.
    pub fn save_frozen(&self, index: LayerIndex, frozen: &FrozenLayerFile) -> Result<(), RunDirError> {
        frozen::write(&self.store, index, frozen, &self.configuration)
    }

    /// The checkpoint of a layer; in a joint schedule that of all layers in training. Where the last one is damaged it is the
    /// one before, which takes its place.
    pub fn checkpoint(
        &self,
        schedule: TrainingSchedule,
        layer: LayerIndex,
        stages: &[Stage],
    ) -> Result<Option<Checkpoint>, RunDirError> {
        checkpoint::restore(&self.store, &checkpoint::file(schedule, layer), stages, &self.configuration)
    }

    /// The steps that [`Self::checkpoint`] has, without its tensors.
    pub fn checkpoint_step(
        &self,
        schedule: TrainingSchedule,
        layer: LayerIndex,
    ) -> Result<Option<Step>, RunDirError> {
        checkpoint::step(self.store.files(), &checkpoint::file(schedule, layer))
    }

    /// Replaces a checkpoint by one of layers that have taken as many steps, and keeps the one before.
    pub fn save_checkpoint(
        &self,
        schedule: TrainingSchedule,
        layers: &[(LayerIndex, &TrainedLayer)],
    ) -> Result<(), RunDirError> {
        let (first, _) = layers.first().expect("a layer");
        checkpoint::write(&self.store, &checkpoint::file(schedule, *first), layers, &self.configuration)
    }

    /// Drops a checkpoint that nothing will go on from, and the one before.
    pub fn drop_checkpoint(&self, schedule: TrainingSchedule, layer: LayerIndex) -> Result<(), RunDirError> {
        checkpoint::remove(&self.store, &checkpoint::file(schedule, layer))
    }

    /// Adds a line to the metrics, once they were rewound.
    pub fn append_metrics(&self, metrics: &Metrics) -> Result<(), RunDirError> {
        metrics::append(&self.store, metrics)
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

    /// Writes all frozen layers into one file, as `layers.0.weight` and so on; `read`: the indices of those that the readout
    /// reads.
    pub fn save_model(&self, layers: &[&FrozenLayer], read: &[usize]) -> Result<(), RunDirError> {
        frozen::write_model(&self.store, layers, read, &self.configuration)
    }

    /// Writes the readout, which reads the layers of these indices.
    pub fn save_readout(&self, parameters: &Tensors, read: &[usize]) -> Result<(), RunDirError> {
        frozen::write_readout(&self.store, parameters, read)
    }

    /// What came out, if the run is finished. A damaged file is nothing, where all that it said can be measured again.
    pub fn summary(&self) -> Result<Option<Summary>, RunDirError> {
        let files = self.store.files();
        let Some(bytes) = files.read(SUMMARY)? else { return Ok(None) };
        let damage = match serde_json::from_slice(&bytes) {
            Ok(summary) => return Ok(Some(summary)),
            Err(error) => Damage::Json(error),
        };
        let place = files.at(SUMMARY);
        for layer in 0..self.layers {
            if !files.has(&frozen::file(LayerIndex(layer)))? {
                return Err(damage.at(place, SOME_ARE_GONE));
            }
        }
        tracing::warn!("{place}: {damage}; it is made anew from the frozen layers");
        Ok(None)
    }

    /// Keeps what came out: the run is finished.
    pub fn save_summary(&self, summary: &Summary) -> Result<(), RunDirError> {
        let text = json::document(&self.store.files().at(SUMMARY), summary)?;
        self.store.write(SUMMARY, text.as_bytes())
    }
}

const SUMMARY: &str = "summary.json";
const SOME_ARE_GONE: &str = "remove the file to go on with the run, some of whose layers are not there";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use ndarray::Array1;
    use proto::state;
    use scff::batch::Epoch;
    use scff::layer::LayerState;
    use scff::seed::{Purpose, Seed};
    use source::{Shape, TrainingSamples};

    use super::*;
    use crate::config;
    use crate::plan::Plan;
    use crate::summary::LayerSummary;
    use crate::totals::{Carried, Measures, Spent};

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

    fn open(folder: &tempfile::TempDir) -> RunDir {
        open_with(folder, &[]).unwrap()
    }

    fn open_with(folder: &tempfile::TempDir, overrides: &[&str]) -> Result<RunDir, RunDirError> {
        RunDir::open(&folder.path().into(), &config(overrides), Patience::default())
    }

    #[test]
    fn a_directory_serves_one_coordinator_and_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        assert!(matches!(open_with(&folder, &[]), Err(RunDirError::Locked { .. })));
        let identity = run.identity().unwrap();
        let reader = RunDirReader::open(&folder.path().into()).unwrap();
        assert_eq!(reader.identity().unwrap(), Some(identity.clone()), "who reads needs no lock");
        drop(run);
        assert_eq!(open(&folder).identity().unwrap(), identity);
        let error = open_with(&folder, &["layers.1.lr=0.5"]).unwrap_err().to_string();
        assert!(error.contains("layers.1.lr is 0.01 there and 0.5 here"), "{error}");
    }

    fn with_bias(tensors: &Tensors, value: f32) -> Tensors {
        Tensors::linear(tensors.weight().to_owned(), Array1::from_elem(tensors.bias().len(), value))
    }

    /// A checkpoint of these layers after so many steps.
    fn checkpoint(layers: &[u32], step: u64) -> Checkpoint {
        let carried = Carried { seconds: step as f64, bytes_sent: 7, ..Carried::default() };
        let layer = |&layer| {
            let mut trained = trained(layer, carried);
            trained.state.step = Step(step);
            trained.state.parameters = with_bias(&trained.state.parameters, step as f32);
            (LayerIndex(layer), trained)
        };
        Checkpoint { step: Step(step), layers: layers.iter().map(layer).collect() }
    }

    fn save(run: &RunDir, schedule: TrainingSchedule, checkpoint: &Checkpoint) {
        let layers: Vec<_> = checkpoint.layers.iter().map(|(layer, trained)| (*layer, trained)).collect();
        run.save_checkpoint(schedule, &layers).unwrap();
    }

    #[test]
    fn whatever_happens_to_the_last_checkpoint_the_one_before_is_gone_on_from() {
        for (schedule, layers, name) in
            [(GREEDY, &[0][..], "00"), (TrainingSchedule::Joint, &[0, 1][..], "joint")]
        {
            let folder = tempfile::tempdir().unwrap();
            let run = open(&folder);
            let restored = || run.checkpoint(schedule, LayerIndex(0), &stages());
            assert_eq!(restored().unwrap(), None);
            let [before, last] = [20, 40].map(|step| checkpoint(layers, step));
            save(&run, schedule, &before);
            save(&run, schedule, &last);
            assert_eq!(restored().unwrap().as_ref(), Some(&last));
            assert_eq!(run.checkpoint_step(schedule, LayerIndex(0)).unwrap(), Some(Step(40)));
            let file = folder.path().join(format!("checkpoint/{name}.safetensors"));
            let kept = folder.path().join(format!("checkpoint/{name}.previous.safetensors"));
            let whole = fs::read(&file).unwrap();
            let stride = whole.len() / 40;
            for place in (0..whole.len()).step_by(stride).chain([whole.len() - 1]) {
                let mut flipped = whole.clone();
                flipped[place] ^= 4;
                for damaged in [&flipped, &whole[..place]] {
                    save_raw(&kept, &before, &run, schedule);
                    fs::write(&file, damaged).unwrap();
                    let found = restored().unwrap().unwrap();
                    // Some bytes say nothing, such as the spaces that end the header.
                    assert!(found == before || found == last, "byte {place}");
                    assert!(found == before || damaged.len() == whole.len(), "cut at {place}");
                    assert_eq!(run.checkpoint_step(schedule, LayerIndex(0)).unwrap(), Some(found.step));
                }
            }
            fs::write(&file, &whole[..9]).unwrap();
            fs::write(&kept, b"").unwrap();
            let error = restored().unwrap_err().to_string();
            assert!(error.contains(&format!("checkpoint/{name}.safetensors: not a safetensors")), "{error}");
            assert!(error.contains(&format!("remove the file and {}", kept.display())), "{error}");
            run.drop_checkpoint(schedule, LayerIndex(0)).unwrap();
            assert_eq!(fs::read_dir(folder.path().join("checkpoint")).unwrap().count(), 0);
        }
    }

    /// Writes a checkpoint into a file other than its own.
    fn save_raw(file: &Path, checkpoint: &Checkpoint, run: &RunDir, schedule: TrainingSchedule) {
        save(run, schedule, checkpoint);
        let Location::Folder(first) = run.place().join(&checkpoint::file(schedule, LayerIndex(0))) else {
            panic!("not in a folder")
        };
        fs::rename(first, file).unwrap();
    }

    #[test]
    fn who_is_killed_between_the_two_checkpoints_goes_on_from_the_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        let kept = checkpoint(&[0], 20);
        save_raw(&folder.path().join("checkpoint/00.previous.safetensors"), &kept, &run, GREEDY);
        fs::write(folder.path().join("checkpoint/00.tmp"), b"half").unwrap();
        assert_eq!(run.checkpoint_step(GREEDY, LayerIndex(0)).unwrap(), Some(Step(20)));
        assert_eq!(run.checkpoint(GREEDY, LayerIndex(0), &stages()).unwrap(), Some(kept));
        assert!(folder.path().join("checkpoint/00.safetensors").is_file());
    }

    #[test]
    fn layers_that_train_together_have_one_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        let joint = TrainingSchedule::Joint;
        save(&run, joint, &checkpoint(&[0, 1], 20));
        let restored = |run: &RunDir| run.checkpoint(joint, LayerIndex(0), &stages()).unwrap();
        assert_eq!(restored(&run).unwrap(), checkpoint(&[0, 1], 20));
        run.drop_checkpoint(joint, LayerIndex(0)).unwrap();
        assert_eq!(restored(&run), None);
        let error = run.missing(LayerIndex(0)).to_string();
        assert!(error.contains("layers/00.safetensors: not there") && error.contains("checkpoint too"));
    }

    #[test]
    fn what_is_not_finite_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        let mut wrong = checkpoint(&[0], 20);
        let layer = wrong.layers.get_mut(&LayerIndex(0)).unwrap();
        layer.state.second_moments = with_bias(&layer.state.second_moments, f32::INFINITY);
        let layers = [(LayerIndex(0), &*layer)];
        let error = run.save_checkpoint(GREEDY, &layers).unwrap_err().to_string();
        assert!(
            error.contains("checkpoint/00.safetensors: a weight, bias or moment of layer 0 is not"),
            "{error}"
        );
        layer.state.second_moments = with_bias(&layer.state.second_moments, 0.0);
        layer.carried.all.measures.goodness_pos = f64::NAN;
        let error = run.save_checkpoint(GREEDY, &[(LayerIndex(0), &*layer)]).unwrap_err().to_string();
        assert!(error.contains("goodness_pos is not a finite number"), "{error}");
        let mut file = frozen_layer(0);
        file.summary.seconds = f64::NAN;
        let error = run.save_frozen(LayerIndex(0), &file).unwrap_err().to_string();
        assert!(error.contains("layers/00.safetensors: seconds is not a finite number"), "{error}");
        let tensors = with_bias(&trained(0, Carried::default()).state.parameters, f32::NAN);
        let error = run.save_readout(&tensors, &[0]).unwrap_err().to_string();
        assert!(error.contains("readout.safetensors: a weight or bias"), "{error}");
        assert!(run.checkpoint(GREEDY, LayerIndex(0), &stages()).unwrap().is_none());
    }

    fn frozen_layer(index: u32) -> FrozenLayerFile {
        let stage = stages().swap_remove(index as usize);
        let parameters = trained(index, Carried::default()).state.parameters;
        let summary = LayerSummary {
            name: stage.spec.name.clone(),
            algorithm: None,
            epochs: 20,
            steps: 120,
            seconds: 1.5,
            samples_per_second: 9.0,
            last: Measures { loss: 1.0, goodness_pos: 0.5, goodness_neg: 0.25 },
            spent: Spent::default(),
            bytes_sent: 7,
            weights_sha256: state::weights_sha256([&parameters]),
        };
        FrozenLayerFile { layer: Arc::new(FrozenLayer::new(stage.spec, parameters).unwrap()), summary }
    }

    #[test]
    fn a_model_opens_without_its_configuration_and_its_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        let files = [frozen_layer(0), frozen_layer(1)];
        for (index, file) in files.iter().enumerate() {
            run.save_frozen(LayerIndex(index as u32), file).unwrap();
        }
        run.save_model(&files.each_ref().map(|file| &*file.layer), &[1]).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let copy = |name: &str| {
            let copy = elsewhere.path().join("any.safetensors");
            fs::copy(folder.path().join(name), &copy).unwrap();
            copy
        };
        let layer = read_layer(&copy("layers/01.safetensors")).unwrap();
        assert_eq!((&layer.layer, &layer.summary), (&files[1].layer, &files[1].summary));
        let model = read_model(&copy("model.safetensors")).unwrap();
        assert_eq!(model.iter().collect::<Vec<_>>(), [&*files[0].layer, &*files[1].layer]);
        let reader = RunDirReader::open(&folder.path().into()).unwrap();
        assert_eq!(reader.model().unwrap(), ModelFile { layers: model, read: Some(vec![1]) });
        let readout = Tensors::linear(ndarray::array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], Array1::zeros(3));
        run.save_readout(&readout, &[1]).unwrap();
        let expected = ReadoutFile { parameters: readout, read: Some(vec![1]) };
        assert_eq!(reader.readout().unwrap(), Some(expected));
        let error = read_layer(&copy("model.safetensors")).unwrap_err().to_string();
        assert!(error.contains("any.safetensors: header field `spec`: found nothing"), "{error}");
        assert!(read_model(&elsewhere.path().join("nothing")).is_err());
    }

    #[test]
    fn a_frozen_layer_of_elsewhere_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |change: &dyn Fn(&Path)| {
            let run = open(&folder);
            run.save_frozen(LayerIndex(0), &frozen_layer(0)).unwrap();
            change(folder.path());
            let reader = RunDirReader::open(&folder.path().into()).unwrap();
            let errors = [run.frozen(&stages()).unwrap_err(), reader.frozen(&stages()).unwrap_err()];
            let [error, same] = errors.map(|error| error.to_string());
            assert_eq!(error, same);
            assert!(error.contains("remove the file to train the layer anew"), "{error}");
            fs::remove_file(folder.path().join("layers/01.safetensors")).ok();
            error
        };
        let copy = |from: &Path, to: &Path| assert!(fs::copy(from, to).unwrap() > 0);
        let other = tempfile::tempdir().unwrap();
        let run = open_with(&other, &["layers.0.lr=0.5"]).unwrap();
        run.save_frozen(LayerIndex(0), &frozen_layer(0)).unwrap();
        let first = "layers/00.safetensors";
        let error = refusal(&|folder| copy(&other.path().join(first), &folder.join(first)));
        assert!(error.contains("00.safetensors: found a layer of the configuration"), "{error}");
        let second = "layers/01.safetensors";
        let error = refusal(&|folder| copy(&folder.join(first), &folder.join(second)));
        assert!(error.contains("01.safetensors: found layer 0, expected layer 1"), "{error}");
        let error = refusal(&|folder| fs::write(folder.join(first), b"").unwrap());
        assert!(error.contains("00.safetensors: not a safetensors file"), "{error}");
    }

    #[test]
    fn a_layer_of_an_earlier_build_is_taken_for_what_the_directory_says() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        let FrozenLayerFile { layer, summary } = frozen_layer(0);
        let header = state::Header::from([
            ("layer".to_owned(), "0".to_owned()),
            ("summary".to_owned(), serde_json::to_string(&summary).unwrap()),
        ]);
        let bytes = state::encode(&[("", layer.parameters())], header);
        fs::write(folder.path().join("layers/00.safetensors"), bytes).unwrap();
        let found = run.frozen(&stages()).unwrap();
        assert_eq!(found[0].as_ref().unwrap().layer, layer);
        assert!(found[1].is_none());
    }

    #[test]
    fn a_damaged_summary_is_made_anew_where_all_layers_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = open(&folder);
        run.save_frozen(LayerIndex(0), &frozen_layer(0)).unwrap();
        for bytes in [&b""[..], b"{\"dataset\": \"iris\"", b"null", b"\xff"] {
            fs::write(folder.path().join("summary.json"), bytes).unwrap();
            let error = run.summary().unwrap_err().to_string();
            assert!(error.contains("summary.json: not the JSON that it should be"), "{error}");
            assert!(error.contains("remove the file to go on"), "{error}");
        }
        run.save_frozen(LayerIndex(1), &frozen_layer(1)).unwrap();
        assert_eq!(run.summary().unwrap(), None);
    }
}
