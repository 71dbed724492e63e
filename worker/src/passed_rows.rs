//! What a step passes on, as rows of messages, from which those are taken that somebody needs.

use proto::limits::rows_per_message;
use proto::rows::Precision;
use proto::wire;

/// A part of what a step passes on, and to which of the takers.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// By its place in the list.
    pub to: usize,
    /// What.
    pub part: wire::PassedOn,
}

/// Rows, and of which pairs they are, in ascending order.
pub struct PassedRows {
    messages: Vec<(Vec<u32>, wire::Rows)>,
    precision: Precision,
}

impl PassedRows {
    /// `messages`: of these pairs, in their order.
    pub fn new(pairs: &[usize], messages: Vec<wire::Rows>, precision: Precision) -> Self {
        let mut pairs = pairs.iter().map(|pair| *pair as u32);
        let message = |rows: wire::Rows| (pairs.by_ref().take(rows.rows as usize).collect(), rows);
        Self { messages: messages.into_iter().map(message).collect(), precision }
    }

    /// All of it. The bytes are shared.
    pub fn all(&self) -> Vec<(Vec<u32>, wire::Rows)> {
        self.messages.clone()
    }

    /// Those of some pairs, in ascending order, where all rows are alike.
    pub fn of(&self, wanted: &[usize]) -> Vec<(Vec<u32>, wire::Rows)> {
        let is_wanted = |pair: &u32| wanted.binary_search(&(*pair as usize)).is_ok();
        if self.messages.iter().all(|(pairs, _)| pairs.iter().all(is_wanted)) {
            return self.all();
        }
        let rows = self.messages.iter().flat_map(|(pairs, rows)| {
            let row_bytes = rows.payload.len() / pairs.len();
            pairs.iter().copied().zip(rows.payload.chunks_exact(row_bytes))
        });
        let rows: Vec<(u32, &[u8])> = rows.filter(|(pair, _)| is_wanted(pair)).collect();
        let together = rows.first().map_or(1, |(_, row)| rows_per_message(row.len()));
        let message = |rows: &[(u32, &[u8])]| {
            let (pairs, rows): (Vec<u32>, Vec<&[u8]>) = rows.iter().copied().unzip();
            (pairs, wire::Rows::of(&rows, self.precision))
        };
        rows.chunks(together).map(message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_some_pairs_are_taken_out_of_messages() {
        let messages = vec![wire::Rows::alike(2, vec![1, 1, 2, 2]), wire::Rows::alike(1, vec![3, 3])];
        let passed = PassedRows::new(&[3, 5, 9], messages, Precision::F16);
        let all = passed.all();
        assert_eq!(all[0], (vec![3, 5], wire::Rows::alike(2, vec![1, 1, 2, 2])));
        assert_eq!(passed.of(&[1, 3, 5, 9]), all);
        assert_eq!(passed.of(&[3, 4, 9]), [(vec![3, 9], wire::Rows::alike(2, vec![1, 1, 3, 3]))]);
        assert_eq!(passed.of(&[4]), []);
    }
}
