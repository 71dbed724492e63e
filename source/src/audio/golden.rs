//! What torchaudio makes of a recording (`tests/fixtures/mfcc.safetensors`): in double precision (`f64.`) and in single.

use safetensors::SafeTensors;

/// The golden tensors.
pub struct Golden(Vec<u8>);

impl Golden {
    /// The file.
    pub fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mfcc.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    /// A tensor's numbers.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let data = file.tensor(name).unwrap().data();
        if name.starts_with("f64.") {
            return data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        }
        data.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
    }

    /// Asserts that `found`, (frames, n), is the tensor `name`, (n, frames), up to 1e-5 of its largest element: torchaudio's
    /// filters and cosines are single.
    pub fn check(&self, name: &str, found: &[Vec<f64>]) {
        let expected = self.values(name);
        let frames = found.len();
        assert_eq!(frames * found[0].len(), expected.len(), "{name}");
        let scale = expected.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
        for (at, expected) in expected.iter().enumerate() {
            let found = found[at % frames][at / frames];
            let off = (found - expected).abs();
            assert!(off <= 1e-5 * scale, "{name}[{at}]: {found}, not {expected}");
        }
    }
}

/// A row for each number, as golden tensors of one row have them.
pub fn column(values: &[f64]) -> Vec<Vec<f64>> {
    values.iter().map(|&value| vec![value]).collect()
}
