//! One stream of a session, from its beginning to its end: the client is told why it ends, and those who share what it is about
//! are not left wondering.

use std::future::Future;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::node::Node;
use crate::peers::{HOLD, Peers};
use crate::refusal::Refusal;

/// Replies that wait for the client.
const REPLIES_AHEAD: usize = 4;

/// A stream of replies `R`.
pub type Replies<R> = ReceiverStream<Result<R, Status>>;

/// Where replies go.
pub type Client<R> = mpsc::Sender<Result<R, Status>>;

/// The way of replies to a client.
pub struct Conversation<R> {
    /// What it is about, in words.
    about: &'static str,
    client: Client<R>,
    /// Room for the last word is set aside: a client that reads nothing must not hold the session.
    last: mpsc::OwnedPermit<Result<R, Status>>,
}

impl<R> Conversation<R> {
    /// One that begins, and what the client reads.
    pub fn begin(about: &'static str) -> (Self, Replies<R>) {
        let (client, replies) = mpsc::channel(REPLIES_AHEAD);
        let last = client.clone().try_reserve_owned().expect("the channel is new");
        (Self { about, client, last }, ReceiverStream::new(replies))
    }

    /// Where replies go.
    pub fn client(&self) -> &Client<R> {
        &self.client
    }

    /// How a session ends; nothing where its client is gone.
    pub async fn during(
        &self,
        node: &Node,
        session: impl Future<Output = Result<(), Refusal>>,
    ) -> Option<Result<(), Refusal>> {
        node.meters.training.inc();
        let ended = tokio::select! {
            result = session => Some(result),
            () = node.closing() => Some(Err(Refusal::Closing)),
            () = self.client.closed() => None,
        };
        node.meters.training.dec();
        ended
    }

    /// Says why it has ended, and parts with those who share it, and with `others` with whom it has to do.
    pub async fn end<T>(
        self,
        node: &Node,
        peers: Peers,
        others: impl Future<Output = T>,
        ended: Option<Result<(), Refusal>>,
    ) {
        let Self { about, client, last } = self;
        match ended {
            None => node.complaints.mention(&format!("the client of {about} is gone")),
            Some(Ok(())) => {
                drop((client, last));
                tokio::join!(peers.part(), others);
            }
            Some(Err(refusal)) => {
                node.complaints.tell(&format!("{about} ends: {refusal}"));
                peers.hold();
                last.send(Err(refusal.into()));
                let _ = timeout(HOLD, client.closed()).await;
            }
        }
    }
}
