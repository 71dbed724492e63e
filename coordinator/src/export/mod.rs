//! Models in the formats of others.

mod made_folders;

pub mod npz;

pub mod onnx;

pub mod torch;

#[cfg(test)]
mod tests;
