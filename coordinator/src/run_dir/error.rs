//! What can be wrong with a run directory.

use proto::state::StateError;
use scff::layer::ShapeError;

use crate::config::ConfigError;
use crate::location::Location;
use crate::objects::ObjectsError;

/// A run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// A file cannot be read or written.
    #[error("{place}: {source}")]
    Io {
        /// The file.
        place: Location,
        /// Why.
        source: std::io::Error,
    },
    /// Another run uses the directory.
    #[error("{place}: another coordinator is using this run directory")]
    Locked {
        /// The lock file.
        place: Location,
    },
    /// Another run uses it, on an object store.
    #[error("{place}: another coordinator is using this run directory: {holder}")]
    Held {
        /// The lock.
        place: Location,
        /// Who uses it.
        holder: String,
    },
    /// Another run has begun to use it, on an object store.
    #[error(
        "{place}: {to} has taken this run directory over, for there was no sign of this coordinator in time (--lease); from here on \
         it writes nothing"
    )]
    Lost {
        /// The lock.
        place: Location,
        /// Who uses it.
        to: String,
    },
    /// An object store that gives a lock to two.
    #[error(
        "{place}: found a store that writes objects on whatever condition, expected one that knows conditional writes (If-None-Match \
         and If-Match)"
    )]
    Unconditional {
        /// The lock.
        place: Location,
    },
    /// An object store does not do what it should.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// It holds a run of another configuration.
    #[error(
        "{place}: holds a run of another configuration: {differences}; choose another directory with --out"
    )]
    OtherConfig {
        /// The directory.
        place: Location,
        /// The keys that differ, with both values.
        differences: String,
    },
    /// It holds a run, where a baseline is to be kept.
    #[error("{place}: holds a run; choose another directory for the baseline with --out")]
    HoldsRun {
        /// The directory.
        place: Location,
    },
    /// It holds a run that began with other data.
    #[error(
        "{place}: the run began with other samples, or other statistics of them, than the data set has now: put the data back as they \
         were, or choose another directory with --out"
    )]
    OtherInput {
        /// The file that says with which.
        place: Location,
    },
    /// It holds a run that began with other files of data.
    #[error(
        "{place}: the run began with other data: {difference}; put the data back as they were, or choose another directory with --out"
    )]
    OtherData {
        /// The file that says with which.
        place: Location,
        /// The first file that differs, and how.
        difference: String,
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
    #[error("{place}: {damage}; {advice}")]
    Damaged {
        /// The file.
        place: Location,
        /// What is wrong.
        damage: Box<Damage>,
        /// What to do.
        advice: String,
    },
    /// A layer's file is whole, but not the one that belongs there.
    #[error("{place}: found {found}, expected {expected}; remove the file to train the layer anew")]
    OtherLayer {
        /// The file.
        place: Location,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// Numbers that could not be read back are not written.
    #[error("{place}: {what} is not a finite number; nothing was written")]
    NotFinite {
        /// The file.
        place: Location,
        /// The field or tensors.
        what: String,
    },
    /// A frozen layer is gone that others have trained upon since.
    #[error(
        "{place}: not there, although the layers above it have trained on its outputs; remove {checkpoints} too, to train all layers \
         anew"
    )]
    Missing {
        /// The layer's file.
        place: Location,
        /// The folder with the checkpoints of the layers above.
        checkpoints: Location,
    },
    /// There is no run.
    #[error("{place}: no run directory: there is no config.toml in it")]
    NoRun {
        /// The directory.
        place: Location,
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
    /// Of a later format.
    #[error(
        "found format {found}, expected {known} or less: a later version of Strata has written it, and can read it"
    )]
    LaterFormat {
        /// The file's.
        found: u32,
        /// The latest that this build reads.
        known: u32,
    },
    /// A layer that there cannot be.
    #[error("no layer that there can be: {0}")]
    Layer(#[from] proto::WireError),
}

impl Damage {
    /// The error of the file at `place`.
    pub fn at(self, place: Location, advice: impl Into<String>) -> RunDirError {
        RunDirError::Damaged { place, damage: Box::new(self), advice: advice.into() }
    }
}
