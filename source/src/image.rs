//! An image on its way into a batch.

use super::shape::Shape;

/// An image to make a view of.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its shape.
    pub shape: Shape,
    /// Its numbers, (height, width, channels).
    pub values: &'a [f32],
    /// What a pixel outside of it is, (channels).
    pub background: &'a [f32],
}
