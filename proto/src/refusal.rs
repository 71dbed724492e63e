//! Why a peer does not do what it was asked for: typed by who refuses, in the details of a gRPC status.
//!
//! Who refuses says whether trying again may help, and nobody guesses it from a status code. What the transport itself
//! reports (a connection that broke, a peer that fell silent) has no details; it may always pass.

use std::error::Error;
use std::io;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::wire;

/// Longer messages are cut: they travel in a header, and may quote the peer.
const MESSAGE_BYTES: usize = 2000;

/// What a peer says, fit for a terminal: on one line, not too long, and without commands to it.
pub fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(MESSAGE_BYTES);
    text[..end].replace(|c: char| c.is_control(), " ")
}

/// What kind of refusal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another run has the worker.
    Busy {
        /// Which run.
        run: String,
        /// Its layer in training.
        layer: u32,
    },
    /// A frozen layer is needed that the worker does not have.
    NotHosted {
        /// Its index.
        layer: u32,
    },
    /// Another attempt of the same run has taken over.
    Preempted,
    /// The worker is about to end.
    Closing,
    /// Who asks may not ask for that.
    Forbidden,
    /// The machine is too small.
    Memory,
    /// The request does not say what it should.
    Malformed,
    /// A layer computes what is not finite, or too large for the wire.
    NotFinite,
    /// The computation failed.
    Panicked,
    /// Nothing was heard for too long.
    Silent,
    /// Something is computed that does not end.
    Stuck,
    /// The connection is gone.
    Broken,
    /// Others who share the layer or the readout have ended, who are the reason.
    Deserted,
}

/// A refusal, as it reaches who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Whether trying again may help.
    pub passing: bool,
    /// The same in words.
    pub message: String,
    /// The number of the worker that is the reason, where it is another than who says so.
    pub whose: Option<u64>,
}

impl Refused {
    /// What passes, and is nobody else's doing.
    pub fn passing(reason: Reason, message: String) -> Self {
        Self { reason, passing: true, message, whose: None }
    }

    /// What a status says.
    pub fn read(status: &Status) -> Self {
        if let Ok(details) = wire::Refusal::decode(status.details())
            && let Some(reason) = reason(details.kind(), &details)
        {
            let whose = (details.identity != 0).then_some(details.identity);
            return Self { reason, passing: details.passing, message: printable(status.message()), whose };
        }
        Self::by_transport(status)
    }

    /// A status without details is not of a worker's making.
    fn by_transport(status: &Status) -> Self {
        if let Some(error) = causes(status).find_map(io_error) {
            return Self::by_socket(error);
        }
        // A message that is too large now is as large the next time.
        let passing = !matches!(status.code(), Code::OutOfRange | Code::InvalidArgument);
        let reason = if passing { Reason::Broken } else { Reason::Malformed };
        let said = match status.message() {
            message if !passing => printable(message),
            _ if status.source().is_some() => innermost(status),
            "" => status.code().description().to_owned(),
            message => printable(message),
        };
        let message = if passing { format!("the connection broke ({said})") } else { said };
        Self { reason, passing, message, whose: None }
    }

    fn by_socket(error: &io::Error) -> Self {
        let (reason, message) = match error.kind() {
            io::ErrorKind::TimedOut => (Reason::Silent, error.to_string()),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                (Reason::Broken, "the connection broke (it was closed at the other end)".to_owned())
            }
            kind => (Reason::Broken, format!("the connection broke ({kind})")),
        };
        Self::passing(reason, message)
    }
}

impl From<Refused> for Status {
    fn from(Refused { reason, passing, mut message, whose }: Refused) -> Self {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        let code = code(&reason);
        let details = wire::Refusal { identity: whose.unwrap_or(0), ..details(reason, passing) };
        Self::with_details(code, message, Bytes::from(details.encode_to_vec()))
    }
}

/// For clients of other makes; Strata's look at the details.
fn code(reason: &Reason) -> Code {
    match reason {
        Reason::Malformed => Code::InvalidArgument,
        Reason::NotFinite => Code::OutOfRange,
        Reason::NotHosted { .. } | Reason::Busy { .. } => Code::FailedPrecondition,
        Reason::Memory => Code::ResourceExhausted,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::Preempted => Code::Aborted,
        Reason::Closing | Reason::Silent | Reason::Stuck | Reason::Broken | Reason::Deserted => {
            Code::Unavailable
        }
        Reason::Panicked => Code::Internal,
    }
}

