//! One connection to one worker.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::refusal::{Refused, innermost};
use crate::wire::worker_client::WorkerClient;
use crate::{PROTOCOL_VERSION, limits, wire};

/// A connection to a worker.
pub type Client = WorkerClient<Channel>;

/// Why a worker could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address.
    #[error("{address}: not an address: {source}")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Nobody listens there.
    #[error("{address}: {reason}")]
    Connect {
        /// The address.
        address: String,
        /// The innermost reason.
        reason: String,
    },
    /// Somebody listens there who is no worker.
    #[error("{address}: no Strata worker: {message}")]
    Describe {
        /// The address.
        address: String,
        /// What it answered.
        message: String,
    },
    /// A worker of another version.
    #[error("{address}: speaks protocol version {found} (worker {version}), expected {PROTOCOL_VERSION}")]
    Version {
        /// The address.
        address: String,
        /// Its protocol version.
        found: u32,
        /// Its release.
        version: String,
    },
}

/// Connects to the worker at `address` and asks it who it is.
pub async fn dial(address: &str) -> Result<(Client, wire::WorkerDescription), DialError> {
    let address = address.to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| DialError::Address { address: address.clone(), source })?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(limits::WINDOW_BYTES)
        // One stream that waits must not keep the others of its connection waiting.
        .initial_connection_window_size(4 * limits::WINDOW_BYTES)
        .max_frame_size(limits::FRAME_BYTES);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| DialError::Connect { address: address.clone(), reason: innermost(&error) })?;
    let mut client = WorkerClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    let description = client
        .describe(wire::DescribeRequest {})
        .await
        .map_err(|status| DialError::Describe {
            address: address.clone(),
            message: Refused::read(&status).message,
        })?
        .into_inner();
    if description.protocol_version != PROTOCOL_VERSION {
        let (found, version) = (description.protocol_version, description.version);
        return Err(DialError::Version { address, found, version });
    }
    Ok((client, description))
}
