//! Messages of rows: how many there are, how long each is, and their bytes.

use bytes::Bytes;
pub use scff::layer::RowLength;

use crate::rows::Precision;
use crate::{WireError, wire};

/// A message of rows that is known to hold whole rows.
#[derive(Clone, Debug)]
pub struct RowBytes {
    rows: usize,
    payload: Bytes,
    cuts: Cuts,
}

/// Where a row ends and the next begins.
#[derive(Clone, Debug)]
enum Cuts {
    /// After so many bytes each.
    Alike(usize),
    /// After so many elements of so many bytes.
    Each(Vec<u32>, usize),
}

impl RowBytes {
    /// Checks that `message` holds as many rows as it says, no more than `limit`, each of a length that it may have.
    pub fn parse(
        message: wire::Rows,
        length: RowLength,
        precision: Precision,
        limit: usize,
    ) -> Result<Self, WireError> {
        let wire::Rows { rows, payload, lengths } = message;
        let rows = rows as usize;
        if rows == 0 || rows > limit {
            return Err(WireError::new("rows.rows", rows, format_args!("1 to {limit} rows")));
        }
        let bytes = precision.bytes();
        let cuts = match (length, lengths.is_empty()) {
            (RowLength::Fixed(elements), true) => Cuts::Alike(fixed(&payload, rows, elements * bytes)?),
            (RowLength::Sequences { .. }, true) => Cuts::Alike(alike(&payload, rows, length, bytes)?),
            (RowLength::Sequences { .. }, false) => {
                check_lengths(&lengths, &payload, rows, length, bytes)?;
                Cuts::Each(lengths, bytes)
            }
            (RowLength::Fixed(elements), false) => {
                let expected = format_args!("none: all rows have {elements} elements").to_string();
                return Err(WireError::new("rows.lengths", count(&lengths), expected));
            }
        };
        Ok(Self { rows, payload, cuts })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes of all, one after another.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The bytes of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.payload;
        (0..self.rows).map(move |row| {
            let length = match &self.cuts {
                Cuts::Alike(bytes) => *bytes,
                Cuts::Each(elements, bytes) => elements[row] as usize * bytes,
            };
            let (row, after) = rest.split_at(length);
            rest = after;
            row
        })
    }
}

impl From<RowBytes> for wire::Rows {
    fn from(RowBytes { rows, payload, cuts }: RowBytes) -> Self {
        let lengths = match cuts {
            Cuts::Alike(_) => Vec::new(),
            Cuts::Each(elements, _) => elements,
        };
        Self { rows: rows as u32, payload, lengths }
    }
}

impl wire::Rows {
    /// So many rows that are as long as each other.
    pub fn alike(rows: usize, payload: impl Into<Bytes>) -> Self {
        Self { rows: rows as u32, payload: payload.into(), lengths: Vec::new() }
    }

    /// Rows of these bytes, whose elements are of this precision.
    pub fn of(rows: &[&[u8]], precision: Precision) -> Self {
        let alike = rows.iter().all(|row| row.len() == rows[0].len());
        let elements = |row: &&[u8]| (row.len() / precision.bytes()) as u32;
        let lengths = if alike { Vec::new() } else { rows.iter().map(elements).collect() };
        Self { rows: rows.len() as u32, payload: rows.concat().into(), lengths }
    }
}

/// Bytes of a row, which must be `row_bytes`.
fn fixed(payload: &[u8], rows: usize, row_bytes: usize) -> Result<usize, WireError> {
    if rows.checked_mul(row_bytes) == Some(payload.len()) {
        return Ok(row_bytes);
    }
    Err(misfit(payload, format!("{rows} rows of {row_bytes} bytes")))
}

/// Bytes of a row where all sequences have the same number of frames.
fn alike(payload: &[u8], rows: usize, length: RowLength, bytes: usize) -> Result<usize, WireError> {
    let elements = payload.len() / rows / bytes;
    if fits(elements, length) && payload.len() == rows * elements * bytes {
        return Ok(elements * bytes);
    }
    Err(misfit(payload, format!("{rows} rows of {length}, or the length of each")))
}

/// Whether a row may have so many elements.
fn fits(elements: usize, length: RowLength) -> bool {
    match length {
        RowLength::Fixed(expected) => elements == expected,
        RowLength::Sequences { features, .. } => {
            (1..=length.longest()).contains(&elements) && elements.is_multiple_of(features)
        }
    }
}

fn check_lengths(
    lengths: &[u32],
    payload: &[u8],
    rows: usize,
    length: RowLength,
    bytes: usize,
) -> Result<(), WireError> {
    if lengths.len() != rows {
        return Err(WireError::new(
            "rows.lengths",
            count(lengths),
            format_args!("one for each of {rows} rows"),
        ));
    }
    if let Some(wrong) = lengths.iter().find(|&&elements| !fits(elements as usize, length)) {
        return Err(WireError::new("rows.lengths", wrong, length));
    }
    // As many as 2^32 numbers below 2^32.
    let elements: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    if payload.len().is_multiple_of(bytes) && (payload.len() / bytes) as u64 == elements {
        return Ok(());
    }
    Err(misfit(payload, format!("{elements} elements of {bytes} bytes, as rows.lengths says")))
}

fn count(lengths: &[u32]) -> String {
    format!("{} lengths", lengths.len())
}

