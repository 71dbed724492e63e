//! A worker's share of a layer, and who has the others.
//!
//! They form a chain: what the client sends goes down it, message by message, as it arrives. Each owns the channels (or, of
//! each batch, the samples) next below those of the one above it, so sums of goodness (or gradients), which go up the chain,
//! are added in order; the first has the totals and sends them down.

use std::ops::Range;

use proto::address::Address;
use proto::dial::{Connection, DialError, Dialer};
use proto::refusal::{Reason, Refused};
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::refusal::Refusal;

/// Messages on their way down.
const AHEAD: usize = 4;

/// A worker's share of a layer, and its place in the chain of those who have the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The channels that it owns, or the samples of each batch.
    pub own: Range<usize>,
    /// Of how many parts that consists, which are the same whoever owns them.
    pub parts: usize,
    /// Where in the chain it is.
    pub link: Link,
    /// Those below it, next first.
    pub below: Vec<wire::Shard>,
}

/// A place in the chain of those who share a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nobody else has a share.
    Alone,
    /// It has the highest part: it adds to what comes up and sends the totals down.
    First,
    /// It adds to what comes up and passes it on.
    Middle,
    /// It has the lowest part: what goes up begins here.
    Last,
}

impl Link {
    /// Whether the client's stream ends here, and the totals are made.
    pub fn first(self) -> bool {
        matches!(self, Self::Alone | Self::First)
    }
}

impl Share {
    /// Checks a group that shares a layer of `parts`.
    pub fn parse(group: Vec<wire::Shard>, parts: &[Range<usize>]) -> Result<Self, WireError> {
        let all = parts.last().map_or(0, |part| part.end);
        let bounds: Vec<usize> = std::iter::once(0).chain(parts.iter().map(|part| part.end)).collect();
        let bound = |at: u64| usize::try_from(at).ok().filter(|at| bounds.binary_search(at).is_ok());
        let mut ranges = Vec::new();
        for shard in &group {
            let own = bound(shard.start).zip(bound(shard.end)).filter(|(start, end)| start < end);
            let Some((start, end)) = own else {
                let range = format!("{}..{}", shard.start, shard.end);
                let expected = format!("whole parts of 0..{all}, which has {}", parts.len());
                return Err(WireError::new("group.start", range, expected));
            };
            if let Some(above) =
                ranges.last().map(|above: &Range<usize>| above.start).filter(|above| *above != end)
            {
                let expected = format!("{above}, where those above it begin");
                return Err(WireError::new("group.end", end, expected));
            }
            ranges.push(start..end);
        }
        if let Some(last) = ranges.last().filter(|last| last.start != 0) {
            return Err(WireError::new(
                "group",
                format_args!("parts from {} on", last.start),
                "parts from 0 on",
            ));
        }
        let own = ranges.into_iter().next().unwrap_or(0..all);
        let owned = parts.iter().filter(|part| own.contains(&part.start)).count();
        let below: Vec<_> = group.into_iter().skip(1).collect();
        let link = match (own.end == all, below.is_empty()) {
            (true, true) => Link::Alone,
            (true, false) => Link::First,
            (false, false) => Link::Middle,
            (false, true) => Link::Last,
        };
        Ok(Self { own, parts: owned, link, below })
    }
}

/// The worker next below.
pub struct Below {
    requests: mpsc::Sender<wire::TrainRequest>,
    up: Up,
}

/// What comes up from the worker next below.
pub struct Up {
    address: String,
    identity: u64,
    connection: Connection,
    replies: Streaming<wire::TrainReply>,
}

impl Up {
    /// The next reply; none once all have come.
    pub async fn next(&mut self) -> Result<Option<wire::TrainReply>, Refusal> {
        let reply = self.replies.message().await;
        reply.map_err(|status| Refusal::below(&self.address, self.identity, self.connection.refused(&status)))
    }
}

impl Below {
    /// Opens a training stream to the next worker below, if there is one. `begin`: as it came to this one.
    pub async fn open(
        dialer: &Dialer,
        share: &Share,
        begin: wire::TrainBegin,
    ) -> Result<Option<Self>, Refusal> {
        let Some(next) = share.below.first() else { return Ok(None) };
        let (address, identity) = (next.address.clone(), next.identity);
        let target = Address::found(next.address.clone(), &next.name);
        let unreachable = |error: DialError| Refusal::Below {
            address: address.clone(),
            identity,
            refused: Refused::passing(Reason::Broken, error.to_string()),
        };
        let (connection, description) = dialer.dial(&target).await.map_err(unreachable)?;
        if description.identity != identity {
            let message = "another process than the one that was to share it listens there".to_owned();
            let refused = Refused::passing(Reason::Broken, message);
            return Err(Refusal::Below { address, identity, refused });
        }
        let (requests, outgoing) = mpsc::channel(AHEAD);
        let begin = wire::TrainBegin { group: share.below.clone(), ..begin };
        let begin = wire::TrainRequest { request: Some(Request::Begin(begin)) };
        requests.try_send(begin).expect("the queue is empty");
        let replies = connection.client().train(ReceiverStream::new(outgoing)).await;
        let replies =
            replies.map_err(|status| Refusal::below(&address, identity, connection.refused(&status)))?;
        Ok(Some(Self { requests, up: Up { address, identity, connection, replies: replies.into_inner() } }))
    }

    /// The way down.
    pub fn down(&self) -> mpsc::Sender<wire::TrainRequest> {
        self.requests.clone()
    }

    /// The way down, and the way up.
    pub fn split(self) -> (mpsc::Sender<wire::TrainRequest>, Up) {
        (self.requests, self.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(ranges: &[(u64, u64)]) -> Result<Share, WireError> {
        let shard =
            |&(start, end)| wire::Shard { address: "a:1".into(), start, end, ..wire::Shard::default() };
        Share::parse(ranges.iter().map(shard).collect(), &[0..4, 4..8, 8..10])
    }

    #[test]
    fn shards_follow_each_other_downwards() {
        let first = share(&[(8, 10), (4, 8), (0, 4)]).unwrap();
        assert_eq!((first.own, first.parts, first.link, first.below.len()), (8..10, 1, Link::First, 2));
        let first = share(&[(4, 10), (0, 4)]).unwrap();
        assert_eq!((first.own, first.parts, first.link, first.below.len()), (4..10, 2, Link::First, 1));
        assert_eq!(share(&[(4, 8), (0, 4)]).unwrap().link, Link::Middle);
        assert_eq!(share(&[(0, 4)]).unwrap().link, Link::Last);
        let alone = share(&[]).unwrap();
        assert!(alone.link == Link::Alone && alone == share(&[(0, 10)]).unwrap());
    }

    #[test]
    fn shards_that_leave_parts_out_or_cut_them_are_refused() {
        let refusal = |ranges: &[(u64, u64)]| share(ranges).unwrap_err().to_string();
        assert!(refusal(&[(8, 10), (4, 8)]).starts_with("group: found parts from 4 on"));
        assert!(refusal(&[(8, 10), (0, 4)]).starts_with("group.end: found 4, expected 8"));
        assert!(refusal(&[(6, 10), (0, 6)]).starts_with("group.start: found 6..10"));
        assert!(refusal(&[(8, 12)]).contains("whole parts of 0..10"));
        assert!(refusal(&[(4, 4)]).starts_with("group.start"));
    }
}
