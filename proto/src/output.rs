//! What a process says. That nobody reads it ends no work.
//!
//! `println!` and `eprintln!` panic once the reader of a pipe has gone away, and so does a log that is written through
//! them; what is here does not.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a line on standard error, if anybody reads it.
pub fn write_line(line: impl Display) {
    // At once, so that the lines of several threads and processes do not mix.
    let _ = Log.write_all(format!("{line}\n").as_bytes());
}

/// Prints a line on standard output. It errors where somebody wants it who does not get it, such as a full disk.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    heard(writeln!(out, "{line}").and_then(|()| out.flush()))
}

/// Standard error, for a log: what cannot be written is lost, and no error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

/// Whether nobody reads is nothing to a writer.
fn heard(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
        assert!(heard(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(heard(Err(ErrorKind::StorageFull.into())).is_err());
        assert!(heard(Ok(())).is_ok());
    }
}
