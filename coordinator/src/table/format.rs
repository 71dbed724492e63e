//! Which kind of file is written, by what its name ends in.

use std::fmt;
use std::path::Path;

use anyhow::bail;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Several NumPy arrays.
    Npz,
    /// One NumPy array.
    Npy,
    /// Text.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Npz, Self::Npy, Self::Csv, Self::Parquet];
    /// Those that have named columns.
    pub const TABLES: [Self; 2] = [Self::Csv, Self::Parquet];

    /// The one of these that a file's name says.
    pub fn of(path: &Path, among: &[Self]) -> anyhow::Result<Self> {
        let ending = path.extension().unwrap_or_default();
        let known = among.iter().find(|format| ending.eq_ignore_ascii_case(format.ending()));
        let Some(format) = known else {
            let endings: Vec<String> = among.iter().map(|format| format!("*.{format}")).collect();
            bail!(
                "{}: found a name that says no format, expected one such as {}",
                path.display(),
                endings.join(", ")
            );
        };
        Ok(*format)
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_the_format() {
        let of = |name: &str, among: &[Format]| Format::of(name.as_ref(), among);
        assert_eq!(of("a/b.NPZ", &Format::ALL).unwrap(), Format::Npz);
        assert_eq!(of("b.parquet", &Format::TABLES).unwrap(), Format::Parquet);
        let error = of("b.npz", &Format::TABLES).unwrap_err().to_string();
        assert_eq!(error, "b.npz: found a name that says no format, expected one such as *.csv, *.parquet");
    }
}
