//! Who of a group gets which of a layer's parts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use proto::address::Address;
use proto::wire;
use scff::batch::LayerIndex;

use super::states::{Corner, Sharer};
use crate::cluster::Worker;
use crate::grid::Grid;
use crate::plan::Parts;
use crate::worker_id::WorkerId;

/// Seconds that each worker computes for a part of each layer, by the last it said: who is slower gets fewer of it, or of the next one's.
pub type WorkerRates = Arc<Mutex<HashMap<(LayerIndex, WorkerId), f64>>>;

/// Who of a group owns which channels and samples: whole parts, row by row. In one row, or one column, by how fast each has been,
/// or else by its threads. In a grid a worker's share is as large as its row times its column, so that there is no share for each
/// one's rate: all are as even as parts allow.
pub fn shards(
    parts: &Parts,
    grid: Grid,
    (layer, group): (LayerIndex, &[Worker]),
    rates: &WorkerRates,
) -> Vec<wire::Shard> {
    assert_eq!(grid.workers(), group.len(), "a worker for each place");
    let weights = || weights(layer, group, rates);
    let even = |count: usize| vec![1.0; count];
    let (of_rows, of_columns) = match grid {
        Grid { rows: 1, columns } if columns > 1 => (even(1), weights()),
        Grid { rows, columns: 1 } if rows > 1 => (weights(), even(1)),
        Grid { rows, columns } => (even(rows), even(columns)),
    };
    let (rows, columns) = (ranges(&parts.samples, &of_rows), ranges(&parts.channels, &of_columns));
    let places = rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
    let shard = |(worker, (row, column)): (&Worker, (&Range<usize>, &Range<usize>))| {
        let Address { socket, name } = worker.address.clone();
        wire::Shard {
            address: socket,
            name,
            start: column.start as u64,
            end: column.end as u64,
            first_sample: row.start as u64,
            end_sample: row.end as u64,
            identity: worker.id.0,
        }
    };
    group.iter().zip(places).map(shard).collect()
}

/// Who has each shard.
pub fn sharers(parts: &Parts, shards: &[wire::Shard], group: &[Worker]) -> HashMap<Corner, Sharer> {
    let within = |parts: &[Range<usize>], start: u64, end: u64| {
        parts.iter().filter(|part| (start..end).contains(&(part.start as u64))).count()
    };
    let sharer = |(shard, worker): (&wire::Shard, &Worker)| {
        let channels = within(&parts.channels, shard.start, shard.end);
        let samples = within(&parts.samples, shard.first_sample, shard.end_sample);
        let sharer = Sharer { id: worker.id, address: worker.address.clone(), parts: channels * samples };
        ((shard.start, shard.first_sample), sharer)
    };
    shards.iter().zip(group).map(sharer).collect()
}

/// How fast each of a group has been for a layer or, of those below it, the last that all of them have trained; or else how many
/// threads each has.
fn weights(layer: LayerIndex, group: &[Worker], rates: &WorkerRates) -> Vec<f64> {
    let rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
    let measured = |layer: u32| -> Option<Vec<f64>> {
        let rate =
            |worker: &Worker| rates.get(&(LayerIndex(layer), worker.id)).map(|seconds| seconds.recip());
        group.iter().map(rate).collect()
    };
    let threads = || group.iter().map(|worker| f64::from(worker.description.threads.max(1))).collect();
    (0..=layer.0).rev().find_map(measured).unwrap_or_else(threads)
}

/// Whole parts in proportion to `weights`, in order.
fn ranges(parts: &[Range<usize>], weights: &[f64]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |count: usize| {
        let own = &parts[start..start + count];
        start += count;
        own[0].start..own[count - 1].end
    };
    share_out(parts.len(), weights).into_iter().map(range).collect()
}

/// Shares `count` things out in proportion to `weights`, at least one to each: the largest remainders are rounded up.
pub fn share_out(count: usize, weights: &[f64]) -> Vec<usize> {
    assert!(count >= weights.len(), "something for everybody");
    let total: f64 = weights.iter().sum();
    let exact = |place: usize| count as f64 * weights[place] / total;
    let mut shares: Vec<usize> = (0..weights.len()).map(|place| (exact(place) as usize).max(1)).collect();
    while shares.iter().sum::<usize>() != count {
        // How far each is below its exact share; of equals, the first gets more and the last gives.
        let lack = |place: &usize| exact(*place) - shares[*place] as f64;
        let by_lack = |one: &usize, other: &usize| lack(one).total_cmp(&lack(other));
        if shares.iter().sum::<usize>() < count {
            let most = (0..shares.len()).rev().max_by(by_lack).expect("a share");
            shares[most] += 1;
        } else {
            let least = (0..shares.len()).rev().filter(|place| shares[*place] > 1).min_by(by_lack);
            shares[least.expect("one has more than one")] -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_shared_out_by_rates_and_nobody_goes_without() {
        assert_eq!(share_out(4, &[1.0, 1.0]), [2, 2]);
        assert_eq!(share_out(4, &[1.0, 0.9]), [2, 2]);
        assert_eq!(share_out(10, &[2.0, 2.0, 2.0]), [4, 3, 3]);
        assert_eq!(share_out(6, &[2.0, 1.0]), [4, 2]);
        assert_eq!(share_out(3, &[16.0, 1.0, 1.0]), [1, 1, 1]);
        assert_eq!(share_out(7, &[1.0]), [7]);
        assert_eq!(share_out(24, &[1.0, 2.0, 3.0, 4.0]), [2, 5, 7, 10]);
    }
}
