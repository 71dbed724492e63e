//! Which program this is: what a run directory records of who wrote it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A program that worked on a run, and the command that started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Strata's version.
    pub version: String,
    /// The commit that it was built of, with `-changed` where sources differed from it; absent where that was not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// The command, word by word.
    #[serde(default)]
    pub command: Vec<String>,
}

impl Program {
    /// This process.
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("STRATA_COMMIT").map(str::to_owned),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        }
    }

    /// Whether the other was built of the same sources, as far as both say.
    pub fn is_same_build(&self, other: &Self) -> bool {
        (&self.version, &self.commit) == (&other.version, &other.commit)
    }
}

/// Its version, and its commit where that is known.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strata {}", self.version)?;
        match &self.commit {
            Some(commit) => write!(f, " ({commit})"),
            None => Ok(()),
        }
    }
}
