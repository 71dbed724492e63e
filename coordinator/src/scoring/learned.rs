//! What a run's layers have learned from.

use scff::batch::{Epoch, Step};
use scff::seed::{NO_LAYER, Purpose, permutation};
use source::Examples;

use crate::config;
use crate::run_dir::RunDirReader;
use crate::sitting::Surroundings;
use crate::split::{prepare, split};

/// Some of the samples that a run's layers learn from, at most so many, drawn at random: the same ones every time.
pub fn some(dir: &RunDirReader, most: usize, surroundings: &Surroundings) -> anyhow::Result<Examples> {
    let (file, text) = dir.config_file()?;
    let config = config::parse(&file.to_string(), &text, &[])?;
    let (plan, set) = prepare(&config, &surroundings.data)?;
    let learned = split(&plan, set)?.layers;
    let mut random = plan.seed.stream(Purpose::Reference, NO_LAYER, Epoch(0), Step(0));
    let mut order = permutation(&mut random, learned.len() as u32);
    order.truncate(most);
    Ok(learned.subset(&order))
}
