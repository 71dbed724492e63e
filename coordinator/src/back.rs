//! What comes back of rows that pass through layers on a worker.

use proto::wire;

/// How long the rows are that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// All have so many bytes.
    Alike(usize),
    /// Each has as many frames as the one that was sent for it.
    Frames {
        /// Elements of a frame that is sent.
        sent: usize,
        /// Elements of a frame that comes back.
        back: usize,
    },
}

/// What was sent in a message.
pub struct Sent {
    rows: u32,
    bytes: usize,
    lengths: Vec<u32>,
}

impl From<&wire::Rows> for Sent {
    fn from(message: &wire::Rows) -> Self {
        Self { rows: message.rows, bytes: message.payload.len(), lengths: message.lengths.clone() }
    }
}

impl Back {
    /// Whether `reply` is what comes back for a message; otherwise, what was expected.
    pub fn check(self, sent: &Sent, reply: &wire::Rows) -> Result<(), String> {
        let rows = sent.rows as usize;
        let (bytes, lengths): (_, Vec<u32>) = match self {
            Self::Alike(bytes) => (rows * bytes, Vec::new()),
            Self::Frames { sent: from, back: to } => {
                let scaled = |length: usize| length / from * to;
                let lengths = sent.lengths.iter().map(|&length| scaled(length as usize) as u32);
                (scaled(sent.bytes), lengths.collect())
            }
        };
        if (reply.rows, reply.payload.len()) == (sent.rows, bytes) && reply.lengths == lengths {
            return Ok(());
        }
        let lengths = if lengths.is_empty() { "all alike" } else { "as long as those that were sent" };
        Err(format!("{rows} of {bytes} bytes, {lengths}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: u32, bytes: usize, lengths: &[u32]) -> wire::Rows {
        wire::Rows { rows, payload: vec![0; bytes].into(), lengths: lengths.to_vec() }
    }

    fn sent(rows: u32, bytes: usize, lengths: &[u32]) -> Sent {
        Sent { rows, bytes, lengths: lengths.to_vec() }
    }

    #[test]
    fn as_many_frames_come_back_as_were_sent() {
        // Frames of 2 elements of 4 bytes become frames of 5.
        let frames = Back::Frames { sent: 2, back: 5 };
        let ragged = sent(2, 4 * 8, &[6, 2]);
        assert_eq!(frames.check(&ragged, &rows(2, 4 * 20, &[15, 5])), Ok(()));
        for wrong in [rows(2, 4 * 20, &[5, 15]), rows(2, 4 * 20, &[]), rows(2, 4 * 19, &[15, 5])] {
            let expected = "2 of 80 bytes, as long as those that were sent";
            assert_eq!(frames.check(&ragged, &wrong).unwrap_err(), expected);
        }
        let alike = sent(2, 4 * 8, &[]);
        assert_eq!(frames.check(&alike, &rows(2, 4 * 20, &[])), Ok(()));
        assert!(frames.check(&alike, &rows(1, 4 * 20, &[])).is_err());
    }

    #[test]
    fn rows_that_are_alike_come_back_without_lengths() {
        let alike = Back::Alike(12);
        assert_eq!(alike.check(&sent(2, 99, &[3, 4]), &rows(2, 24, &[])), Ok(()));
        let error = alike.check(&sent(2, 99, &[]), &rows(2, 24, &[3, 3])).unwrap_err();
        assert_eq!(error, "2 of 24 bytes, all alike");
    }
}
