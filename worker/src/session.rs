//! What one training stream is doing: a state machine from messages to instructions, without a socket or a thread.

use proto::batch::ArrivingBatch;
use proto::row_bytes::RowBytes;
use proto::wire::train_request::Request;
use proto::{WireError, required, wire};

use crate::assembly::Assembly;
use crate::stage::{BatchShape, Feed};

/// A session: after `begin` comes the state, then batches, each with its rows, and requests for checkpoints.
pub struct Session {
    shape: BatchShape,
    awaiting: Awaiting,
}

/// What may come next.
enum Awaiting {
    /// Bytes of the layer's state are missing.
    State(Assembly),
    /// A batch or a request for a checkpoint may come.
    Anything,
    /// Rows of a batch are missing.
    Rows { arrived: ArrivedBatch, missing: usize },
}

/// What the trainer is to do next.
#[derive(Debug)]
pub enum Instruction {
    /// Take up training at this state.
    Open(Vec<u8>),
    /// Take a step.
    Step(ArrivedBatch),
    /// Send the state.
    Checkpoint,
}

/// A batch with all the activations that came with it.
#[derive(Debug)]
pub struct ArrivedBatch {
    /// The batch, and the keys of the activations.
    pub message: ArrivingBatch,
    /// The activations, in the order of the keys.
    pub rows: Vec<RowBytes>,
}

impl ArrivedBatch {
    /// The step that it is for.
    pub fn step(&self) -> u64 {
        self.message.batch.step.0
    }

    /// The activations one by one, in the order of the keys.
    pub fn activations(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().flat_map(RowBytes::iter)
    }
}

impl Session {
    /// A session that has just begun and waits for the bytes of its state.
    pub fn new(shape: BatchShape, state: Assembly) -> Self {
        Self { shape, awaiting: Awaiting::State(state) }
    }

    /// What is to be done about a message; nothing while more messages must come.
    pub fn handle(&mut self, request: wire::TrainRequest) -> Result<Option<Instruction>, WireError> {
        let request = required("request", request.request)?;
        let (awaiting, instruction) =
            match (std::mem::replace(&mut self.awaiting, Awaiting::Anything), request) {
                (Awaiting::State(mut state), Request::State(part)) => {
                    state.push(&part)?;
                    match state.missing() {
                        0 => (Awaiting::Anything, Some(Instruction::Open(state.finish()?))),
                        _ => (Awaiting::State(state), None),
                    }
                }
                (Awaiting::Anything, Request::Batch(batch)) => {
                    let message = ArrivingBatch::parse(&batch, self.shape.size, self.shape.two_views)?;
                    let missing = self.arriving(&message)?;
                    next(ArrivedBatch { message, rows: Vec::new() }, missing)
                }
                (Awaiting::Anything, Request::Checkpoint(wire::Checkpoint {})) => {
                    (Awaiting::Anything, Some(Instruction::Checkpoint))
                }
                (Awaiting::Rows { mut arrived, missing }, Request::Rows(rows)) => {
                    let BatchShape { precision, length, .. } = self.shape;
                    let rows = RowBytes::parse(rows, length, precision, missing)?;
                    let missing = missing - rows.rows();
                    arrived.rows.push(rows);
                    next(arrived, missing)
                }
                (awaiting, request) => {
                    return Err(WireError::new("request", name(&request), awaiting.expects()));
                }
            };
        self.awaiting = awaiting;
        Ok(instruction)
    }

    /// How many rows follow a batch.
    fn arriving(&self, message: &ArrivingBatch) -> Result<usize, WireError> {
        match (self.shape.feed, message.arriving.len()) {
            (Feed::Keys, arriving) => Ok(arriving),
            (_, 0) => Ok(self.shape.rows(message.batch.shifts.len())),
            (_, arriving) => Err(WireError::new(
                "batch.arriving",
                format_args!("{arriving} keys"),
                "none: all rows of a live stage arrive",
            )),
        }
    }

    /// Whether the stream may end here.
    pub fn finish(self) -> Result<(), WireError> {
        match self.awaiting {
            Awaiting::Anything => Ok(()),
            awaiting => Err(WireError::new("request", "the end of the stream", awaiting.expects())),
        }
    }
}

impl Awaiting {
    fn expects(&self) -> String {
        match self {
            Self::State(state) => format!("{} more bytes of `state`", state.missing()),
            Self::Anything => "`batch` or `checkpoint`".to_owned(),
            Self::Rows { missing, .. } => format!("{missing} more `rows` of the batch"),
        }
    }
}

fn next(arrived: ArrivedBatch, missing: usize) -> (Awaiting, Option<Instruction>) {
    match missing {
        0 => (Awaiting::Anything, Some(Instruction::Step(arrived))),
        _ => (Awaiting::Rows { arrived, missing }, None),
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Begin(_) => "another `begin`",
        Request::State(_) => "`state`",
        Request::Batch(_) => "`batch`",
        Request::Rows(_) => "`rows`",
        Request::Checkpoint(_) => "`checkpoint`",
    }
}

