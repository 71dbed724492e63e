//! The last word of a connection: HTTP/2 says why it closes one whose peer breaks its rules (RFC 9113, section 6.8).

/// So much of what was written last: the frame that says why, and what it adds in words.
const KEPT: usize = 128;
/// Bytes of a frame before what it holds ...
const HEAD: usize = 9;
/// ... which is the last stream and the reason, and maybe words.
const HELD: usize = 8;
/// The frame's kind.
const GOAWAY: u8 = 7;

/// What was written to a connection last.
#[derive(Debug, Default)]
pub struct Farewell(Vec<u8>);

impl Farewell {
    /// Takes note of what was written.
    pub fn note(&mut self, written: &[u8]) {
        let last = &written[written.len().saturating_sub(KEPT)..];
        let surplus = (self.0.len() + last.len()).saturating_sub(KEPT);
        self.0.drain(..surplus.min(self.0.len()));
        self.0.extend_from_slice(last);
    }

    /// Which rule the peer broke, if the connection ended with that.
    pub fn broken_rule(&self) -> Option<String> {
        let starts = 0..(self.0.len() + 1).saturating_sub(HEAD + HELD);
        starts.rev().find_map(|start| broken_rule(&self.0[start..]))
    }
}

/// What `frame` says, if it is one that says why a connection ends.
fn broken_rule(frame: &[u8]) -> Option<String> {
    let (head, held) = frame.split_at(HEAD);
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    if length != held.len() || head[3..] != [GOAWAY, 0, 0, 0, 0, 0] {
        return None;
    }
    let (reason, words) = held[HELD - 4..].split_first_chunk()?;
    let reason = h2::Reason::from(u32::from_be_bytes(*reason));
    let words = String::from_utf8_lossy(words).replace('_', " ");
    match (reason, words.as_str()) {
        (h2::Reason::NO_ERROR, _) => None,
        (reason, "") => Some(reason.description().to_owned()),
        (_, words) => Some(words.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goaway(reason: u8, words: &[u8]) -> Vec<u8> {
        let length = (HELD + words.len()) as u8;
        [&[0, 0, length, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, reason][..], words].concat()
    }

    #[test]
    fn the_reason_is_read_however_it_was_written() {
        for (frame, says) in [
            (goaway(1, b""), Some("unspecific protocol error detected")),
            (goaway(11, b"too_many_resets"), Some("too many resets")),
            (goaway(0, b""), None),
            (vec![7; 60], None),
            (vec![], None),
        ] {
            for piece in [1, 16, 1000] {
                let mut farewell = Farewell::default();
                farewell.note(&[7; 500]);
                frame.chunks(piece).for_each(|piece| farewell.note(piece));
                assert_eq!(farewell.broken_rule().as_deref(), says, "{frame:?} by {piece}");
            }
        }
        let mut farewell = Farewell::default();
        farewell.note(&goaway(1, b""));
        farewell.note(b"more");
        assert_eq!(farewell.broken_rule(), None, "it was not the last word");
    }
}