fn details(reason: Reason, passing: bool) -> wire::Refusal {
    use wire::RefusalKind as Kind;
    let of = |kind: Kind| wire::Refusal { kind: kind.into(), passing, ..wire::Refusal::default() };
    match reason {
        Reason::Busy { run, layer } => wire::Refusal { run, layer, ..of(Kind::Busy) },
        Reason::NotHosted { layer } => wire::Refusal { layer, ..of(Kind::NotHosted) },
        Reason::Preempted => of(Kind::Preempted),
        Reason::Closing => of(Kind::Closing),
        Reason::Memory => of(Kind::Memory),
        Reason::Forbidden => of(Kind::Forbidden),
        Reason::Malformed => of(Kind::Malformed),
        Reason::NotFinite => of(Kind::NotFinite),
        Reason::Panicked => of(Kind::Panicked),
        Reason::Silent => of(Kind::Silent),
        Reason::Broken => of(Kind::Broken),
        Reason::Stuck => of(Kind::Stuck),
        Reason::Deserted => of(Kind::Deserted),
    }
}

fn reason(kind: wire::RefusalKind, details: &wire::Refusal) -> Option<Reason> {
    use wire::RefusalKind as Kind;
    Some(match kind {
        Kind::Unspecified => return None,
        Kind::Busy => Reason::Busy { run: details.run.clone(), layer: details.layer },
        Kind::NotHosted => Reason::NotHosted { layer: details.layer },
        Kind::Preempted => Reason::Preempted,
        Kind::Closing => Reason::Closing,
        Kind::Memory => Reason::Memory,
        Kind::Forbidden => Reason::Forbidden,
        Kind::Stuck => Reason::Stuck,
        Kind::Malformed => Reason::Malformed,
        Kind::NotFinite => Reason::NotFinite,
        Kind::Panicked => Reason::Panicked,
        Kind::Silent => Reason::Silent,
        Kind::Broken => Reason::Broken,
        Kind::Deserted => Reason::Deserted,
    })
}

/// The socket's error, which HTTP/2 wraps without naming it as a source.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    error.downcast_ref::<io::Error>().or_else(|| error.downcast_ref::<h2::Error>()?.get_io())
}

/// The first cause of an error, in words.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_arrives_as_it_was_sent() {
        let reasons = [
            Reason::Busy { run: "a".into(), layer: 3 },
            Reason::NotHosted { layer: 2 },
            Reason::Preempted,
            Reason::Closing,
            Reason::Memory,
            Reason::Forbidden,
            Reason::Malformed,
            Reason::NotFinite,
            Reason::Panicked,
            Reason::Silent,
            Reason::Stuck,
            Reason::Broken,
            Reason::Deserted,
        ];
        for reason in reasons {
            for (passing, whose) in [(true, None), (false, Some(7))] {
                let sent = Refused { reason: reason.clone(), passing, message: "in words".into(), whose };
                assert_eq!(Refused::read(&Status::from(sent.clone())), sent);
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let refused = |message| Refused { reason: Reason::Malformed, passing: false, message, whose: None };
        let status = Status::from(refused("ä".repeat(MESSAGE_BYTES)));
        assert_eq!(Refused::read(&status).message, "ä".repeat(MESSAGE_BYTES / 2));
    }

    #[test]
    fn what_a_peer_says_is_no_command_to_a_terminal() {
        let message = format!("a\u{1b}[2Jb\nc{}", "x".repeat(MESSAGE_BYTES));
        let said = Refused::read(&Status::unknown(message)).message;
        assert!(said.contains("a [2Jb cxxx") && said.len() < 2 * MESSAGE_BYTES, "{said}");
    }

    #[test]
    fn what_the_transport_says_passes_and_is_told_in_words() {
        let by = |error: io::Error| Refused::read(&Status::from_error(Box::new(error)));
        let reset = by(io::ErrorKind::ConnectionReset.into());
        assert_eq!(reset.to_string(), "the connection broke (connection reset)");
        assert_eq!((reset.reason, reset.passing), (Reason::Broken, true));
        let closed = by(io::ErrorKind::BrokenPipe.into());
        assert_eq!(closed.to_string(), "the connection broke (it was closed at the other end)");
        let silent = by(io::Error::new(io::ErrorKind::TimedOut, "silent for 30 s"));
        assert_eq!(silent.to_string(), "silent for 30 s");
        assert_eq!((silent.reason, silent.passing), (Reason::Silent, true));
    }

    #[test]
    fn a_message_that_is_too_large_is_as_large_the_next_time() {
        let refused = Refused::read(&Status::out_of_range("decoded message length too large"));
        assert_eq!((refused.reason, refused.passing), (Reason::Malformed, false));
    }
}
