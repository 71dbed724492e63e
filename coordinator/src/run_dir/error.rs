//! What can be wrong with a run directory.

use std::path::PathBuf;

use proto::state::StateError;
use scff::layer::ShapeError;

use crate::config::ConfigError;

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
    #[error("{}: holds a run of another configuration: {differences}; choose another directory with --out", path.display())]
    OtherConfig {
        /// The directory.
        path: PathBuf,
        /// The keys that differ, with both values.
        differences: String,
    },
    /// Its configuration is none.
    #[error(
        "{error}; the file says whose run the directory holds: mend it, or choose another directory with --out"
    )]
    Config {
        /// What is wrong, with the file.
        error: ConfigError,
    },
    /// A file is damaged.
    #[error("{}: {damage}; {advice}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        damage: Box<Damage>,
        /// What to do.
        advice: String,
    },
    /// A layer's file is whole, but not the one that belongs there.
    #[error("{}: found {found}, expected {expected}; remove the file to train the layer anew", path.display())]
    OtherLayer {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// Numbers that could not be read back are not written.
    #[error("{}: {what} is not a finite number; nothing was written", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The field or tensors.
        what: String,
    },
    /// A frozen layer is gone that others have trained upon since.
    #[error(
        "{}: not there, although the layers above it have trained on its outputs; remove {} too, to train all layers anew",
        path.display(), checkpoints.display()
    )]
    Missing {
        /// The layer's file.
        path: PathBuf,
        /// The folder with the checkpoints of the layers above.
        checkpoints: PathBuf,
    },
    /// There is no run.
    #[error("{}: no run directory: there is no config.toml in it", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
}

/// What is wrong with a file's content.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Tensors.
    #[error(transparent)]
    State(#[from] StateError),
    /// Tensors of another shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// JSON.
    #[error("not the JSON that it should be: {0}")]
    Json(#[from] serde_json::Error),
    /// A layer that there cannot be.
    #[error("no layer that there can be: {0}")]
    Layer(#[from] proto::WireError),
}

impl Damage {
    /// The error of the file at `path`.
    pub fn at(self, path: PathBuf, advice: impl Into<String>) -> RunDirError {
        RunDirError::Damaged { path, damage: Box::new(self), advice: advice.into() }
    }
}
