//! Runs, by name.

use std::fmt;

use proto::WireError;

/// The longest name: it is repeated in errors and logs.
const NAME_BYTES: usize = 256;

/// The name of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunName(String);

impl RunName {
    /// Checks a name from the wire.
    pub fn parse(name: String) -> Result<Self, WireError> {
        if (1..=NAME_BYTES).contains(&name.len()) {
            return Ok(Self(name));
        }
        let found = format_args!("{} bytes", name.len()).to_string();
        Err(WireError::new("run", found, format_args!("a name of 1 to {NAME_BYTES} bytes")))
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
