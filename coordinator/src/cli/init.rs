//! `coordinator init`.

use std::path::{self, PathBuf};

use anyhow::Context;
use clap::Args;
use proto::output::print;

use crate::init::init;

use super::data_args::RoomArgs;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The data.
    path: PathBuf,
    /// The configuration file to write; it must not be there yet [default: what the data are called, with .toml, in the working
    /// directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say how the data are taken, such as data.images.height=32, which the file will say too; may be given several times.
    #[arg(long = "set", value_name = "data.KEY=VALUE")]
    set: Vec<String>,
    /// The room for samples.
    #[command(flatten)]
    room: RoomArgs,
}

impl InitArgs {
    /// Looks, writes, and says what was found.
    pub fn execute(self) -> anyhow::Result<()> {
        let Self { path, out, set, room } = self;
        let room = room.place(PathBuf::new().into());
        let file = match out {
            Some(out) => out,
            None => default(&path)?,
        };
        let survey = tokio::task::block_in_place(|| init(&path, &file, &set, &room))?;
        let file = file.display();
        Ok(print(format_args!("{survey}{file}: written; coordinator run {file} --local 1"))?)
    }
}

/// `digits.toml` for `photos/digits/` or `digits.npy`.
fn default(data: &std::path::Path) -> anyhow::Result<PathBuf> {
    let data = path::absolute(data)?;
    let stem = if data.is_dir() { data.file_name() } else { data.file_stem() };
    let stem = stem.with_context(|| format!("{}: expected --out, for this has no name", data.display()))?;
    Ok(PathBuf::from(format!("{}.toml", stem.to_string_lossy())))
}
