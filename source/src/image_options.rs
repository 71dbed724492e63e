//! How a user's images are taken.

use serde::{Deserialize, Serialize};

use super::shape::ChannelScale;

/// `[data.images]`: the shape that images are brought to, and how their pixels are scaled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptions {
    /// Height in pixels. Images are resized and cropped about their middle [default: that of the images where all are of one
    /// size, but scaled down so that the shorter side has at most 96; otherwise 64, or what half of the images have at least].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Width in pixels [default: as for the height].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// 1 for grey, 3 for red, green and blue [default: 1 where all images are stored grey, otherwise 3].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// What is subtracted from each channel's pixels, which go from 0 to 1 [default: the mean over the training set].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// What they are divided by after that [default: the deviation over the training set].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Vec<f64>>,
}

impl ImageOptions {
    /// The scales that are configured, one for each channel, if they are.
    pub fn scales(&self) -> Option<Vec<ChannelScale>> {
        let (mean, deviation) = self.mean.as_ref().zip(self.deviation.as_ref())?;
        let scale = |(&mean, &deviation): (&f64, &f64)| ChannelScale {
            mean: mean as f32,
            deviation: deviation as f32,
        };
        Some(mean.iter().zip(deviation).map(scale).collect())
    }
}
