//! Synthetic data sets: one in the files of MNIST, of ten classes that are easy to tell apart, and noise; and one of recordings.

use std::fs;
use std::path::Path;

use image::GrayImage;

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

/// Writes so many of the same images into `folder`, as grey PNG files called by their numbers; where `labelled`, in a folder for
/// each label.
pub fn write_images(folder: &Path, count: usize, labelled: bool) {
    for item in 0..count {
        let folder = if labelled { folder.join(label(item).to_string()) } else { folder.to_owned() };
        fs::create_dir_all(&folder).expect("a new folder");
        let image = GrayImage::from_raw(SIDE as u32, SIDE as u32, image(item).collect()).expect("its pixels");
        image.save(folder.join(format!("{item:04}.png"))).expect("a new file");
    }
}

/// What item `item` of all images is a picture of.
pub fn label(item: usize) -> usize {
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

/// Labels of recordings, and how many periods of their tone a second has when it begins and when it ends.
const TONES: [(&str, f64, f64); 4] =
    [("one", 300.0, 900.0), ("two", 900.0, 300.0), ("three", 1_200.0, 1_200.0), ("four", 500.0, 2_500.0)];
const SPEAKERS: [&str; 3] = ["ann", "bob", "cleo"];
/// Recordings of a label by a speaker.
const TAKES: usize = 8;
/// Samples a second.
const RATE: usize = 8_000;

/// Writes short recordings into `folder`, one folder for each label: tones that rise and fall as the label has it, higher or
/// lower as the speaker, of different lengths, in noise.
pub fn write_spoken(folder: &Path) {
    for (label, (name, from, to)) in TONES.into_iter().enumerate() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a new folder");
        for (voice, speaker) in SPEAKERS.into_iter().enumerate() {
            for take in 0..TAKES {
                let item = (label * SPEAKERS.len() + voice) * TAKES + take;
                let pitch = 1.0 + 0.15 * voice as f64;
                let samples = spoken(item, from * pitch, to * pitch);
                fs::write(folder.join(format!("{speaker}_{take}.wav")), wav(&samples)).expect("a new file");
            }
        }
    }
}

/// From an eighth to a third of a second.
fn spoken(item: usize, from: f64, to: f64) -> Vec<i16> {
    let count = RATE / 8 + (random(item, 0) % (RATE as u64 / 5)) as usize;
    let mut phase = 0.0;
    let sample = |at: usize| {
        phase += (from + (to - from) * at as f64 / count as f64) / RATE as f64;
        let noise = random(item, at + 1) % 4_000;
        (8_000.0 * (std::f64::consts::TAU * phase).sin()) as i16 + noise as i16 - 2_000
    };
    (0..count).map(sample).collect()
}

/// A WAV file of one channel.
fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let mut file = [b"RIFF", &(36 + bytes).to_le_bytes()[..], b"WAVEfmt ", &16_u32.to_le_bytes()].concat();
    // PCM, one channel.
    file.extend([1_u16, 1].map(u16::to_le_bytes).as_flattened());
    file.extend([RATE as u32, 2 * RATE as u32].map(u32::to_le_bytes).as_flattened());
    // Bytes of a sample, bits of a sample.
    file.extend([2_u16, 16].map(u16::to_le_bytes).as_flattened());
    file.extend(*b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// SplitMix64 of two numbers.
fn random(a: usize, b: usize) -> u64 {
    let mut z = ((a as u64) << 32 | b as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Small images in the BMP format, all different.
pub fn write_bitmaps(folder: &Path, count: usize) {
    fs::create_dir_all(folder).expect("a new folder");
    for index in 0..count {
        let mut file = [b"BM", &102_u32.to_le_bytes()[..], &[0; 4], &54_u32.to_le_bytes()].concat();
        file.extend([40_u32, 4, 4].map(u32::to_le_bytes).as_flattened());
        file.extend([1_u16, 24].map(u16::to_le_bytes).as_flattened());
        file.extend([0_u32, 48, 0, 0, 0, 0].map(u32::to_le_bytes).as_flattened());
        file.extend((0..16).flat_map(|pixel| [(index * 7 + pixel * 13) as u8; 3]));
        fs::write(folder.join(format!("{index:05}.bmp")), file).expect("a new file");
    }
}
