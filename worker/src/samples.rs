//! Samples as they come in messages, and as they go out in them.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};
use proto::limits::{PAYLOAD_BYTES, rows_per_message};
use proto::row_bytes::RowLength;
use proto::rows::{Precision, Unfit};
use proto::wire;
use scff::samples::Samples;
use scff::sequences::Sequences;

/// Samples of rows' bytes, each of which is known to be as long as it may be. Where rows are of a fixed length, those without bytes are
/// zero.
pub fn decode(sources: &[&[u8]], length: RowLength, precision: Precision) -> Samples {
    match length {
        RowLength::Fixed(elements) => {
            let mut rows = Array2::zeros((sources.len(), elements));
            rows.outer_iter_mut().into_par_iter().zip(sources).for_each(|(mut row, source)| {
                if !source.is_empty() {
                    precision.decode(source, row.as_slice_mut().expect("rows are contiguous"));
                }
            });
            rows.into()
        }
        RowLength::Sequences { features, .. } => {
            let frames = sources.iter().map(|source| source.len() / precision.bytes() / features);
            let mut sequences = Sequences::zeros(features, frames);
            let rows = sequences.rows_mut().into_par_iter().zip(sources);
            rows.for_each(|(row, source)| precision.decode(source, row));
            sequences.into()
        }
    }
}

/// Samples as they are passed on, cut into messages.
pub fn encode(samples: &Samples, precision: Precision) -> Result<Vec<wire::Rows>, Unfit> {
    match samples {
        Samples::Rows(rows) => {
            let together = rows_per_message(rows.ncols() * precision.bytes());
            let chunks: Vec<_> = rows.axis_chunks_iter(Axis(0), together).collect();
            chunks.into_par_iter().map(|rows| encode_rows(rows, precision)).collect()
        }
        Samples::Sequences(sequences) => {
            let rows: Vec<&[f32]> = sequences.rows().collect();
            let messages: Vec<&[&[f32]]> = cut(&rows, precision).collect();
            messages.into_par_iter().map(|rows| encode_sequences(rows, precision)).collect()
        }
    }
}

/// The same in one message, whatever its size.
pub fn encode_together(samples: &Samples, precision: Precision) -> Result<wire::Rows, Unfit> {
    match samples {
        Samples::Rows(rows) => encode_rows(rows.view(), precision),
        Samples::Sequences(sequences) => encode_sequences(&sequences.rows().collect::<Vec<_>>(), precision),
    }
}

fn encode_rows(rows: ArrayView2<'_, f32>, precision: Precision) -> Result<wire::Rows, Unfit> {
    let mut payload = Vec::with_capacity(rows.len() * precision.bytes());
    for row in rows.outer_iter() {
        precision.encode(row.to_slice().expect("rows are contiguous"), &mut payload)?;
    }
    Ok(wire::Rows::alike(rows.nrows(), payload))
}

fn encode_sequences(rows: &[&[f32]], precision: Precision) -> Result<wire::Rows, Unfit> {
    let alike = rows.iter().all(|row| row.len() == rows[0].len());
    let lengths = if alike { Vec::new() } else { rows.iter().map(|row| row.len() as u32).collect() };
    let mut payload = Vec::with_capacity(rows.iter().map(|row| row.len()).sum::<usize>() * precision.bytes());
    rows.iter().try_for_each(|row| precision.encode(row, &mut payload))?;
    Ok(wire::Rows { rows: rows.len() as u32, payload: payload.into(), lengths })
}

/// Rows in groups of about a message's payload, and at least one each.
fn cut<'a>(rows: &'a [&'a [f32]], precision: Precision) -> impl Iterator<Item = &'a [&'a [f32]]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|row| {
            bytes += row.len() * precision.bytes();
            bytes <= PAYLOAD_BYTES
        });
        let count = fitting.count().max(1).min(rest.len());
        let (group, others) = rest.split_at(count);
        rest = others;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use proto::row_bytes::RowBytes;

    use super::*;

    #[test]
    fn sequences_survive_the_wire_in_as_many_messages_as_it_takes() {
        let frames = [1, 900, 1, 250, 80, 3];
        let mut sequences = Sequences::zeros(300, frames);
        for (index, row) in sequences.rows_mut().into_iter().enumerate() {
            row.fill(index as f32);
        }
        let samples = Samples::from(sequences);
        let length = RowLength::Sequences { frames: 900, features: 300 };
        for (precision, sizes) in [(Precision::F32, vec![1, 1, 4]), (Precision::F16, vec![6])] {
            let messages = encode(&samples, precision).unwrap();
            assert_eq!(messages.iter().map(|message| message.rows as usize).collect::<Vec<_>>(), sizes);
            let parsed: Vec<RowBytes> = messages
                .into_iter()
                .map(|message| RowBytes::parse(message, length, precision, 6).unwrap())
                .collect();
            let sources: Vec<&[u8]> = parsed.iter().flat_map(RowBytes::iter).collect();
            assert_eq!(decode(&sources, length, precision), samples);
            assert_eq!(encode_together(&samples, precision).unwrap().rows, 6);
        }
    }
}
