//! Runs, by name.

use std::fmt;

use proto::WireError;

/// The longest name: it is repeated in errors and logs.
const NAME_BYTES: usize = 256;

/// The name of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunName(String);

impl RunName {
    /// Checks a name from the wire.
    pub fn parse(name: String) -> Result<Self, WireError> {
        let expected = format_args!("a name of 1 to {NAME_BYTES} bytes on one line").to_string();
        if !(1..=NAME_BYTES).contains(&name.len()) {
            return Err(WireError::new("run", format_args!("{} bytes", name.len()), expected));
        }
        if name.contains(char::is_control) {
            return Err(WireError::new("run", "a control character", expected));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
