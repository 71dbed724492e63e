//! Golden tensors made with PyTorch (`tests/fixtures`), and the comparison with them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors};

/// Of an f32 engine against PyTorch in f64, relative to the largest element: PyTorch's own f32 differs from its
/// f64 by up to 2e-6 in most tensors.
const TOLERANCE: f64 = 1e-5;

/// One file of golden tensors.
pub struct Fixture {
    bytes: Vec<u8>,
    checked: RefCell<BTreeSet<String>>,
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { bytes, checked: RefCell::default() }
    }

    /// A tensor of any kind, widened.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{name}: {other:?} is no kind of golden tensor"),
        }
    }

    pub fn number(&self, name: &str) -> f64 {
        self.values(name)[0]
    }

    pub fn vector(&self, name: &str) -> Array1<f32> {
        self.values(name).into_iter().map(|value| value as f32).collect()
    }

    #[allow(dead_code, reason = "tests of convolutions have none")]
    pub fn matrix(&self, name: &str) -> Array2<f32> {
        let vector = self.vector(name);
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let shape = file.tensor(name).expect("just read").shape().to_vec();
        vector.into_shape_with_order((shape[0], shape[1])).expect("a matrix")
    }

    /// A tensor (n, channels, height, width) as (n, height * width * channels): maps, or the weights of a convolution.
    #[allow(dead_code, reason = "tests of dense layers have none")]
    pub fn channels_last(&self, name: &str) -> Array2<f32> {
        let [n, channels, height, width] = self.shape(name);
        let values = self.vector(name);
        let maps =
            values.into_shape_with_order((n, channels, height, width)).expect("as many as its shape says");
        let maps = maps.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        maps.into_shape_with_order((n, height * width * channels)).expect("the same numbers")
    }

    /// Asserts that `found`, (n, height * width * channels), is the golden tensor `f64.{name}`, (n, channels, height,
    /// width).
    #[allow(dead_code, reason = "tests of dense layers have none")]
    pub fn check_channels_last<'a>(&self, name: &str, found: impl IntoIterator<Item = &'a f32>) {
        let [n, channels, height, width] = self.shape(&format!("f64.{name}"));
        let found: Array1<f32> = found.into_iter().copied().collect();
        let found = found.into_shape_with_order((n, height, width, channels)).expect("as many as expected");
        self.check(name, found.permuted_axes([0, 3, 1, 2]).iter());
    }

    /// Whether there is a tensor of this name.
    #[allow(dead_code, reason = "tests of dense layers know")]
    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).expect("a safetensors file").tensor(name).is_ok()
    }

    #[allow(dead_code, reason = "tests of dense layers have matrices only")]
    fn shape<const DIMENSIONS: usize>(&self, name: &str) -> [usize; DIMENSIONS] {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let shape = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}")).shape().to_vec();
        shape.try_into().unwrap_or_else(|shape| panic!("{name} has shape {shape:?}"))
    }

    /// Asserts that `found` is the golden tensor `f64.{name}`.
    pub fn check<'a>(&self, name: &str, found: impl IntoIterator<Item = &'a f32>) {
        self.check_values(name, found.into_iter().map(|&value| f64::from(value)), None);
    }

    /// The same for values in f64, and with an absolute `tolerance` where the relative one does not fit.
    pub fn check_values(&self, name: &str, found: impl IntoIterator<Item = f64>, tolerance: Option<f64>) {
        let name = format!("f64.{name}");
        let expected = self.values(&name);
        let found: Vec<f64> = found.into_iter().collect();
        assert_eq!(found.len(), expected.len(), "{name}: elements");
        let scale = expected.iter().fold(0.0_f64, |scale, value| scale.max(value.abs()));
        let tolerance = tolerance.unwrap_or(TOLERANCE * scale);
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let off = (found - expected).abs();
            assert!(off <= tolerance, "{name}[{index}]: {found}, not {expected}: {off:e} > {tolerance:e}");
        }
        self.checked.borrow_mut().insert(name);
    }

    /// Asserts that every `f64.` tensor of the file whose name satisfies `wanted` has been checked.
    pub fn assert_complete(&self, wanted: impl Fn(&str) -> bool) {
        let file = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let checked = self.checked.borrow();
        for name in file.names() {
            if name.starts_with("f64.") && wanted(name) {
                assert!(checked.contains(name), "{name} was not checked");
            }
        }
    }
}
