//! Those who share a layer, in one process: what they send each other is added up by hand.

use scff::goodness::Loss;
use scff::sum_tree::{Addend, add_up, total};
use scff::train::{NodeSums, Partial, Sums};

/// The sums over all parts, of what each member has added up of its own, members in the order of their parts.
pub fn sums(partials: &[&Partial]) -> Sums {
    let members: Vec<NodeSums> = partials.iter().map(|partial| partial.node_sums()).collect();
    let addends: Vec<Addend<'_>> = members
        .iter()
        .flat_map(|member| member.nodes.iter().zip(member.numbers.outer_iter()))
        .map(|(node, numbers)| Addend::new(node, numbers.to_slice().expect("rows are contiguous")))
        .collect();
    let mut numbers = vec![f32::NAN; partials[0].numbers()];
    add_up(&addends, &mut numbers);
    let losses: Vec<_> = members
        .iter()
        .flat_map(|member| member.nodes.iter().cloned().zip(member.losses.iter().copied()))
        .collect();
    let loss = if losses.is_empty() { Loss::default() } else { total(&losses, |one, other| one + other) };
    Sums { numbers, loss }
}
