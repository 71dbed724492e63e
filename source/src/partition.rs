//! Recordings split into those that train and those that test.

use std::collections::BTreeSet;
use std::path::PathBuf;

use scff::batch::{Epoch, Step};
use scff::seed::{NO_LAYER, Purpose, Seed, permutation};

use super::selection::Split;
use super::utterance::Utterance;

/// Indices of recordings, ascending in each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// What is learned from.
    pub train: Vec<u32>,
    /// What is set aside for validation.
    pub validation: Vec<u32>,
    /// What is measured on.
    pub test: Vec<u32>,
}

/// A split that there cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// There are too few to take a tenth of.
    #[error("a random split of {found} recordings: expected 10 or more")]
    Few {
        /// How many there are.
        found: usize,
    },
    /// Nobody is called that.
    #[error("the test speaker {found:?}: expected one of {}", known.join(", "))]
    Speaker {
        /// The name.
        found: String,
        /// Those who speak.
        known: Vec<String>,
    },
    /// Nobody knows who speaks.
    #[error("{}: found no speaker in the name, expected one before an underscore, as in ann_7.wav", path.display())]
    Anonymous {
        /// The recording.
        path: PathBuf,
    },
    /// There is nobody to test on, or nobody to learn from.
    #[error("{found} of {all} speakers test: expected 1 or more, and fewer than all")]
    Speakers {
        /// How many test.
        found: usize,
        /// How many there are.
        all: usize,
    },
}

/// The first so many takes of each speaker and digit are FSDD's test set.
const TEST_TAKES: u32 = 5;

/// Splits recordings, which stand in the order of their names.
pub fn partition(utterances: &[Utterance], split: &Split) -> Result<Parts, PartitionError> {
    match split {
        Split::Official => Ok(by(utterances, |utterance| {
            utterance.take.expect("recordings of a data set with a split of its own are numbered")
                < TEST_TAKES
        })),
        Split::Random(seed) => random(utterances.len(), *seed),
        Split::Speakers(names) => {
            check_speakers(utterances, names)?;
            Ok(by(utterances, |utterance| {
                utterance.speaker.as_ref().is_some_and(|speaker| names.contains(speaker))
            }))
        }
    }
}

fn by(utterances: &[Utterance], tests: impl Fn(&Utterance) -> bool) -> Parts {
    let all = 0..utterances.len() as u32;
    let (test, train) = all.partition(|&index| tests(&utterances[index as usize]));
    Parts { train, validation: Vec::new(), test }
}

/// Four fifths train; a tenth, rounded down, validates; the rest tests.
fn random(count: usize, seed: Seed) -> Result<Parts, PartitionError> {
    if count < 10 {
        return Err(PartitionError::Few { found: count });
    }
    let mut random = seed.stream(Purpose::Partition, NO_LAYER, Epoch(0), Step(0));
    let mut order = permutation(&mut random, count as u32);
    let (train, others) = order.split_at_mut(count * 8 / 10);
    let (validation, test) = others.split_at_mut(count / 10);
    let [train, validation, test] = [train, validation, test].map(|part| {
        part.sort_unstable();
        part.to_vec()
    });
    Ok(Parts { train, validation, test })
}

fn check_speakers(utterances: &[Utterance], names: &[String]) -> Result<(), PartitionError> {
    if let Some(anonymous) = utterances.iter().find(|utterance| utterance.speaker.is_none()) {
        return Err(PartitionError::Anonymous { path: anonymous.path.clone() });
    }
    let known: BTreeSet<&String> =
        utterances.iter().filter_map(|utterance| utterance.speaker.as_ref()).collect();
    if let Some(found) = names.iter().find(|name| !known.contains(name)) {
        let known = known.into_iter().cloned().collect();
        return Err(PartitionError::Speaker { found: found.clone(), known });
    }
    let (found, all) = (names.iter().collect::<BTreeSet<_>>().len(), known.len());
    if found == 0 || found == all { Err(PartitionError::Speakers { found, all }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven takes of two digits by three speakers.
    fn utterances() -> Vec<Utterance> {
        let mut utterances = Vec::new();
        for label in 0..2 {
            for speaker in ["ann", "bob", "cleo"] {
                for take in 0..7 {
                    let path = format!("{label}_{speaker}_{take}.wav").into();
                    let speaker = Some(speaker.to_owned());
                    utterances.push(Utterance { path, label, speaker, take: Some(take) });
                }
            }
        }
        utterances
    }

    fn all(parts: &Parts) -> Vec<u32> {
        let mut all = [&parts.train[..], &parts.validation, &parts.test].concat();
        all.sort_unstable();
        all
    }

    #[test]
    fn the_first_five_takes_of_each_speaker_and_digit_are_the_official_test_set() {
        let parts = partition(&utterances(), &Split::Official).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (12, 0, 30));
        assert!(parts.test.iter().all(|&index| index % 7 < 5));
        assert_eq!(all(&parts), (0..42).collect::<Vec<_>>());
    }

    #[test]
    fn a_random_split_has_a_tenth_twice_and_follows_from_the_seed() {
        let split = |seed| partition(&utterances(), &Split::Random(Seed(seed))).unwrap();
        let parts = split(1);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (33, 4, 5));
        assert_eq!(all(&parts), (0..42).collect::<Vec<_>>());
        assert_eq!(parts, split(1));
        assert_ne!(parts.test, split(2).test);
        let few = partition(&utterances()[..9], &Split::Random(Seed(1))).unwrap_err();
        assert_eq!(few, PartitionError::Few { found: 9 });
    }

    #[test]
    fn nobody_who_tests_is_learned_from() {
        let by = |names: &[&str]| {
            partition(&utterances(), &Split::Speakers(names.iter().map(|&name| name.to_owned()).collect()))
        };
        let parts = by(&["bob"]).unwrap();
        let speaks = |index: u32| utterances()[index as usize].speaker.clone().unwrap();
        assert!(parts.test.iter().all(|&index| speaks(index) == "bob") && parts.test.len() == 14);
        assert!(parts.train.iter().all(|&index| speaks(index) != "bob") && parts.train.len() == 28);
        let error = by(&["bob", "dora"]).unwrap_err().to_string();
        assert_eq!(error, "the test speaker \"dora\": expected one of ann, bob, cleo");
        let mut anonymous = utterances();
        anonymous[3].speaker = None;
        let error = partition(&anonymous, &Split::Speakers(vec!["bob".to_owned()])).unwrap_err().to_string();
        assert!(error.starts_with("0_ann_3.wav: found no speaker in the name"), "{error}");
        for names in [&[][..], &["ann", "bob", "cleo"]] {
            let error = by(names).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{} of 3 speakers test: expected 1 or more, and fewer than all", names.len())
            );
        }
    }
}
