//! Who owns which features of a readout that workers share.

use proto::address::Address;
use proto::rows::Precision;
use proto::wire;
use scff::readout::{BLOCK, Blocks};

use crate::cluster::Worker;
use crate::phase::share_out;
use crate::split::Splits;

/// Views of a sample where mirror images belong to it.
const FLIPPED: usize = 2;

/// Who owns which features, in whole blocks by how many threads each has; where there are fewer blocks than workers, the last of
/// these own none. Nothing where it is for the head node, for somebody has no room.
pub fn shares(
    workers: &[Worker],
    features: usize,
    splits: &Splits,
    precision: Precision,
) -> Option<Vec<wire::Shard>> {
    let some = splits.parts().iter().all(|(examples, _)| !examples.is_empty());
    if workers.is_empty() || !some {
        return None;
    }
    let threads: Vec<f64> =
        workers.iter().map(|worker| f64::from(worker.description.threads.max(1))).collect();
    let rows = splits.parts().iter().map(|(examples, flips)| rows(examples.len(), *flips)).sum();
    let labels: usize = splits.parts().iter().map(|(examples, _)| examples.len()).sum();
    let bounds = bounds(features, &threads);
    for (worker, own) in workers.iter().zip(bounds.windows(2)) {
        let needed = bytes(rows, own[1] - own[0], precision) + (size_of::<u32>() * labels) as u64;
        let room = worker.description.cache_bytes;
        if needed > room {
            tracing::warn!(
                "{worker} may keep {room} bytes, and its share of the readout's features has {needed}: the head node \
                 trains the readout. Give workers more --cache-memory, or take more of them"
            );
            return None;
        }
    }
    let shard = |(worker, own): (&Worker, &[usize])| {
        let Address { socket, name } = worker.address.clone();
        let (start, end) = (own[0] as u64, own[1] as u64);
        wire::Shard { address: socket, name, start, end, identity: worker.id.0, ..wire::Shard::default() }
    };
    Some(workers.iter().zip(bounds.windows(2)).map(shard).collect())
}

/// Rows of features of so many samples.
pub fn rows(samples: usize, flips: bool) -> usize {
    if flips { FLIPPED * samples } else { samples }
}

fn bytes(rows: usize, width: usize, precision: Precision) -> u64 {
    (rows as u64).saturating_mul((width * precision.bytes()) as u64)
}

/// Where the share of each begins, and where the last ends.
fn bounds(features: usize, threads: &[f64]) -> Vec<usize> {
    let blocks = Blocks::count(features);
    let owners = threads.len().min(blocks);
    let mut shares = share_out(blocks, &threads[..owners]);
    shares.resize(threads.len(), 0);
    let mut block = 0;
    let ends = shares.into_iter().map(|share| {
        block += share;
        (block * BLOCK).min(features)
    });
    std::iter::once(0).chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_shared_out_by_threads() {
        assert_eq!(bounds(4000, &[1.0, 1.0]), [0, 2048, 4000]);
        assert_eq!(bounds(4000, &[6.0, 2.0]), [0, 3072, 4000]);
        assert_eq!(bounds(4000, &[1.0; 5]), [0, 1024, 2048, 3072, 4000, 4000]);
        assert_eq!(bounds(240, &[1.0, 4.0]), [0, 240, 240]);
    }
}
