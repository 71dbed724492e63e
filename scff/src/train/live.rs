//! What a layer in training passes on in the midst of a step, for a layer that trains upon it at the same time.

use ndarray::Array2;
use ndarray::parallel::prelude::*;

use super::block::{Block, Mapped};
use super::input::Paired;
use super::layer::{Kind, TrainingLayer};
use super::passed_on::{PassOn, PassedOn};
use crate::frozen::transmit;
use crate::pair::PairedRows;
use crate::scratch::buffer;

impl TrainingLayer {
    /// What the layer passes on for the pairs of `input`, of the maps that the first half of the step on it has made.
    pub(super) fn pass_on(&self, input: Paired<'_>, pass_on: PassOn) -> PassedOn {
        match (input, &self.kind) {
            (Paired::Rows(input), Kind::Dense(layer)) => {
                self.transmit_rows(input, pass_on, layer.blocks(), &layer.mapped())
            }
            (Paired::Rows(input), Kind::Conv(layer)) => {
                self.transmit_rows(input, pass_on, layer.blocks(), &layer.mapped())
            }
            (Paired::Sequences(input), Kind::Recurrent(layer)) => {
                let count = pass_on.count(input.positives(), input.pairs().len());
                PassedOn { pairs: (0..count).collect(), outputs: layer.passed_on(input, count).into() }
            }
            _ => unreachable!("a layer passes on what it has read"),
        }
    }

    /// `mapped`: of all channels.
    fn transmit_rows<'a>(
        &self,
        input: &PairedRows,
        pass_on: PassOn,
        blocks: impl Iterator<Item = &'a Block>,
        mapped: &[Mapped<'_>],
    ) -> PassedOn {
        let order = input.order();
        let mut places = order.positives_first();
        places.truncate(pass_on.count(order.samples(), order.count()));
        let in_batch: Vec<usize> = order.in_batch().collect();
        let pairs = places.iter().map(|place| in_batch[*place]).collect();
        let (mut weight_sums, mut bias) = (Vec::new(), Vec::new());
        for block in blocks {
            weight_sums.extend(&block.weight_sums);
            bias.extend(block.parameters.bias.iter().map(|bias| input.bias_factor() * bias));
        }
        let length = self.spec.map.output().len();
        let mut rows = Array2::zeros((places.len(), self.spec.outputs()));
        rows.outer_iter_mut().into_par_iter().zip(places).for_each(|(mut out, pair)| {
            let pair = &input.pairs()[pair];
            let mut halves = buffer(2 * length);
            let (first, second) = halves.split_at_mut(length);
            gather(mapped, self.spec.map.channels(), pair.first, first);
            let second = pair.second.map(|row| {
                gather(mapped, self.spec.map.channels(), row, second);
                &*second
            });
            let out = out.as_slice_mut().expect("rows are contiguous");
            transmit(&self.spec, (&weight_sums, &bias), pair, first, second, out);
        });
        PassedOn { pairs, outputs: rows.into() }
    }
}

/// Writes U of one row, (positions, channels), of what there is of it.
fn gather(mapped: &[Mapped<'_>], channels: usize, row: usize, out: &mut [f32]) {
    let positions = out.len() / channels;
    for Mapped { channels: of, numbers } in mapped {
        let width = of.len();
        let mapped = numbers[row * positions * width..].chunks_exact(width);
        for (out, mapped) in out.chunks_exact_mut(channels).zip(mapped) {
            out[of.start..of.end].copy_from_slice(mapped);
        }
    }
}
