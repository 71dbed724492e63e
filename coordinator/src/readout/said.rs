//! What one of those who share a readout may say, in this order and no more: how many rows are stored, until all are; the loss of each
//! epoch; what it has measured; its parameters. So what waits to be heard of it is bounded.

use proto::wire;
use proto::wire::readout_reply::Reply;

/// What is to come of it.
#[derive(Clone, Debug)]
pub struct Due {
    /// Rows of features.
    pub rows: u64,
    /// Epochs.
    pub epochs: u32,
    /// Samples of each part that is measured.
    pub samples: Vec<u64>,
    /// Bytes of parameters: none of a worker that owns no features, which says nothing.
    pub parameters: usize,
}

/// What it has said.
#[derive(Debug)]
pub struct Said {
    due: Due,
    stored: u64,
    epochs: u32,
    over: Over,
}

/// Whether it has learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Not yet.
    No,
    /// It has, and so many bytes of its parameters are missing.
    Measured { missing: usize },
    /// It has not, for numbers are not finite any more.
    Diverged,
}

impl Said {
    /// Nothing yet.
    pub fn nothing(due: Due) -> Self {
        Self { due, stored: 0, epochs: 0, over: Over::No }
    }

    /// Takes note of a reply; errors with what was found and expected where it is not the next.
    pub fn note(&mut self, reply: &Reply) -> Result<(), String> {
        if self.due.parameters == 0 {
            return Err("a reply about features, of which it owns none".to_owned());
        }
        match reply {
            Reply::Stored(wire::ReadoutStored { rows }) => self.note_stored(*rows),
            Reply::Epoch(wire::ReadoutEpoch { epoch, loss }) => {
                self.check_epoch(*epoch)?;
                if !loss.is_finite() {
                    return Err(format!("a loss of {loss} in epoch {epoch}, expected a finite one"));
                }
                self.epochs += 1;
                Ok(())
            }
            Reply::Diverged(wire::ReadoutDiverged { epoch }) => {
                self.check_epoch(*epoch)?;
                self.over = Over::Diverged;
                Ok(())
            }
            Reply::Measured(wire::ReadoutMeasured { correct }) => self.note_measured(correct),
            Reply::Parameters(part) => self.note_parameters(part.len()),
        }
    }

    fn note_stored(&mut self, rows: u64) -> Result<(), String> {
        let (before, all) = (self.stored, self.due.rows);
        if !(before + 1..=all).contains(&rows) {
            return Err(format!("{rows} stored rows after {before}, expected more, of {all}"));
        }
        self.stored = rows;
        Ok(())
    }

    fn check_epoch(&self, epoch: u32) -> Result<(), String> {
        let Self { due, stored, epochs, over } = self;
        let is_next = *stored == due.rows && *over == Over::No && epoch == *epochs && epoch < due.epochs;
        if is_next {
            return Ok(());
        }
        let (rows, all) = (due.rows, due.epochs);
        Err(format!("epoch {epoch} after {epochs} of {all} epochs and {stored} of {rows} stored rows"))
    }

    fn note_measured(&mut self, correct: &[u64]) -> Result<(), String> {
        let Self { due, stored, epochs, over } = self;
        if *stored < due.rows || *epochs < due.epochs || *over != Over::No {
            let (rows, all) = (due.rows, due.epochs);
            return Err(format!(
                "measures after {epochs} of {all} epochs and {stored} of {rows} stored rows"
            ));
        }
        let samples = &due.samples;
        if correct.len() != samples.len() {
            return Err(format!("measures of {} parts, expected {}", correct.len(), samples.len()));
        }
        if correct.iter().zip(samples).any(|(correct, samples)| correct > samples) {
            return Err(format!("{correct:?} samples that it classifies as labelled, of {samples:?}"));
        }
        self.over = Over::Measured { missing: due.parameters };
        Ok(())
    }

