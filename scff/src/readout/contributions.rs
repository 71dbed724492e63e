//! What blocks of features contribute to the logits of some samples.

use std::ops::Range;

use ndarray::Array2;

use crate::sum_tree::{Addend, add_up_in_parallel, nodes};
use crate::train::NodeSums;

/// What each of the blocks that somebody owns contributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    /// Blocks of all features.
    blocks: usize,
    /// Those that are owned.
    own: Range<usize>,
    /// (owned blocks, samples * classes)
    numbers: Array2<f32>,
}

impl Contributions {
    /// Those of the blocks `own` of so many, (owned blocks, samples * classes).
    pub(super) fn new(blocks: usize, own: Range<usize>, numbers: Array2<f32>) -> Self {
        assert_eq!(own.len(), numbers.nrows(), "numbers of each block");
        Self { blocks, own, numbers }
    }

    /// The sums over the largest nodes of the blocks that are owned, as those who share a readout exchange them.
    pub fn node_sums(&self) -> NodeSums {
        let nodes = nodes(self.blocks, &self.own);
        let mut numbers = Array2::zeros((nodes.len(), self.numbers.ncols()));
        for (node, mut sum) in nodes.iter().zip(numbers.outer_iter_mut()) {
            self.add_up(node, sum.as_slice_mut().expect("rows are contiguous"));
        }
        NodeSums { nodes, numbers, losses: Vec::new() }
    }

    /// The sums over all blocks, (samples * classes).
    ///
    /// # Panics
    ///
    /// Where somebody else owns some.
    pub fn total(&self) -> Vec<f32> {
        assert_eq!(self.own, 0..self.blocks, "all blocks");
        let mut sums = vec![0.0; self.numbers.ncols()];
        self.add_up(&self.own, &mut sums);
        sums
    }

    fn add_up(&self, node: &Range<usize>, out: &mut [f32]) {
        let of = |block: usize| {
            let numbers = self.numbers.row(block - self.own.start);
            Addend { first: block, count: 1, numbers: numbers.to_slice().expect("rows are contiguous") }
        };
        add_up_in_parallel(&node.clone().map(of).collect::<Vec<_>>(), out);
    }
}
