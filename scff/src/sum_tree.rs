//! Sums over the parts of a step in an order that does not depend on who has which of them.
//!
//! Parts (channel blocks, or groups of samples) are the leaves of a binary tree: a range of several parts consists of as many as
//! the largest power of two that leaves a rest, and of that rest; its sum is the first's plus the second's. Such a range is a
//! *node*. Whoever has consecutive parts adds up the largest nodes that lie within them ([`nodes`]), and with all such sums
//! anybody makes the total ([`add_up`]): every way gives the same bits, and nobody has to wait for whoever has lower parts.

use std::ops::Range;

use rayon::prelude::*;

/// Numbers that are added up together: a task.
const NUMBERS: usize = 1024;

/// A sum over a node of the tree.
#[derive(Clone, Copy, Debug)]
pub struct Addend<'a> {
    /// The node's first part and how many it has.
    pub first: usize,
    /// See there.
    pub count: usize,
    /// The sum.
    pub numbers: &'a [f32],
}

impl<'a> Addend<'a> {
    /// The sum `numbers` of the parts of `node`.
    pub fn new(node: &Range<usize>, numbers: &'a [f32]) -> Self {
        Self { first: node.start, count: node.len(), numbers }
    }
}

/// The largest nodes of the tree over `parts` parts that lie within `own`, in order. Together they are `own`.
pub fn nodes(parts: usize, own: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !own.is_empty() {
        descend(0..parts, own, &mut found);
    }
    found
}

fn descend(node: Range<usize>, own: &Range<usize>, found: &mut Vec<Range<usize>>) {
    if own.start <= node.start && node.end <= own.end {
        found.push(node);
    } else if own.start < node.end && node.start < own.end {
        let middle = middle(node.start, node.len());
        descend(node.start..middle, own, found);
        descend(middle..node.end, own, found);
    }
}

/// Where the second half of a node of several parts begins.
fn middle(first: usize, count: usize) -> usize {
    first + (1 << (count - 1).ilog2())
}

