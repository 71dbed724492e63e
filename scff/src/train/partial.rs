//! What workers that share a layer exchange in each step: sums over parts, in the order of [`sum_tree`].

use std::ops::Range;

use ndarray::{Array2, ArrayView2, aview1};

use crate::batch::Step;
use crate::finite::all_finite;
use crate::goodness::Loss;
use crate::sum_tree::{Addend, add_up_in_parallel, nodes, sum, total};

/// What is added up over all that share a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Sums of squares of every pair and position, over channels.
    Goodness,
    /// A gradient and losses, over samples.
    Gradient,
}

/// What one worker adds to what a step needs of all that share the layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// What it is.
    pub round: Round,
    /// Of the whole layer, in this round.
    parts: usize,
    /// Over nodes that are together the worker's own parts, as far as they have been added up.
    sums: NodeSums,
}

/// Sums over some nodes of the tree of parts, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSums {
    /// The parts of each.
    pub nodes: Vec<Range<usize>>,
    /// (nodes, numbers)
    pub numbers: Array2<f32>,
    /// Of each node in a round of gradients, where parts are samples; none where they are channels, for goodness says it.
    pub losses: Vec<Loss>,
}

/// Sums over all that share a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Goodness, (pairs * positions), or a gradient.
    pub numbers: Vec<f32>,
    /// Of the pairs, in a round of gradients; goodness says it otherwise.
    pub loss: Loss,
}

/// What follows when the sums of a round are there.
#[derive(Debug)]
pub enum Progress {
    /// Another round.
    Exchange(Partial),
    /// The end of the step.
    Done(StepReport),
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which step it was.
    pub step: Step,
    /// The learning rate it used.
    pub learning_rate: f64,
    /// The loss before the update.
    pub loss: Loss,
}

impl Sums {
    /// Whether all of it is finite. Where it is not, no update can be made of it.
    pub fn is_finite(&self) -> bool {
        all_finite(&aview1(&self.numbers)) && self.loss.is_finite()
    }
}

impl Partial {
    /// The numbers of each of the parts `own` of a layer of so many, (own parts, numbers), and their losses if there are any.
    pub(super) fn of_parts(
        round: Round,
        parts: usize,
        own: Range<usize>,
        (numbers, losses): (Array2<f32>, Vec<Loss>),
    ) -> Self {
        assert_eq!(own.len(), numbers.nrows(), "numbers of each part");
        assert!(losses.is_empty() || losses.len() == own.len(), "a loss of each part");
        let nodes = own.map(|part| part..part + 1).collect();
        Self { round, parts, sums: NodeSums { nodes, numbers, losses } }
    }

    /// The numbers of some nodes of a layer of so many parts, (nodes, numbers), and the loss of each of their parts.
    pub(super) fn of_nodes(
        round: Round,
        parts: usize,
        nodes: Vec<Range<usize>>,
        numbers: Array2<f32>,
        loss: impl Fn(usize) -> Loss,
    ) -> Self {
        let of_node = |node: &Range<usize>| sum(node.clone(), &loss, &|sum: &mut Loss, other| *sum += other);
        let losses = nodes.iter().map(of_node).collect();
        Self { round, parts, sums: NodeSums { nodes, numbers, losses } }
    }

    /// How many numbers are added up.
    pub fn numbers(&self) -> usize {
        self.sums.numbers.ncols()
    }

    /// What the sums are made of, as far as it has not been added up: (nodes, numbers), of consecutive parts.
    pub fn addends(&self) -> ArrayView2<'_, f32> {
        self.sums.numbers.view()
    }

    /// The parts that are the worker's own.
    fn own(&self) -> Range<usize> {
        let Some((first, last)) = self.sums.nodes.first().zip(self.sums.nodes.last()) else { return 0..0 };
        first.start..last.end
    }

    /// The sums over the largest nodes of the worker's own parts.
    pub fn node_sums(&self) -> NodeSums {
        let nodes = nodes(self.parts, &self.own());
        if nodes == self.sums.nodes {
            return self.sums.clone();
        }
        let mut numbers = Array2::zeros((nodes.len(), self.numbers()));
        for (node, mut sum) in nodes.iter().zip(numbers.outer_iter_mut()) {
            self.sums.add_up(node, sum.as_slice_mut().expect("rows are contiguous"));
        }
        let losses = nodes.iter().filter_map(|node| self.sums.loss(node)).collect();
        NodeSums { nodes, numbers, losses }
    }

    /// The sums where nobody shares the layer.
    ///
    /// # Panics
    ///
    /// Where somebody does.
    pub fn total(&self) -> Sums {
        assert_eq!(self.own(), 0..self.parts, "all parts of the layer");
        let mut numbers = vec![0.0; self.numbers()];
        self.sums.add_up(&(0..self.parts), &mut numbers);
        Sums { numbers, loss: self.sums.loss(&(0..self.parts)).unwrap_or_default() }
    }
}

impl NodeSums {
    /// Those within a node.
    fn within(&self, node: &Range<usize>) -> Range<usize> {
        let place = |part| self.nodes.partition_point(|within| within.start < part);
        place(node.start)..place(node.end)
    }

    /// Writes the sum over a node of the nodes within it.
    fn add_up(&self, node: &Range<usize>, out: &mut [f32]) {
        let addend = |index: usize| {
            let numbers = self.numbers.row(index).to_slice().expect("rows are contiguous");
            Addend::new(&self.nodes[index], numbers)
        };
        add_up_in_parallel(&self.within(node).map(addend).collect::<Vec<_>>(), out);
    }

    /// The loss of a node, where there are losses.
    fn loss(&self, node: &Range<usize>) -> Option<Loss> {
        let losses: Vec<_> = self
            .within(node)
            .filter_map(|at| Some((self.nodes[at].clone(), *self.losses.get(at)?)))
            .collect();
        (!losses.is_empty()).then(|| total(&losses, |one, other| one + other))
    }
}
