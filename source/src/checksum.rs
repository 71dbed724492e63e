//! SHA-256 sums: written in the catalog, computed from files.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// A SHA-256 sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256Sum(pub [u8; 32]);

impl Sha256Sum {
    /// The sum that 64 hexadecimal digits write.
    ///
    /// # Panics
    /// On any other text; it is for constants, where that is a compile error.
    pub const fn from_hex(text: &str) -> Self {
        match const_hex::const_decode_to_array(text.as_bytes()) {
            Ok(sum) => Self(sum),
            Err(_) => panic!("a SHA-256 sum has 64 hexadecimal digits"),
        }
    }

    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The number of bytes that `reader` gives and their sum. Stops after `limit + 1` bytes: a longer
    /// content is wrong already.
    pub fn of_at_most(limit: u64, reader: impl Read) -> io::Result<(u64, Self)> {
        let mut reader = reader.take(limit + 1);
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok((bytes, Self(hasher.finalize().into()))),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&buffer[..read]);
            bytes += read as u64;
        }
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_sum_is_what_the_standard_says() {
        assert_eq!(Sha256Sum::of(b"abc"), Sha256Sum::from_hex(OF_ABC));
        assert_eq!(Sha256Sum::of(b"abc").to_string(), OF_ABC);
        assert_eq!(Sha256Sum::of_at_most(3, &b"abc"[..]).unwrap(), (3, Sha256Sum::of(b"abc")));
    }

    #[test]
    fn reading_stops_one_byte_past_the_limit() {
        assert_eq!(Sha256Sum::of_at_most(2, io::repeat(1)).unwrap().0, 3);
    }
}