/// Writes the sum over a node, of sums over nodes within it, which stand in order and are together the whole of it.
///
/// # Panics
///
/// Where they are not, or are not as long as `out`.
pub fn add_up(addends: &[Addend<'_>], out: &mut [f32]) {
    let whole = checked(addends, out);
    for (chunk, out) in out.chunks_mut(NUMBERS).enumerate() {
        add(whole, addends, chunk * NUMBERS, out);
    }
}

/// The same on all threads.
pub fn add_up_in_parallel(addends: &[Addend<'_>], out: &mut [f32]) {
    let whole = checked(addends, out);
    out.par_chunks_mut(NUMBERS).enumerate().for_each(|(chunk, out)| {
        add(whole, addends, chunk * NUMBERS, out);
    });
}

/// The sum over a node of anything else, by the same tree.
///
/// # Panics
///
/// Where `sums` of nodes, in order, are not together the whole of it.
pub fn total<T: Copy>(sums: &[(Range<usize>, T)], add: impl Fn(T, T) -> T + Copy) -> T {
    fn of<T: Copy>(node: Range<usize>, sums: &[(Range<usize>, T)], add: impl Fn(T, T) -> T + Copy) -> T {
        if let [(only, sum)] = sums {
            assert_eq!(*only, node, "sums over nodes of the tree");
            return *sum;
        }
        assert!(node.len() > 1, "sums over nodes of the tree");
        let middle = middle(node.start, node.len());
        let (lower, upper) = sums.split_at(sums.partition_point(|(node, _)| node.start < middle));
        add(of(node.start..middle, lower, add), of(middle..node.end, upper, add))
    }
    let (Some((first, _)), Some((last, _))) = (sums.first(), sums.last()) else { panic!("a sum of nothing") };
    of(first.start..last.end, sums, add)
}

/// The sum over a node of what `leaf` makes of each of its parts, one after the other: at any time there are no more sums than
/// the tree is deep. `add` adds the second to the first.
pub fn sum<T>(node: Range<usize>, leaf: &impl Fn(usize) -> T, add: &impl Fn(&mut T, T)) -> T {
    if node.len() == 1 {
        return leaf(node.start);
    }
    let middle = middle(node.start, node.len());
    let mut first = sum(node.start..middle, leaf, add);
    add(&mut first, sum(middle..node.end, leaf, add));
    first
}

/// The same on all threads: there are no more sums than the tree is deep, for each of them.
pub fn sum_in_parallel<T: Send>(
    node: Range<usize>,
    leaf: &(impl Fn(usize) -> T + Sync),
    add: &(impl Fn(&mut T, T) + Sync),
) -> T {
    if node.len() == 1 {
        return leaf(node.start);
    }
    let middle = middle(node.start, node.len());
    let (mut first, second) = rayon::join(
        || sum_in_parallel(node.start..middle, leaf, add),
        || sum_in_parallel(middle..node.end, leaf, add),
    );
    add(&mut first, second);
    first
}

/// The node that `addends` make up, as (first, count).
fn whole(addends: &[Addend<'_>]) -> (usize, usize) {
    let (Some(first), Some(last)) = (addends.first(), addends.last()) else { panic!("a sum of nothing") };
    (first.first, last.first + last.count - first.first)
}

/// The same, of sums that are as long as `out`.
fn checked(addends: &[Addend<'_>], out: &[f32]) -> (usize, usize) {
    assert!(addends.iter().all(|addend| addend.numbers.len() == out.len()), "sums of the same numbers");
    whole(addends)
}

fn add((first, count): (usize, usize), addends: &[Addend<'_>], from: usize, out: &mut [f32]) {
    if let [only] = addends {
        assert_eq!((only.first, only.count), (first, count), "sums over nodes of the tree");
        out.copy_from_slice(&only.numbers[from..from + out.len()]);
        return;
    }
    assert!(count > 1, "sums over nodes of the tree");
    let middle = middle(first, count);
    let (lower, upper) = addends.split_at(addends.partition_point(|addend| addend.first < middle));
    add((first, middle - first), lower, from, out);
    let mut second = [0.0; NUMBERS];
    let second = &mut second[..out.len()];
    add((middle, first + count - middle), upper, from, second);
    for (sum, value) in out.iter_mut().zip(second.iter()) {
        *sum += *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of nodes that has one")]
    fn nodes_of_consecutive_parts_are_few_and_together_all_of_them() {
        assert_eq!(nodes(16, &(0..16)), [0..16]);
        assert_eq!(nodes(16, &(4..8)), [4..8]);
        assert_eq!(nodes(12, &(8..12)), [8..12]);
        assert_eq!(nodes(100, &(33..67)), [33..34, 34..36, 36..40, 40..48, 48..64, 64..66, 66..67]);
        assert_eq!(nodes(5, &(4..5)), [4..5]);
        assert!(nodes(5, &(3..3)).is_empty());
        for parts in 1..40 {
            for start in 0..parts {
                for end in start + 1..=parts {
                    let found = nodes(parts, &(start..end));
                    assert_eq!(
                        found.iter().cloned().flatten().collect::<Vec<_>>(),
                        (start..end).collect::<Vec<_>>()
                    );
                    assert!(found.len() <= 2 * parts.ilog2() as usize + 1, "{parts}: {start}..{end}");
                }
            }
        }
    }

    /// Whoever adds up which parts first.
    #[test]
    #[expect(clippy::float_cmp, reason = "they are the same to the last bit")]
    fn every_way_of_sharing_parts_out_gives_the_same_bits() {
        for parts in [1, 2, 3, 5, 8, 13] {
            let length = NUMBERS + 3;
            let number = |part: usize, place: usize| ((7 * part * part + 13 * place) as f32).sin();
            let leaves: Vec<Vec<f32>> =
                (0..parts).map(|part| (0..length).map(|place| number(part, place)).collect()).collect();
            let leaf = |part: usize| Addend { first: part, count: 1, numbers: &leaves[part] };
            let mut expected = vec![0.0; length];
            add_up(&(0..parts).map(leaf).collect::<Vec<_>>(), &mut expected);
            for first in 0..=parts {
                for second in first..=parts {
                    let shares = [0..first, first..second, second..parts];
                    let nodes: Vec<_> = shares.iter().flat_map(|own| nodes(parts, own)).collect();
                    let sums: Vec<Vec<f32>> = nodes
                        .iter()
                        .map(|node| {
                            let mut sum = vec![f32::NAN; length];
                            add_up_in_parallel(&node.clone().map(leaf).collect::<Vec<_>>(), &mut sum);
                            sum
                        })
                        .collect();
                    let addends: Vec<_> =
                        nodes.iter().zip(&sums).map(|(node, sum)| Addend::new(node, sum)).collect();
                    let mut found = vec![f32::NAN; length];
                    add_up(&addends, &mut found);
                    assert_eq!(found, expected, "{parts} parts shared as {shares:?}");
                    let firsts: Vec<_> =
                        nodes.iter().zip(&sums).map(|(node, sum)| (node.clone(), sum[0])).collect();
                    assert_eq!(total(&firsts, |one, other| one + other), expected[0]);
                    let (leaf, add) = (|part: usize| leaves[part][0], |one: &mut f32, other| *one += other);
                    assert_eq!(sum(0..parts, &leaf, &add), expected[0]);
                    assert_eq!(sum_in_parallel(0..parts, &leaf, &add), expected[0]);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "sums over nodes of the tree")]
    fn what_is_no_node_is_not_added_up() {
        add_up(
            &[
                Addend { first: 0, count: 1, numbers: &[1.0] },
                Addend { first: 1, count: 2, numbers: &[1.0] },
                Addend { first: 3, count: 1, numbers: &[1.0] },
            ],
            &mut [0.0],
        );
    }
}
