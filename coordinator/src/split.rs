//! What a run learns from and what it is measured on: the samples of its data set, split as its plan says.

use std::sync::Arc;

use scff::batch::{Epoch, Step};
use scff::seed::{NO_LAYER, Purpose, permutation};
use source::{self, DataSet, Examples, InputSpec, ReadError, Record};

use crate::config::Config;
use crate::data_place::DataPlace;
use crate::plan::Plan;

/// Loads the data set of a configuration and plans its run.
pub fn prepare(config: &Config, data: &DataPlace) -> anyhow::Result<(Plan, DataSet)> {
    let set = data.load(config)?;
    tell(&set.record);
    let plan = Plan::new(config, set.layout(), set.training_samples())?;
    Ok((plan, set))
}

/// Files that are left out and named, at most: the run directory has all of them.
const NAMED: usize = 20;

/// Says what was taken for what, and what was left out.
fn tell(record: &Record) {
    record.notices.iter().for_each(|notice| tracing::info!("{notice}"));
    let left_out = &record.left_out;
    left_out.iter().take(NAMED).for_each(|file| tracing::warn!("left out: {file}"));
    if left_out.len() > NAMED {
        tracing::warn!("left out: {} files more", left_out.len() - NAMED);
    }
}

/// Samples that layers and the readout learn from, and samples that measure it.
#[derive(Clone)]
pub struct Splits {
    /// What layers learn from: those without labels, or else `train`.
    pub layers: Arc<Examples>,
    /// What the readout learns from.
    pub train: Arc<Examples>,
    /// Whether the readout learns from their mirror images too.
    pub flips: bool,
    /// To measure on.
    pub measure: Arc<Examples>,
    /// What the data set's split sets aside for validation, to measure on too.
    pub validation: Option<Arc<Examples>>,
    /// Whether what is measured on are held-out training samples, not the test set.
    pub held_out: bool,
    /// Classes of the labels; 0 where nothing has one.
    pub classes: usize,
    /// How such samples are read.
    pub input: InputSpec,
}

impl Splits {
    /// What the readout learns from, and then what else it is measured on, each with whether mirror images belong to it: the readout
    /// learns from them where layers do, and is measured on images as they are.
    pub fn parts(&self) -> Vec<(&Arc<Examples>, bool)> {
        let measured = [&self.measure].into_iter().chain(&self.validation).map(|examples| (examples, false));
        std::iter::once((&self.train, self.flips)).chain(measured).collect()
    }
}

/// The training samples of a plan, and those that measure: held-out training samples, or else the test set and what is set
/// aside for validation.
pub fn split(plan: &Plan, set: DataSet) -> Result<Splits, ReadError> {
    let DataSet { mut input, standardize, train, test, validation, unlabeled, .. } = set;
    let train = some_of(plan, train, plan.labelled_samples + plan.held_out);
    let mut unlabeled = unlabeled.map(|unlabeled| some_of(plan, unlabeled, plan.training_samples));
    let (mut train, mut measure, mut validation) = if plan.held_out == 0 {
        (train, test, validation)
    } else {
        let (train, held_out) = hold_out(plan, &train);
        (train, held_out, None)
    };
    if standardize {
        input.take_moments(unlabeled.as_ref().unwrap_or(&train))?;
        let parts = [&mut train, &mut measure].into_iter().chain(&mut validation).chain(&mut unlabeled);
        parts.for_each(|part| input.scale(part));
    }
    let train = Arc::new(train);
    let layers = unlabeled.map_or_else(|| train.clone(), Arc::new);
    Ok(Splits {
        layers,
        train,
        flips: plan.augmentation.flips(),
        measure: Arc::new(measure),
        validation: validation.map(Arc::new),
        held_out: plan.held_out > 0,
        classes: input.classes.len(),
        input,
    })
}

/// The first `count` samples in a random order; all of them in their own order where there are no more.
fn some_of(plan: &Plan, examples: Examples, count: u32) -> Examples {
    if examples.len() == count as usize {
        return examples;
    }
    let mut random = plan.seed.stream(Purpose::Samples, NO_LAYER, Epoch(0), Step(0));
    let order = permutation(&mut random, examples.len() as u32);
    examples.subset(&order[..count as usize])
}

