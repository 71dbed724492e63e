//! What holds for all calls, whichever method they are of: messages are no longer than they need be, and a refusal is logged, but for that of
//! a caller who went away before it had said anything.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use proto::limits::{FIRST_MESSAGE_BYTES, MESSAGE_BYTES, SLICE_BYTES};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status, body};

use crate::activity::Activity;
use crate::complaints::Complaints;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// All calls, before they come to a method.
#[derive(Clone)]
pub struct Calls<S> {
    /// The methods.
    pub methods: S,
    /// Where refusals are told.
    pub complaints: Complaints,
}

impl<S> Service<Request<body::Body>> for Calls<S>
where
    S: Service<Request<body::Body>, Response = Response<body::Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.methods.poll_ready(context)
    }

    fn call(&mut self, request: Request<body::Body>) -> Self::Future {
        let peer = request.extensions().get::<Arc<Activity>>().map(|activity| activity.peer().ip());
        let peer = peer.map(|peer| format!(" of {peer}")).unwrap_or_default();
        let (method, complaints) = (request.uri().path().to_owned(), self.complaints.clone());
        let gone = Arc::new(AtomicBool::new(false));
        let short = ["/Exchange", "/Probe"].iter().any(|short| method.ends_with(short));
        let longest = if short { SLICE_BYTES } else { MESSAGE_BYTES };
        let messages = |body| body::Body::new(Bounded::new(body, longest, gone.clone()));
        let answer = self.methods.call(request.map(messages));
        Box::pin(async move {
            let answer = answer.await?;
            // Streams that were taken up log their ends themselves, with what they were at.
            if let Some(status) = Status::from_header_map(answer.headers())
                && status.code() != Code::Ok
            {
                let reason = match status.message() {
                    "" => status.code().description(),
                    message => message,
                };
                if gone.load(Ordering::Relaxed) {
                    complaints
                        .mention(&format!("a call{peer} to {method} was broken off before it said anything"));
                } else {
                    complaints.tell(&format!("a call{peer} to {method} is refused: {reason}"));
                }
            }
            Ok(answer)
        })
    }
}

/// The messages of a call. The first one says what is wanted: room for more than that is given only to who may want it.
struct Bounded {
    messages: body::Body,
    /// What has come of what stands before the message at hand, and how many bytes of the message are missing.
    prefix: Vec<u8>,
    missing: usize,
    /// How long the message at hand may be, and those after it.
    limit: usize,
    later: usize,
    /// Whether they ended before the first one.
    gone: Arc<AtomicBool>,
}

impl Bounded {
    fn new(messages: body::Body, later: usize, gone: Arc<AtomicBool>) -> Self {
        let prefix = Vec::with_capacity(PREFIX);
        Self { messages, prefix, missing: 0, limit: FIRST_MESSAGE_BYTES, later, gone }
    }

    fn has_begun(&self) -> bool {
        self.limit == self.later || self.prefix.len() == PREFIX
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let rest = data.len().min(self.missing);
            data = &data[rest..];
            self.missing -= rest;
            if self.missing > 0 {
                break;
            }
            if self.prefix.len() == PREFIX {
                self.prefix.clear();
                self.limit = self.later;
            }
            let (prefix, rest) = data.split_at(data.len().min(PREFIX - self.prefix.len()));
            self.prefix.extend_from_slice(prefix);
            data = rest;
            let Ok([_, length @ ..]) = <[u8; PREFIX]>::try_from(self.prefix.as_slice()) else { break };
            let length = u32::from_be_bytes(length) as usize;
            if length > self.limit {
                let which = if self.limit == self.later { "a too large" } else { "a first" };
                let message = format!("{which} message of {length} bytes, expected at most {}", self.limit);
                return Err(Status::invalid_argument(message));
            }
            self.missing = length;
        }
        Ok(())
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.messages).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.check(data)?;
                }
            }
            None | Some(Err(_)) if !self.has_begun() => self.gone.store(true, Ordering::Relaxed),
            None | Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.messages.size_hint()
    }
}
