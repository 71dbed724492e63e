//! Models in the formats of others.

mod new_file;

pub mod npz;

pub mod onnx;

pub mod torch;

#[cfg(test)]
mod tests;
