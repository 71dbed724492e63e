//! What can be wrong with a run directory.

use std::path::PathBuf;

use proto::state::StateError;

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
