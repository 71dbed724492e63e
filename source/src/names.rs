//! What many samples are called, in little memory.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Names one after the other: what each takes are its own bytes and where they end. Clones share them.
#[derive(Clone, Debug)]
pub struct Names {
    bytes: Arc<[u8]>,
    ends: Arc<[usize]>,
}

impl Names {
    /// The name at a place, as the operating system writes it.
    pub fn os(&self, index: usize) -> &OsStr {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        OsStr::from_bytes(&self.bytes[start..self.ends[index]])
    }

    /// The name at a place; what is no Unicode is replaced.
    pub fn text(&self, index: usize) -> Cow<'_, str> {
        self.os(index).to_string_lossy()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl<N: AsRef<OsStr>> FromIterator<N> for Names {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for name in names {
            bytes.extend_from_slice(name.as_ref().as_bytes());
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends: ends.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_their_order_even_those_that_are_no_unicode() {
        let broken = OsStr::from_bytes(b"b\xff.png");
        let names: Names = ["a.png".as_ref(), OsStr::new(""), broken].into_iter().collect();
        assert_eq!((names.len(), names.text(0), names.text(1)), (3, "a.png".into(), "".into()));
        assert_eq!((names.os(2), names.text(2)), (broken, "b\u{fffd}.png".into()));
    }
}