#[cfg(test)]
mod tests {
    use proto::rows::Precision;

    use proto::row_bytes::RowLength;

    use super::*;

    fn session() -> Session {
        fed(Feed::Keys)
    }

    fn fed(feed: Feed) -> Session {
        let length = RowLength::Fixed(3);
        let shape = BatchShape { size: 2, two_views: false, length, precision: Precision::F16, feed };
        Session::new(shape, Assembly::new("state_length", 4, 100).unwrap())
    }

    fn handle(session: &mut Session, request: Request) -> Result<Option<Instruction>, WireError> {
        session.handle(wire::TrainRequest { request: Some(request) })
    }

    fn state(bytes: &'static [u8]) -> Request {
        Request::State(bytes.into())
    }

    fn rows(count: u32) -> Request {
        Request::Rows(wire::Rows::alike(count as usize, vec![0; 6 * count as usize]))
    }

    fn batch(arriving: &[u64]) -> Request {
        let keep = vec![false; arriving.len()];
        Request::Batch(wire::Batch {
            step: 0,
            first: vec![1 << 16, 2 << 16],
            second: vec![],
            shifts: vec![1],
            arriving: arriving.to_vec(),
            keep,
            shift_below: 0,
        })
    }

    #[test]
    fn a_session_goes_from_state_to_batches_to_its_end() {
        let mut session = session();
        assert!(handle(&mut session, state(b"ab")).unwrap().is_none());
        assert!(
            matches!(handle(&mut session, state(b"cd")), Ok(Some(Instruction::Open(bytes))) if bytes == b"abcd")
        );
        assert!(handle(&mut session, batch(&[1 << 16, 2 << 16])).unwrap().is_none());
        assert!(handle(&mut session, rows(1)).unwrap().is_none());
        assert!(
            matches!(handle(&mut session, rows(1)), Ok(Some(Instruction::Step(arrived))) if arrived.rows.len() == 2)
        );
        assert!(matches!(handle(&mut session, batch(&[])), Ok(Some(Instruction::Step(_)))));
        assert!(matches!(
            handle(&mut session, Request::Checkpoint(wire::Checkpoint {})),
            Ok(Some(Instruction::Checkpoint))
        ));
        session.finish().unwrap();
    }

    #[test]
    fn a_live_batch_is_followed_by_all_its_rows_and_names_none() {
        for (feed, expected) in [(Feed::LiveSamples, 2), (Feed::LivePairs, 4)] {
            let mut session = fed(feed);
            handle(&mut session, state(b"abcd")).unwrap();
            assert!(handle(&mut session, batch(&[])).unwrap().is_none());
            assert!(handle(&mut session, rows(1)).unwrap().is_none());
            assert!(
                matches!(handle(&mut session, rows(expected - 1)), Ok(Some(Instruction::Step(_)))),
                "{feed:?}"
            );
            let error = handle(&mut session, batch(&[1 << 16])).unwrap_err();
            assert_eq!(
                error.to_string(),
                "batch.arriving: found 1 keys, expected none: all rows of a live stage arrive"
            );
        }
    }

    #[test]
    fn a_message_out_of_turn_is_refused_with_what_was_expected() {
        let refused = |requests: Vec<Request>| {
            let mut session = session();
            let mut results = requests.into_iter().map(|request| handle(&mut session, request));
            results.find_map(Result::err).expect("one of them is refused").to_string()
        };
        assert_eq!(refused(vec![batch(&[])]), "request: found `batch`, expected 4 more bytes of `state`");
        assert_eq!(refused(vec![state(b"abcde")]), "state_length: found 5 bytes of parts, expected 4 bytes");
        assert_eq!(
            refused(vec![state(b"abcd"), rows(1)]),
            "request: found `rows`, expected `batch` or `checkpoint`"
        );
        assert_eq!(
            refused(vec![state(b"abcd"), batch(&[1 << 16]), batch(&[])]),
            "request: found `batch`, expected 1 more `rows` of the batch"
        );
        assert_eq!(
            refused(vec![state(b"abcd"), batch(&[1 << 16]), rows(2)]),
            "rows.rows: found 2, expected 1 to 1 rows"
        );
    }

    #[test]
    fn a_stream_may_not_end_in_the_middle() {
        assert!(session().finish().is_err());
        let mut session = session();
        handle(&mut session, state(b"abcd")).unwrap();
        handle(&mut session, batch(&[1 << 16])).unwrap();
        let error = session.finish().unwrap_err().to_string();
        assert_eq!(error, "request: found the end of the stream, expected 1 more `rows` of the batch");
    }
}