/// The training samples that are kept, and those that are held out.
fn hold_out(plan: &Plan, train: &Examples) -> (Examples, Examples) {
    let mut random = plan.seed.stream(Purpose::HeldOut, NO_LAYER, Epoch(0), Step(0));
    let order = permutation(&mut random, train.len() as u32);
    let (held_out, kept) = order.split_at(plan.held_out as usize);
    (train.subset(kept), train.subset(held_out))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;
    use source::{InputKind, NumberInput, Shape};

    /// Rows of four equal numbers from `first` on, labelled 0.
    fn rows(first: u16, count: u16) -> Examples {
        let values: Vec<f32> = (first..first + count).flat_map(|row| [f32::from(row); 4]).collect();
        let shape = Shape { height: 1, width: 1, channels: 4 };
        Examples::from_rows(shape, values, vec![0; usize::from(count)])
    }

    fn numbers_input() -> InputSpec {
        let shape = Shape { height: 1, width: 1, channels: 4 };
        let kind = InputKind::Numbers(NumberInput::new(shape));
        InputSpec { kind, classes: ["a", "b", "c"].map(str::to_owned).to_vec() }
    }

    /// The number that each row repeats.
    fn numbers(examples: &Examples) -> Vec<u16> {
        let mut row = [0.0; 4];
        let mut number = |index| {
            examples.write(index, &mut row).unwrap();
            row[0] as u16
        };
        (0..examples.len() as u32).map(&mut number).collect()
    }

    fn splits(unlabeled: Option<Examples>) -> Splits {
        let (plan, set) = planned(10, unlabeled);
        split(&plan, set).unwrap()
    }

    /// A plan that holds samples out, and a data set for it.
    fn planned(held_out: u32, unlabeled: Option<Examples>) -> (Plan, DataSet) {
        let set = [format!("data.held_out={held_out}")];
        let config = config::parse("iris", include_str!("../../configs/iris.toml"), &set).unwrap();
        let set = DataSet {
            input: numbers_input(),
            standardize: false,
            train: rows(0, 40),
            test: rows(100, 5),
            validation: None,
            unlabeled,
            record: Record::default(),
        };
        (Plan::new(&config, set.train.shape(), set.training_samples()).unwrap(), set)
    }

    #[test]
    fn what_is_set_aside_for_validation_measures_beside_the_test_set_unless_samples_are_held_out() {
        let with_validation = |held_out| {
            let (plan, set) = planned(held_out, None);
            split(&plan, DataSet { validation: Some(rows(300, 4)), ..set }).unwrap()
        };
        let both = with_validation(0);
        assert_eq!((numbers(&both.measure)[0], numbers(&both.validation.unwrap())[0]), (100, 300));
        let held_out = with_validation(10);
        assert!(held_out.held_out && held_out.validation.is_none());
        assert!(numbers(&held_out.measure).iter().all(|&number| number < 100));
    }

    #[test]
    fn coefficients_are_normalised_by_what_is_learned_from_alone() {
        let (plan, set) = planned(10, None);
        let sequences = |numbers: std::ops::Range<u16>| {
            let labels = vec![0; numbers.len()];
            Examples::from_sequences(2, 2, numbers.map(|number| vec![f32::from(number), 0.0]), labels)
        };
        let set = DataSet { standardize: true, train: sequences(0..40), test: sequences(100..105), ..set };
        let Splits { train, measure, .. } = split(&plan, set).unwrap();
        let first = |examples: &Examples| {
            let mut frame = [0.0; 2];
            let mut first = |index| {
                examples.write(index, &mut frame).unwrap();
                frame[0]
            };
            (0..examples.len() as u32).map(&mut first).collect::<Vec<_>>()
        };
        let (learned, held_out) = (first(&train), first(&measure));
        assert!(learned.iter().sum::<f32>().abs() < 1e-4, "{learned:?}");
        assert!((learned.iter().map(|value| value * value).sum::<f32>() / 30.0 - 1.0).abs() < 1e-4);
        // In the same units, so that those held out lie between the others.
        let between = |value: &&f32| value.abs() < 1.8;
        assert_eq!((held_out.iter().filter(between).count(), held_out.len()), (10, 10));
        assert!(held_out.iter().sum::<f32>().abs() > 1e-4, "they have a mean of their own");
    }

    #[test]
    fn no_layer_sees_what_is_held_out() {
        let Splits { layers, train, measure, held_out, .. } = splits(None);
        assert!(held_out);
        assert_eq!((numbers(&layers), measure.len()), (numbers(&train), 10));
        let mut all = [numbers(&train), numbers(&measure)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn layers_learn_from_what_has_no_labels_and_the_readout_from_what_has() {
        let unlabeled = splits(Some(rows(200, 50)));
        assert_eq!(numbers(&unlabeled.layers), (200..250).collect::<Vec<_>>());
        let labelled = splits(None);
        assert_eq!(numbers(&unlabeled.train), numbers(&labelled.train));
        assert_eq!(numbers(&unlabeled.measure), numbers(&labelled.measure));
    }

    /// What a run on iris with these overrides learns from and measures on, each sample as its bits.
    fn split_of_iris(overrides: &[&str]) -> [Vec<Vec<u32>>; 2] {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let text = include_str!("../../configs/iris.toml");
        let config = crate::config::parse("iris.toml", text, &overrides).unwrap();
        let (plan, set) = prepare(&config, &PathBuf::from("nowhere").into()).unwrap();
        let Splits { train, measure, .. } = split(&plan, set).unwrap();
        [train, measure].map(|examples| {
            let row = |index| {
                let mut row = [0.0; 4];
                examples.write(index, &mut row).unwrap();
                row.map(f32::to_bits).to_vec()
            };
            (0..examples.len() as u32).map(row).collect()
        })
    }

    #[test]
    fn the_first_samples_of_an_order_of_the_seed_are_used_and_then_some_are_held_out() {
        let [forty, test] = split_of_iris(&["data.samples=40"]);
        assert_eq!((forty.len(), test.len()), (40, 30));
        let [sixty, _] = split_of_iris(&["data.samples=60"]);
        assert_eq!(sixty[..40], forty);
        assert_ne!(split_of_iris(&["data.samples=40", "seed=2"])[0], forty);
        let [kept, held_out] = split_of_iris(&["data.samples=40", "data.held_out=10"]);
        let mut both = [kept, held_out].concat();
        let mut all = forty;
        both.sort_unstable();
        all.sort_unstable();
        assert_eq!(both, all);
    }
}
