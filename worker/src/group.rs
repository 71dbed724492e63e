//! The chain of those who share a layer: what the client sends goes down it, message by message, as it arrives; states, and why
//! somebody does not go on, come up.

use proto::address::Address;
use proto::dial::{Connection, DialError, Dialer};
use proto::refusal::{Reason, Refused};
use proto::wire;
use proto::wire::train_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::party::Shared;
use crate::refusal::Refusal;
use crate::share::Share;

/// Messages on their way down.
const AHEAD: usize = 4;

/// The worker next below.
pub struct Below {
    requests: mpsc::Sender<wire::TrainRequest>,
    up: Up,
}

/// What comes up from the worker next below.
pub struct Up {
    shard: wire::Shard,
    connection: Connection,
    replies: Streaming<wire::TrainReply>,
}

impl Up {
    /// The next reply; none once all have come.
    pub async fn next(&mut self) -> Result<Option<wire::TrainReply>, Refusal> {
        let reply = self.replies.message().await;
        reply.map_err(|status| Refusal::sharer(Shared::Layer, &self.shard, self.connection.refused(&status)))
    }
}

impl Below {
    /// Opens a training stream to the next worker below, if there is one. `begin`: as it came to this one.
    pub async fn open(
        dialer: &Dialer,
        share: &Share,
        begin: wire::TrainBegin,
    ) -> Result<Option<Self>, Refusal> {
        let Some(next) = share.below().first() else { return Ok(None) };
        let connection =
            reach(dialer, next).await.map_err(|refused| Refusal::sharer(Shared::Layer, next, refused))?;
        let (requests, outgoing) = mpsc::channel(AHEAD);
        let begin = wire::TrainBegin { place: begin.place + 1, ..begin };
        let begin = wire::TrainRequest { request: Some(Request::Begin(begin)) };
        requests.try_send(begin).expect("the queue is empty");
        let replies = connection.client().train(ReceiverStream::new(outgoing)).await;
        let replies =
            replies.map_err(|status| Refusal::sharer(Shared::Layer, next, connection.refused(&status)))?;
        Ok(Some(Self { requests, up: Up { shard: next.clone(), connection, replies: replies.into_inner() } }))
    }

    /// The way down.
    pub fn down(&self) -> mpsc::Sender<wire::TrainRequest> {
        self.requests.clone()
    }

    /// The way up. The way down goes on for as long as somebody else has it.
    pub fn up(self) -> Up {
        self.up
    }
}

/// Connects to another member of the group, and to no other process that listens there by now.
pub async fn reach(dialer: &Dialer, member: &wire::Shard) -> Result<Connection, Refused> {
    let broken = |message: String| Refused::passing(Reason::Broken, message);
    let target = Address::found(member.address.clone(), &member.name);
    let dialled = dialer.dial(&target).await;
    let (connection, description) = dialled.map_err(|error: DialError| broken(error.to_string()))?;
    if description.identity != member.identity {
        let message = "another process than the one that was to share it listens there".to_owned();
        return Err(broken(message));
    }
    Ok(connection)
}
