//! How a user's table is taken.

use serde::{Deserialize, Serialize};

/// `[data.table]`: what the columns of a table are for, and what becomes of missing values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableOptions {
    /// The column of labels, which may be texts or numbers [default: `label`, if a column is called so].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column that says what each row is called [default: the first one, if its name is empty; otherwise rows are numbered].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Columns that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// What becomes of missing values: they are refused, or replaced by the column's "mean" over the training set, or by "zero"
    /// [default: "refuse"].
    #[serde(default, skip_serializing_if = "Missing::is_refused")]
    pub missing: Missing,
    /// Whether the first row says what the columns are called; columns without names are called by their numbers, from 0 on
    /// [default: what the first rows look like].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
}

/// What becomes of missing values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The table is refused.
    #[default]
    Refuse,
    /// Each is replaced by its column's mean over the training set.
    Mean,
    /// Each is replaced by 0, before columns are standardised.
    Zero,
}

impl Missing {
    /// What is expected where values are refused.
    pub(crate) const HINT: &str =
        "a number; data.table.missing = \"mean\" or \"zero\" fills in what is missing";

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_refused(&self) -> bool {
        *self == Self::Refuse
    }
}
