//! One training stream: between the client, the session and the session's thread.

use std::sync::Arc;

use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;
use proto::{WireError, wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::node::Node;
use crate::parts::Parts;
use crate::refusal::Refusal;
use crate::session::{Order, Session};
use crate::stage::StagePlan;
use crate::trainer;

/// Complete batches that wait for the thread.
const BATCHES_AHEAD: usize = 2;
/// Replies that wait for the client.
const REPLIES_AHEAD: usize = 4;

/// A stream of replies.
pub type Replies = ReceiverStream<Result<wire::TrainReply, Status>>;

/// Trains as `requests` say.
pub fn stream(node: Arc<Node>, requests: Streaming<wire::TrainRequest>) -> Replies {
    let (client, replies) = mpsc::channel(REPLIES_AHEAD);
    // Room for the last word is set aside: a client that reads nothing must not hold the session.
    let last = client.clone().try_reserve_owned().expect("the channel is new");
    tokio::spawn(async move {
        let refusal = tokio::select! {
            result = converse(&node, requests, &client) => result.err(),
            () = node.closing() => Some(Refusal::Closing),
            () = client.closed() => {
                tracing::info!("the client of a training stream is gone");
                None
            }
        };
        if let Some(refusal) = refusal {
            tracing::warn!(%refusal, "a training stream ends");
            last.send(Err(refusal.into()));
        }
    });
    ReceiverStream::new(replies)
}

type Client = mpsc::Sender<Result<wire::TrainReply, Status>>;

async fn converse(
    node: &Node,
    mut requests: Streaming<wire::TrainRequest>,
    client: &Client,
) -> Result<(), Refusal> {
    let Some(Request::Begin(begin)) = requests.message().await?.and_then(|message| message.request) else {
        return Err(WireError::new("request", "no `begin`", "`begin` first").into());
    };
    let plan = node.with_hosted(|hosted| StagePlan::parse(begin, hosted, node.budget))?;
    let state = Parts::new("state_length", plan.state_length, plan.memory_bytes())?;
    let (seat, turn) = node.slot.take(&plan.run, plan.attempt, plan.layer).await?;
    tracing::info!(run = %plan.run, layer = plan.layer.0, name = %plan.spec.name, "training begins");
    let (orders, thread_orders) = mpsc::channel(BATCHES_AHEAD);
    let (thread_replies, replies) = mpsc::channel(1);
    let session = Session::new(plan.shape, state);
    let name = format!("train-{}", plan.layer.0);
    let compute = Arc::clone(&node.compute);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || trainer::run(plan, &compute, turn, thread_orders, &thread_replies))
        .map_err(|error| Refusal::Panicked(error.to_string()))?;
    let ended = tokio::select! {
        result = relay(session, requests, orders, replies, client) => result,
        () = seat.evicted() => Err(Refusal::Preempted),
    };
    tracing::info!("training ends");
    ended
}

/// Passes requests on as orders, and replies on to the client, until both have ended.
async fn relay(
    session: Session,
    requests: Streaming<wire::TrainRequest>,
    orders: mpsc::Sender<Order>,
    mut replies: mpsc::Receiver<Result<Reply, Refusal>>,
    client: &Client,
) -> Result<(), Refusal> {
    let taking_in = take_in(session, requests, orders);
    let giving_out = async {
        while let Some(reply) = replies.recv().await {
            let reply = wire::TrainReply { reply: Some(reply?) };
            if client.send(Ok(reply)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::pin!(taking_in, giving_out);
    let taken_in = tokio::select! {
        result = &mut taking_in => result,
        result = &mut giving_out => return result,
    };
    // What was ordered before a bad message is still carried out and reported.
    giving_out.await?;
    taken_in
}

async fn take_in(
    mut session: Session,
    mut requests: Streaming<wire::TrainRequest>,
    orders: mpsc::Sender<Order>,
) -> Result<(), Refusal> {
    while let Some(request) = requests.message().await? {
        if let Some(order) = session.handle(request)?
            && orders.send(order).await.is_err()
        {
            // The thread has ended, and its last reply says why.
            return std::future::pending().await;
        }
    }
    Ok(session.finish()?)
}
