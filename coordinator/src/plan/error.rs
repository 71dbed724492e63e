//! Why there is no plan.

/// A configuration that says something impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {found}: expected {expected}")]
pub struct PlanError {
    /// The key's path.
    pub key: String,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// An error about `key` unless what is expected of it `holds`.
pub fn check(holds: bool, key: &str, found: impl ToString, expected: impl ToString) -> Result<(), PlanError> {
    if holds {
        return Ok(());
    }
    Err(PlanError { key: key.to_owned(), found: found.to_string(), expected: expected.to_string() })
}
