//! A worker's place among those that share a layer.
//!
//! They form a chain: what the client sends goes down it, message by message, as it arrives. Each owns the channels next
//! below those of the one above it, so sums of goodness, which go up the chain, are added in channel order; the first has
//! the totals and sends them down.

use proto::dial::dial;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use scff::layer::{ChannelRange, LayerSpec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::refusal::Refusal;

/// Messages on their way down.
const AHEAD: usize = 4;

/// A worker's place in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The channels that it owns.
    pub channels: ChannelRange,
    /// Whether the totals are made here.
    pub first: bool,
    /// Those below it, next first.
    pub below: Vec<wire::Shard>,
}

impl Place {
    /// Checks a group of a layer.
    pub fn parse(group: Vec<wire::Shard>, spec: &LayerSpec) -> Result<Self, WireError> {
        let all = spec.channels();
        let mut end = None;
        for shard in &group {
            let range = format!("{}..{}", shard.start, shard.end);
            let blocks =
                |channel: u64| channel.is_multiple_of(spec.block as u64) || channel == all.end as u64;
            if shard.start >= shard.end
                || shard.end > all.end as u64
                || !blocks(shard.start)
                || !blocks(shard.end)
            {
                let expected = format!("whole blocks of {} channels, within 0..{}", spec.block, all.end);
                return Err(WireError::new("group.start", range, expected));
            }
            if end.is_some_and(|end| end != shard.end) {
                let expected =
                    format!("channels that end where those above it begin, at {}", end.unwrap_or(0));
                return Err(WireError::new("group.end", range, expected));
            }
            end = Some(shard.start);
        }
        if let Some(start) = end.filter(|start| *start != 0) {
            return Err(WireError::new(
                "group",
                format_args!("channels from {start} on"),
                "channels from 0 on",
            ));
        }
        let mut group = group.into_iter();
        let channels =
            group.next().map_or(all, |own| ChannelRange { start: own.start as usize, end: own.end as usize });
        Ok(Self { channels, first: channels.end == all.end, below: group.collect() })
    }

    /// Whether it has the layer for itself.
    pub fn alone(&self) -> bool {
        self.first && self.below.is_empty()
    }
}

/// The worker next below.
pub struct Below {
    /// Where it listens.
    pub address: String,
    /// What goes down.
    pub requests: mpsc::Sender<wire::TrainRequest>,
    /// What comes up.
    pub replies: Streaming<wire::TrainReply>,
}

impl Below {
    /// Opens a training stream to the next worker below, if there is one. `begin`: as it came to this one.
    pub async fn open(place: &Place, begin: wire::TrainBegin) -> Result<Option<Self>, Refusal> {
        let Some(next) = place.below.first() else { return Ok(None) };
        let address = next.address.clone();
        let unreachable =
            |message: String| Refusal::Below { address: address.clone(), message, passing: true };
        let (mut client, _) = dial(&address).await.map_err(|error| unreachable(error.to_string()))?;
        let (requests, outgoing) = mpsc::channel(AHEAD);
        let begin = wire::TrainBegin { group: place.below.clone(), ..begin };
        let begin = wire::TrainRequest { request: Some(Request::Begin(begin)) };
        requests.try_send(begin).expect("the queue is empty");
        let replies = client.train(ReceiverStream::new(outgoing)).await;
        let replies = replies.map_err(|status| Refusal::below(&address, &status))?.into_inner();
        Ok(Some(Self { address, requests, replies }))
    }
}

#[cfg(test)]
mod tests {
    use scff::layer::{Dense, LinearMap, PairSource, Transmit};

    use super::*;

    fn place(ranges: &[(u64, u64)]) -> Result<Place, WireError> {
        let spec = LayerSpec {
            name: "dense".into(),
            map: LinearMap::Dense(Dense { inputs: 3, outputs: 10 }),
            pairs: PairSource::Makes,
            transmit: Transmit::Relu,
            pool: None,
            readout_pool: None,
            block: 4,
        };
        let shard = |&(start, end)| wire::Shard { address: "a:1".into(), start, end };
        Place::parse(ranges.iter().map(shard).collect(), &spec)
    }

    #[test]
    fn shards_follow_each_other_downwards() {
        let first = place(&[(8, 10), (4, 8), (0, 4)]).unwrap();
        assert_eq!(
            (first.channels, first.first, first.below.len()),
            (ChannelRange { start: 8, end: 10 }, true, 2)
        );
        let last = place(&[(0, 4)]).unwrap();
        assert!(!last.first && last.below.is_empty() && !last.alone());
        assert!(place(&[]).unwrap().alone() && place(&[(0, 10)]).unwrap().alone());
    }

    #[test]
    fn shards_that_leave_channels_out_or_cut_blocks_are_refused() {
        let refusal = |ranges: &[(u64, u64)]| place(ranges).unwrap_err().to_string();
        assert!(refusal(&[(8, 10), (4, 8)]).starts_with("group: found channels from 4 on"));
        assert!(refusal(&[(8, 10), (0, 4)]).starts_with("group.end: found 0..4"));
        assert!(refusal(&[(6, 10), (0, 6)]).starts_with("group.start: found 6..10"));
        assert!(refusal(&[(8, 12)]).contains("within 0..10"));
        assert!(refusal(&[(4, 4)]).starts_with("group.start"));
    }
}
