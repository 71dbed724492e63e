//! A synthetic data set in the files of MNIST: ten classes that are easy to tell apart, and noise.

use std::fs;
use std::path::Path;

const SIDE: usize = 28;
const CLASSES: usize = 10;

/// Samples to learn from.
pub const TRAINING: usize = 600;
const TEST: usize = 200;

/// Writes the set, with so many samples to learn from, into `folder`.
pub fn write(folder: &Path, training: usize) {
    fs::create_dir_all(folder).expect("a new folder");
    for (split, first, count) in [("train", 0, training), ("t10k", training, TEST)] {
        let items = first..first + count;
        let pixels = items.clone().flat_map(image);
        let labels = items.map(|item| label(item) as u8);
        let write = |name: &str, header: &[u32], data: &mut dyn Iterator<Item = u8>| {
            let header = header.iter().flat_map(|number| number.to_be_bytes());
            let bytes: Vec<u8> = header.chain(data).collect();
            fs::write(folder.join(format!("{split}-{name}")), bytes).expect("a file");
        };
        let (count, side) = (count as u32, SIDE as u32);
        write("images-idx3-ubyte", &[2051, count, side, side], &mut { pixels });
        write("labels-idx1-ubyte", &[2049, count], &mut { labels });
    }
}

fn label(item: usize) -> usize {
    item % CLASSES
}

/// Blobs of 4x4 pixels, brighter or not as the class has it, in noise that leaves some samples hard to tell.
fn image(item: usize) -> impl Iterator<Item = u8> {
    (0..SIDE * SIDE).map(move |place| {
        let blob = place / SIDE / 4 * 7 + place % SIDE / 4;
        let lit = random(label(item), blob).is_multiple_of(3);
        let noise = random(CLASSES + item, place) % 216;
        (u64::from(lit) * 40 + noise) as u8
    })
}

/// SplitMix64 of two numbers.
fn random(a: usize, b: usize) -> u64 {
    let mut z = ((a as u64) << 32 | b as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
