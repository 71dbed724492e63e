//! Data to measure with.

use std::fs;
use std::path::Path;

/// How many training samples there are.
const SAMPLES: usize = 500;

/// Writes files in CIFAR-10's format into a folder of data sets, with images of noise: how long a step takes does not depend on what they show.
pub fn write_cifar10(data: &Path) -> anyhow::Result<()> {
    let folder = data.join("cifar-10-batches-bin");
    fs::create_dir_all(&folder)?;
    let mut state = 1_u32;
    let mut file = |name: &str, records: usize| {
        let mut bytes = Vec::with_capacity(records * 3073);
        for record in 0..records {
            bytes.push((record % 10) as u8);
            bytes.extend((0..3072).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }));
        }
        fs::write(folder.join(name), bytes)
    };
    for batch in 1..=5 {
        file(&format!("data_batch_{batch}.bin"), SAMPLES / 5)?;
    }
    file("test_batch.bin", 100)?;
    Ok(())
}