fn misfit(payload: &[u8], expected: String) -> WireError {
    WireError::new("rows.payload", format_args!("{} bytes", payload.len()), expected)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn message(rows: u32, bytes: usize, lengths: &[u32]) -> wire::Rows {
        let payload: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
        wire::Rows { rows, payload: payload.into(), lengths: lengths.to_vec() }
    }

    /// Of at most ten rows in half precision.
    fn parse(message: wire::Rows, length: RowLength) -> Result<RowBytes, WireError> {
        RowBytes::parse(message, length, Precision::F16, 10)
    }

    fn refused(message: wire::Rows, length: RowLength) -> String {
        parse(message, length).unwrap_err().to_string()
    }

    /// Sequences of at most so many frames of one element.
    fn up_to(frames: usize) -> RowLength {
        RowLength::Sequences { frames, features: 1 }
    }

    #[test]
    fn a_payload_of_another_length_is_refused() {
        let fixed = RowLength::Fixed(4);
        assert_eq!(parse(message(2, 16, &[]), fixed).unwrap().iter().map(<[u8]>::len).sum::<usize>(), 16);
        let error = refused(message(2, 15, &[]), fixed);
        assert_eq!(error, "rows.payload: found 15 bytes, expected 2 rows of 8 bytes");
        assert_eq!(refused(message(0, 0, &[]), fixed), "rows.rows: found 0, expected 1 to 10 rows");
        assert_eq!(refused(message(11, 88, &[]), fixed), "rows.rows: found 11, expected 1 to 10 rows");
        let error = refused(message(2, 16, &[4, 4]), fixed);
        assert_eq!(error, "rows.lengths: found 2 lengths, expected none: all rows have 4 elements");
    }

    #[test]
    fn rows_of_any_length_survive_the_wire() {
        for (sent, rows) in [
            (message(3, 12, &[3, 1, 2]), [0..6, 6..8, 8..12]),
            (message(3, 12, &[2, 2, 2]), [0..4, 4..8, 8..12]),
            (message(3, 12, &[]), [0..4, 4..8, 8..12]),
        ] {
            let arrived = wire::Rows::decode(&*sent.encode_to_vec()).unwrap();
            let parsed = parse(arrived, up_to(3)).unwrap();
            let expected: Vec<&[u8]> = rows.iter().map(|row| &sent.payload[row.clone()]).collect();
            assert_eq!(parsed.iter().collect::<Vec<_>>(), expected);
            assert_eq!((parsed.rows(), parsed.payload()), (3, &*sent.payload));
            assert_eq!(wire::Rows::from(parsed), sent);
        }
    }

    #[test]
    fn lengths_take_no_room_where_rows_are_alike() {
        let payload = Bytes::from(vec![0; 12]);
        let ragged = message(3, 12, &[3, 1, 2]);
        assert_eq!(ragged.encoded_len() - wire::Rows::alike(3, payload.clone()).encoded_len(), 5);
        assert_eq!(wire::Rows::alike(3, payload).encoded_len(), 2 + 2 + 12);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let frames = "1 to 3 frames of 1 elements";
        for (message, most, says) in [
            (message(3, 12, &[3, 1]), 3, "rows.lengths: found 2 lengths, expected one for each of 3 rows"),
            (message(1, 12, &[3, 3]), 3, "rows.lengths: found 2 lengths, expected one for each of 1 rows"),
            (message(3, 12, &[3, 0, 3]), 3, &format!("rows.lengths: found 0, expected {frames}")),
            (message(3, 12, &[1, 1, 4]), 3, &format!("rows.lengths: found 4, expected {frames}")),
            (message(2, 12, &[3, 2]), 3, "rows.payload: found 12 bytes, expected 5 elements of 2 bytes"),
            (message(2, 13, &[3, 3]), 3, "rows.payload: found 13 bytes, expected 6 elements of 2 bytes"),
            (message(2, 2, &[u32::MAX, 2]), 3, &format!("rows.lengths: found 4294967295, expected {frames}")),
            (
                message(2, 2, &[u32::MAX, 2]),
                usize::MAX,
                "rows.payload: found 2 bytes, expected 4294967297 elements",
            ),
            (message(2, 16, &[]), 3, &format!("rows.payload: found 16 bytes, expected 2 rows of {frames}")),
            (message(2, 0, &[]), 3, &format!("rows.payload: found 0 bytes, expected 2 rows of {frames}")),
            (message(2, 6, &[]), 3, &format!("rows.payload: found 6 bytes, expected 2 rows of {frames}")),
        ] {
            let error = refused(message, up_to(most));
            assert!(error.starts_with(says), "{error} starts with {says}");
        }
    }
    #[test]
    fn sequences_are_whole_frames() {
        let length = RowLength::Sequences { frames: 2, features: 3 };
        assert_eq!(parse(message(2, 18, &[3, 6]), length).unwrap().rows(), 2);
        assert_eq!(parse(message(2, 12, &[]), length).unwrap().rows(), 2);
        let frames = "1 to 2 frames of 3 elements";
        let error = refused(message(2, 18, &[4, 5]), length);
        assert_eq!(error, format!("rows.lengths: found 4, expected {frames}"));
        let error = refused(message(2, 16, &[]), length);
        assert_eq!(
            error,
            format!("rows.payload: found 16 bytes, expected 2 rows of {frames}, or the length of each")
        );
        assert!(refused(message(1, 18, &[9]), length).ends_with(frames));
    }
}