    fn note_parameters(&mut self, bytes: usize) -> Result<(), String> {
        match &mut self.over {
            Over::Measured { missing } if (1..=*missing).contains(&bytes) => {
                *missing -= bytes;
                Ok(())
            }
            Over::Measured { missing } => {
                Err(format!("{bytes} bytes of parameters, expected some of {missing}"))
            }
            Over::No | Over::Diverged => Err(format!("{bytes} bytes of parameters before it has measured")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due() -> Due {
        Due { rows: 5, epochs: 2, samples: vec![3, 2], parameters: 12 }
    }

    fn stored(rows: u64) -> Reply {
        Reply::Stored(wire::ReadoutStored { rows })
    }

    fn epoch(epoch: u32, loss: f64) -> Reply {
        Reply::Epoch(wire::ReadoutEpoch { epoch, loss })
    }

    fn measured(correct: &[u64]) -> Reply {
        Reply::Measured(wire::ReadoutMeasured { correct: correct.to_vec() })
    }

    fn parameters(bytes: usize) -> Reply {
        Reply::Parameters(vec![0; bytes].into())
    }

    fn diverged(epoch: u32) -> Reply {
        Reply::Diverged(wire::ReadoutDiverged { epoch })
    }

    /// What is wrong with the first of some replies that cannot be.
    fn wrong(due: Due, replies: &[Reply]) -> Option<String> {
        let mut said = Said::nothing(due);
        replies.iter().find_map(|reply| said.note(reply).err())
    }

    fn all() -> Vec<Reply> {
        vec![
            stored(2),
            stored(5),
            epoch(0, 0.5),
            epoch(1, 0.25),
            measured(&[3, 0]),
            parameters(8),
            parameters(4),
        ]
    }

    #[test]
    fn what_comes_in_order_is_heard_to_the_end() {
        assert_eq!(wrong(due(), &all()), None);
        assert_eq!(wrong(due(), &[stored(5), epoch(0, 0.5), diverged(1)]), None);
        let without_epochs = Due { epochs: 0, ..due() };
        assert_eq!(wrong(without_epochs, &[stored(5), measured(&[0, 0]), parameters(12)]), None);
    }

    #[test]
    fn nothing_may_be_left_out_or_said_again() {
        let all = all();
        for index in 0..all.len() {
            let twice = [&all[..=index], &all[index..]].concat();
            assert!(wrong(due(), &twice).is_some(), "{:?} twice", all[index]);
            // Some rows may be told of with later ones, and parameters may end early, which their end shows.
            if (1..5).contains(&index) {
                let without = [&all[..index], &all[index + 1..]].concat();
                assert!(wrong(due(), &without).is_some(), "without {:?}", all[index]);
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_was_found_and_expected() {
        let learnt = &all()[..4];
        for (replies, says) in [
            (vec![stored(0)], "0 stored rows after 0, expected more, of 5"),
            (vec![stored(6)], "6 stored rows after 0, expected more, of 5"),
            (vec![stored(u64::MAX)], "18446744073709551615 stored rows"),
            (vec![epoch(0, 0.5)], "epoch 0 after 0 of 2 epochs and 0 of 5 stored rows"),
            (vec![stored(5), epoch(1, 0.5)], "epoch 1 after 0 of 2 epochs and 5 of 5 stored rows"),
            (vec![stored(5), epoch(0, f64::NAN)], "a loss of NaN in epoch 0, expected a finite one"),
            (vec![stored(5), diverged(7)], "epoch 7 after 0 of 2 epochs"),
            (vec![stored(5), diverged(0), epoch(0, 0.5)], "epoch 0 after 0 of 2 epochs"),
            (vec![stored(5), measured(&[3, 2])], "measures after 0 of 2 epochs"),
            (vec![stored(5), parameters(4)], "4 bytes of parameters before it has measured"),
            ([learnt, &[measured(&[3])]].concat(), "measures of 1 parts, expected 2"),
            ([learnt, &[measured(&[3, 3])]].concat(), "[3, 3] samples that it classifies as labelled"),
            (
                [learnt, &[measured(&[3, 2]), parameters(13)]].concat(),
                "13 bytes of parameters, expected some of 12",
            ),
            (
                [learnt, &[measured(&[3, 2]), parameters(0)]].concat(),
                "0 bytes of parameters, expected some of 12",
            ),
        ] {
            let found = wrong(due(), &replies).expect(says);
            assert!(found.starts_with(says), "{found} starts with {says}");
        }
        let nobody = Due { parameters: 0, ..due() };
        assert_eq!(wrong(nobody, &[stored(5)]).unwrap(), "a reply about features, of which it owns none");
    }
}
