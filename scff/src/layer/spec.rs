//! What is fixed about a layer.

use serde::{Deserialize, Serialize};

use super::channels::ChannelRange;
use super::layer_map::LayerMap;
use super::map::MapShape;
use super::pool::Pool;
use super::row_length::RowLength;

/// Where a layer's pairs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairSource {
    /// The layer makes pairs of single samples (every first layer; algorithm 2 further up).
    Makes,
    /// The layer takes the pairs of the layer below (algorithm 1).
    Takes,
}

/// What is passed on of the map's output z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transmit {
    /// relu(z - mean of z over the units).
    Triangle,
    /// relu(z).
    Relu,
    /// relu(z), standardised over the units of each direction: what a recurrent layer goes on with itself.
    Standardized,
}

/// All that is fixed about a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// The layer's name in logs and summaries, such as `dense1`.
    pub name: String,
    /// Its map.
    pub map: LayerMap,
    /// Where its pairs come from.
    pub pairs: PairSource,
    /// What it passes on.
    pub transmit: Transmit,
    /// How that is pooled before it is passed on.
    pub pool: Option<Pool>,
    /// How the passed-on map is pooled once more before the readout reads it.
    pub readout_pool: Option<Pool>,
    /// Channels of one block: the unit in which products are cut, goodness is summed and layers are sharded. Of a recurrent
    /// layer, goodness is summed and layers are sharded by directions.
    pub block: usize,
}

impl LayerSpec {
    /// All of its channels.
    pub fn channels(&self) -> ChannelRange {
        ChannelRange { start: 0, end: self.map.channels() }
    }

    /// The layer's channel blocks, in order. The last one is smaller where the block size does not divide. Those of a
    /// recurrent layer are its directions, for a state is standardised over all units of one.
    pub fn blocks(&self) -> Vec<ChannelRange> {
        let channels = self.map.channels();
        let block = self.map.recurrent().map_or(self.block, |birnn| birnn.hidden);
        (0..channels)
            .step_by(block)
            .map(|start| ChannelRange { start, end: (start + block).min(channels) })
            .collect()
    }

    /// The shape of what the layer passes on for a sample; of sequences, for the longest.
    pub fn output(&self) -> MapShape {
        pooled(self.pool, self.map.output())
    }

    /// Elements that the layer passes on for a sample; of sequences, for the longest.
    pub fn outputs(&self) -> usize {
        self.output().len()
    }

    /// Elements that the readout reads of a sample.
    pub fn features(&self) -> usize {
        match &self.map {
            LayerMap::BiRnn(birnn) => birnn.summarized(),
            LayerMap::Dense(_) | LayerMap::Conv(_) => pooled(self.readout_pool, self.output()).len(),
        }
    }

    /// What it reads of a sample.
    pub fn reads(&self) -> RowLength {
        self.map.reads()
    }

    /// What it passes on for a sample: a layer upon it reads as much.
    pub fn passes_on(&self) -> RowLength {
        match &self.map {
            LayerMap::BiRnn(birnn) => {
                RowLength::Sequences { frames: birnn.frames(), features: 2 * birnn.hidden }
            }
            LayerMap::Dense(_) | LayerMap::Conv(_) => RowLength::Fixed(self.outputs()),
        }
    }

    /// Whether the layer makes its own pairs.
    pub fn makes_pairs(&self) -> bool {
        self.pairs == PairSource::Makes
    }
}

fn pooled(pool: Option<Pool>, shape: MapShape) -> MapShape {
    pool.map_or(shape, |pool| pool.output(shape))
}
