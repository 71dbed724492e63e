//! A probe of the link to this worker: what comes is counted and thrown away.

use proto::probe::{PART_BYTES, PARTS};
use proto::{WireError, wire};
use tonic::Streaming;

use crate::node::Node;
use crate::refusal::Refusal;

/// How many bytes `parts` carries, once all have come.
pub async fn count(node: &Node, parts: Streaming<wire::ProbeRequest>) -> Result<u64, Refusal> {
    tokio::select! {
        bytes = taken(node, parts) => bytes,
        () = node.closing() => Err(Refusal::Closing),
    }
}

async fn taken(node: &Node, mut parts: Streaming<wire::ProbeRequest>) -> Result<u64, Refusal> {
    let (mut count, mut bytes) = (0, 0);
    while let Some(wire::ProbeRequest { payload }) = node.soon(&mut parts, "a probe's end").await? {
        count += 1;
        if count > PARTS {
            return Err(WireError::new("probe", "more parts", format_args!("at most {PARTS}")).into());
        }
        if payload.len() > PART_BYTES {
            let found = format_args!("{} bytes", payload.len()).to_string();
            return Err(WireError::new("payload", found, format_args!("at most {PART_BYTES}")).into());
        }
        node.meters.received_bytes("probe", payload.len());
        bytes += payload.len() as u64;
    }
    Ok(bytes)
}
