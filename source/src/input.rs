//! What a model has to know to read samples of its own kind: an [`InputSpec`], which a run keeps beside its layers.
//!
//! ```text
//! DataSet.input ── split: statistics of what is learned from ──► input.json of the run directory
//!                                                                        │
//!                      a folder, an array, a table, recordings ── open_input ──► Input, read range by range
//! ```
//!
//! [`crate::load`] gives every data set one, known by name or read from files. Where [`DataSet::standardize`] says so its
//! statistics are still to be taken: over what is learned from, once that is known ([`InputSpec::take_moments`]). After
//! that it is all that [`crate::open_input`] needs: the data set itself is not.
//!
//! [`DataSet::standardize`]: crate::DataSet::standardize

use serde::{Deserialize, Serialize};

use super::audio::MfccOptions;
use super::examples::Examples;
use super::moments::Moments;
use super::read_error::ReadError;
use super::shape::{ChannelScale, Shape};
use super::table_options::TableOptions;

/// What samples are and how they are scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// What samples are.
    pub kind: InputKind,
    /// What the classes are called, in the order of labels; none where there are no labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// What samples are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// Images of bytes.
    Images(ImageInput),
    /// Rows of numbers, or images of them.
    Numbers(NumberInput),
    /// Recordings of sound.
    Recordings(RecordingInput),
}

/// Images of bytes, resized and cropped to one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// (height, width, channels); one channel is grey, three are red, green and blue.
    pub shape: Shape,
    /// What the bytes of each channel become.
    pub scales: Vec<ChannelScale>,
}

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberInput {
    /// (height, width, channels); of rows and tables, (1, 1, columns).
    pub shape: Shape,
    /// How the numbers of each channel are standardised; absent where they are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<Vec<Moments>>,
    /// What the columns of a table are called, in the order of channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// How a table is taken; absent where samples come from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableOptions>,
}

/// Recordings, of which sequences of frames are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingInput {
    /// Frames of the longest that a model reads.
    pub frames: usize,
    /// What is made of them.
    pub mfcc: MfccOptions,
    /// How each number of a frame is standardised; absent where they are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<Vec<Moments>>,
}

impl NumberInput {
    /// Numbers of this shape as they are, of no table.
    pub fn new(shape: Shape) -> Self {
        Self { shape, moments: None, columns: Vec::new(), table: None }
    }
}

impl InputSpec {
    /// The shape of a sample; of recordings, that of the longest.
    pub fn shape(&self) -> Shape {
        match &self.kind {
            InputKind::Images(ImageInput { shape, .. }) | InputKind::Numbers(NumberInput { shape, .. }) => {
                *shape
            }
            InputKind::Recordings(RecordingInput { frames, mfcc, .. }) => {
                Shape { height: *frames, width: 1, channels: mfcc.features() }
            }
        }
    }

    /// Takes the mean and the deviation of each channel over `learned`, by which samples are standardised from now on.
    pub fn take_moments(&mut self, learned: &Examples) -> Result<(), ReadError> {
        let taken = learned.moments()?;
        match &mut self.kind {
            InputKind::Images(ImageInput { scales, .. }) => {
                let scale = |Moments { mean, deviation }: Moments| ChannelScale {
                    mean: mean as f32,
                    deviation: deviation as f32,
                };
                *scales = taken.into_iter().map(scale).collect();
            }
            InputKind::Numbers(NumberInput { moments, .. })
            | InputKind::Recordings(RecordingInput { moments, .. }) => *moments = Some(taken),
        }
        Ok(())
    }

    /// Has samples of this kind given out as it says.
    pub fn scale(&self, examples: &mut Examples) {
        match &self.kind {
            InputKind::Images(ImageInput { scales, .. }) => examples.scale_pixels(scales.as_slice().into()),
            InputKind::Numbers(NumberInput { moments, .. })
            | InputKind::Recordings(RecordingInput { moments, .. }) => {
                if let Some(moments) = moments {
                    examples.standardize(moments.as_slice().into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { height: 1, width: 2, channels: 1 };

    #[test]
    fn what_is_learned_from_scales_what_comes_later() {
        let mut spec = InputSpec {
            kind: InputKind::Images(ImageInput { shape: SHAPE, scales: vec![ChannelScale::UNIT] }),
            classes: Vec::new(),
        };
        let images = |pixels| Examples::from_pixels(SHAPE, [ChannelScale::UNIT], pixels, Vec::new());
        spec.take_moments(&images(vec![0, 255])).unwrap();
        let mut later = images(vec![255, 255]);
        spec.scale(&mut later);
        let mut out = [0.0; 2];
        later.write(0, &mut out).unwrap();
        assert!(out.iter().all(|&value| (value - 1.0).abs() < 1e-6), "{out:?}");
    }

    #[test]
    fn a_kind_is_written_and_read_back() {
        for (kind, json) in [
            (
                InputKind::Images(ImageInput { shape: SHAPE, scales: vec![ChannelScale::UNIT] }),
                r#"{"kind":{"images":{"shape":{"height":1,"width":2,"channels":1},"scales":[{"mean":0.0,"deviation":1.0}]}},"classes":["a"]}"#,
            ),
            (
                InputKind::Recordings(RecordingInput {
                    frames: 7,
                    mfcc: MfccOptions::default(),
                    moments: None,
                }),
                r#"{"kind":{"recordings":{"frames":7,"mfcc":{}}},"classes":["a"]}"#,
            ),
        ] {
            let spec = InputSpec { kind, classes: vec!["a".to_owned()] };
            assert_eq!(serde_json::to_string(&spec).unwrap(), json);
            assert_eq!(serde_json::from_str::<InputSpec>(json).unwrap(), spec);
        }
    }
}
