//! `coordinator init`: looks at data and writes a configuration that suits them.
//!
//! [`survey`] says what there is, [`suggestion`] what to train on it, as a configuration like any other, and [`commented`] writes that
//! with the reasons beside it.

mod commented;
mod suggestion;
mod survey;

use std::path::{self, Path};

use anyhow::{Context, ensure};

use crate::config::{Config, DataConfig};
use crate::data_place::DataPlace;
use crate::part_file::PartFile;
use crate::split::prepare;

pub use survey::Survey;

/// Looks at the data at `path` and writes a configuration for them into a new file; `set`: keys of `[data]` that say how the data are
/// taken, such as `data.images={ channels = 1 }`.
pub fn init(path: &Path, file: &Path, set: &[String], room: &DataPlace) -> anyhow::Result<Survey> {
    ensure!(
        file.symlink_metadata().is_err(),
        "{}: exists already, and nothing is overwritten; name another file with --out",
        file.display()
    );
    let data = path::absolute(path).with_context(|| path.display().to_string())?;
    let survey = Survey::of(&data, set, room)?;
    let config = suggestion::suggest(&survey);
    // What is written is what a run plans.
    prepare(&config, room).context("the configuration that was to be written")?;
    PartFile::write_whole(file, commented::text(&as_seen_from(file, config)?, &survey).as_bytes())?;
    Ok(survey)
}

/// The same configuration, whose paths begin at the file where they lead below its folder.
fn as_seen_from(file: &Path, mut config: Config) -> anyhow::Result<Config> {
    let file = path::absolute(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let DataConfig { path, labels, test_path, test_labels, .. } = &mut config.data;
    for data in [path, labels, test_path, test_labels].into_iter().flatten() {
        if let Ok(below) = data.strip_prefix(folder)
            && below.components().next().is_some()
        {
            *data = below.to_owned();
        }
    }
    Ok(config)
}
