//! Memory for features that this process holds, all at once: what they take is said before it is taken.

use bytesize::ByteSize;
use proto::machine::{Memory, resident_bytes};

/// There is less memory than features take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} take {} of memory on the head node, and this process may use {memory}: {advice}", ByteSize(*needed))]
pub struct NoRoom {
    what: String,
    needed: u64,
    memory: Memory,
    advice: &'static str,
}

/// Errors where `what`, in words, takes more bytes than this process may have, and warns where it takes more than are left.
pub fn check_room(what: String, needed: u64, advice: &'static str) -> Result<(), NoRoom> {
    let no_room = NoRoom { what, needed, memory: Memory::look(), advice };
    match no_room.is_true(resident_bytes()) {
        Truth::Yes => Err(no_room),
        Truth::Maybe => {
            tracing::warn!("{no_room}");
            Ok(())
        }
        Truth::No => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    /// What else is in memory may have to go.
    Maybe,
    No,
}

impl NoRoom {
    /// Of a process that has so many bytes in memory.
    fn is_true(&self, resident: u64) -> Truth {
        let Self { needed, memory, .. } = self;
        match memory.bytes {
            // Nobody knows how much there is.
            0 => Truth::No,
            bytes if *needed > bytes => Truth::Yes,
            bytes if needed.saturating_add(resident) > bytes => Truth::Maybe,
            _ => Truth::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_room(needed: u64, bytes: u64) -> NoRoom {
        let what = "the readout's features, 60000 rows x 41472 x 4 B,".to_owned();
        NoRoom { what, needed, memory: Memory { bytes, limit: None }, advice: "take fewer" }
    }

    #[test]
    fn what_cannot_fit_is_an_error_and_what_may_not_fit_a_warning() {
        let truth = |needed, bytes| no_room(needed, bytes).is_true(10);
        assert_eq!(truth(101, 100), Truth::Yes);
        assert_eq!(truth(100, 100), Truth::Maybe);
        assert_eq!(truth(90, 100), Truth::No);
        assert_eq!(truth(u64::MAX, 0), Truth::No);
    }

    #[test]
    fn the_sum_is_said_with_what_there_is_and_what_helps() {
        let said = no_room(60_000 * 41_472 * 4, 4 << 30).to_string();
        assert_eq!(
            said,
            "the readout's features, 60000 rows x 41472 x 4 B, take 9.3 GiB of memory on the head node, and this process \
             may use 4.0 GiB: take fewer"
        );
    }

    #[test]
    fn more_than_any_machine_has_is_refused() {
        let error = check_room("all features".to_owned(), u64::MAX, "take fewer");
        assert_eq!(error.is_err(), Memory::look().bytes > 0);
    }
}
