//! BLAS kernels as workers offer them: by name, and by the bits that they give.

use std::collections::BTreeSet;
use std::fmt;

use crate::{WireError, wire};

/// More than any library has.
const KERNELS: usize = 100;
/// The longest name or digest.
const TEXT_BYTES: usize = 100;

/// A kernel that a machine can compute with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    /// Its name in the library, such as `Haswell`.
    pub name: String,
    /// Of the bits that it gives: kernels of equal digests give equal weights.
    pub digest: Digest,
}

/// Of a kernel's bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernels that a worker says it has.
pub fn parse(list: wire::KernelList) -> Result<Vec<Kernel>, WireError> {
    if list.kernels.len() > KERNELS {
        return Err(WireError::new("kernels", list.kernels.len(), format_args!("at most {KERNELS}")));
    }
    let mut names = BTreeSet::new();
    list.kernels
        .into_iter()
        .map(|wire::Kernel { name, digest }| {
            let name = text("kernels.name", name)?;
            if !names.insert(name.clone()) {
                return Err(WireError::new("kernels.name", format_args!("`{name}` twice"), "each name once"));
            }
            Ok(Kernel { name, digest: Digest(text("kernels.digest", digest)?) })
        })
        .collect()
}

/// A name or a digest: printed in errors and kept in files.
pub fn text(field: &'static str, text: String) -> Result<String, WireError> {
    let fits = (1..=TEXT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(text);
    }
    let found = format!("{} bytes", text.len());
    Err(WireError::new(field, found, format_args!("1 to {TEXT_BYTES} letters, digits or signs")))
}

impl From<&Kernel> for wire::Kernel {
    fn from(kernel: &Kernel) -> Self {
        Self { name: kernel.name.clone(), digest: kernel.digest.0.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kernels: &[(&str, &str)]) -> wire::KernelList {
        let kernel =
            |&(name, digest): &(&str, &str)| wire::Kernel { name: name.into(), digest: digest.into() };
        wire::KernelList { kernels: kernels.iter().map(kernel).collect() }
    }

    #[test]
    fn a_list_is_read_as_it_was_written_or_refused() {
        let kernels = parse(list(&[("Zen", "a1"), ("Haswell", "a1")])).unwrap();
        assert_eq!(kernels[1], Kernel { name: "Haswell".into(), digest: Digest("a1".into()) });
        let written = wire::KernelList { kernels: kernels.iter().map(Into::into).collect() };
        assert_eq!(parse(written).unwrap(), kernels);
        let long = "a".repeat(TEXT_BYTES + 1);
        for wrong in [("", "a"), ("a", ""), ("a b", "a"), ("a\n", "a"), ("a", "\u{e4}"), (&*long, "a")] {
            assert!(parse(list(&[wrong])).unwrap_err().to_string().starts_with("kernels."), "{wrong:?}");
        }
        assert!(parse(list(&[("a", "b"), ("a", "c")])).unwrap_err().to_string().contains("twice"));
    }
}
