//! A readout that several share has the same bits as one that somebody has alone.

use std::sync::{Barrier, Mutex};

use ndarray::{Array2, Axis, concatenate};
use scff::batch::{Epoch, Step};
use scff::layer::Tensors;
use scff::readout::{Blocks, Contributions, Course, Features, NotFinite, Readout, ReadoutSpec, train};
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::sum_tree::{self, Addend};
use scff::train::NodeSums;

/// What those who own the blocks between `bounds` come to, each in a thread of its own that waits for the others' contributions.
fn share_a_readout(
    (features, labels, spec): (&Array2<f32>, &[u32], &ReadoutSpec),
    bounds: &[usize],
) -> Vec<(Readout, Vec<f64>, usize)> {
    let members = bounds.len() - 1;
    let (barrier, mailbox) = (Barrier::new(members), Mutex::new(vec![None; members]));
    let member = |own: usize| {
        let add_up = |contributions: &Contributions| {
            mailbox.lock().unwrap()[own] = Some(contributions.node_sums());
            barrier.wait();
            let sums: Vec<NodeSums> = mailbox.lock().unwrap().iter().flatten().cloned().collect();
            barrier.wait();
            let rows = sums.iter().flat_map(|sums| sums.nodes.iter().zip(sums.numbers.outer_iter()));
            let addends: Vec<_> =
                rows.map(|(node, row)| Addend::new(node, row.to_slice().unwrap())).collect();
            let mut total = vec![0.0; sums[0].numbers.ncols()];
            sum_tree::add_up(&addends, &mut total);
            Ok::<_, NotFinite>(total)
        };
        let blocks = &Blocks::some(features.ncols(), bounds[own]..bounds[own + 1]);
        let columns = features.slice_axis(Axis(1), blocks.columns().slice());
        let own = &Features::F32(columns.as_standard_layout().into_owned());
        let course = Course { blocks, features: own, labels, classes: 10, spec, seed: Seed(1) };
        let mut losses = Vec::new();
        let on_epoch = |_, loss| {
            losses.push(loss);
            Ok(())
        };
        let readout = course.train(add_up, on_epoch).unwrap();
        let correct = readout.measure(own, labels, add_up).unwrap();
        (readout, losses, correct)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..members).map(|own| scope.spawn(move || member(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn whoever_shares_a_readout_it_has_the_same_bits() {
    // Two views of each sample, five and a half blocks of features.
    let mut random = Seed(5).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let all = Array2::from_shape_simple_fn((200, 5632), || symmetric(&mut random, 1.0));
    let labels: Vec<u32> = (0..100).map(|sample| (sample * 7 % 10) as u32).collect();
    let spec = ReadoutSpec { learning_rate: 1e-3, batch: 64, epochs: 3, dropout: 0.2 };
    let features = Features::F32(all.clone());
    let mut losses = Vec::new();
    let alone = train(&features, &labels, 10, &spec, Seed(1), |_, loss| losses.push(loss)).unwrap();
    let correct = alone.correct(&features, &labels);
    for bounds in [&[0, 6][..], &[0, 3, 6], &[0, 1, 6], &[0, 2, 5, 6], &[0, 1, 2, 3, 4, 5, 6]] {
        let shared = share_a_readout((&all, &labels, &spec), bounds);
        let parameters: Vec<_> = shared.iter().map(|(readout, ..)| readout.parameters()).collect();
        let weights: Vec<_> = parameters.iter().map(Tensors::weight).collect();
        assert_eq!(concatenate(Axis(1), &weights).unwrap(), alone.parameters().weight(), "{bounds:?}");
        for ((_, own_losses, own_correct), parameters) in shared.iter().zip(&parameters) {
            assert_eq!((own_losses, *own_correct), (&losses, correct), "{bounds:?}");
            assert_eq!(parameters.bias(), alone.parameters().bias(), "{bounds:?}");
        }
    }
}
