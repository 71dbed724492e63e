//! Long bytes that come in parts.

use proto::{WireError, limits};

/// Bytes of which it is known how many they will be.
pub struct Assembly {
    field: &'static str,
    length: u64,
    bytes: Vec<u8>,
}

impl Assembly {
    /// `length` bytes of parts will come. Memory is taken as they do, for `length` is only a promise.
    pub fn new(field: &'static str, length: u64, memory: u64) -> Result<Self, WireError> {
        let limit = limits::STATE_BYTES.min(memory);
        if !(1..=limit).contains(&length) {
            return Err(WireError::new(field, length, format_args!("1 to {limit} bytes")));
        }
        Ok(Self { field, length, bytes: Vec::new() })
    }

    /// Takes a part in.
    pub fn push(&mut self, part: &[u8]) -> Result<(), WireError> {
        if part.len() as u64 > self.missing() {
            let found = self.bytes.len() as u64 + part.len() as u64;
            return Err(WireError::new(
                self.field,
                format_args!("{found} bytes of parts"),
                format_args!("{} bytes", self.length),
            ));
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// How many bytes have yet to come.
    pub fn missing(&self) -> u64 {
        self.length - self.bytes.len() as u64
    }

    /// All the bytes, or an error where some are missing.
    pub fn finish(self) -> Result<Vec<u8>, WireError> {
        if self.missing() == 0 {
            return Ok(self.bytes);
        }
        let found = format_args!("{} bytes of parts", self.bytes.len()).to_string();
        Err(WireError::new(self.field, found, format_args!("{} bytes", self.length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole_and_nothing_else() {
        let mut parts = Assembly::new("length", 5, 100).unwrap();
        parts.push(b"abc").unwrap();
        assert_eq!(parts.missing(), 2);
        assert!(parts.push(b"def").is_err());
        parts.push(b"").unwrap();
        parts.push(b"de").unwrap();
        assert_eq!(parts.finish().unwrap(), b"abcde");
        let error = Assembly::new("length", 5, 100).unwrap().finish().unwrap_err();
        assert_eq!(error.to_string(), "length: found 0 bytes of parts, expected 5 bytes");
    }

    #[test]
    fn a_promise_takes_no_memory_and_has_a_limit() {
        assert_eq!(Assembly::new("length", limits::STATE_BYTES, u64::MAX).unwrap().bytes.capacity(), 0);
        assert!(Assembly::new("length", limits::STATE_BYTES + 1, u64::MAX).is_err());
        assert!(Assembly::new("length", 101, 100).is_err());
        assert!(Assembly::new("length", 0, 100).is_err());
    }
}
