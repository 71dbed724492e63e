//! Sizes that both ends agree on.

/// Large payloads are cut into messages of about this size: smaller ones halve the rate, larger ones gain nothing.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// The largest message that those who share a layer send each other: a payload, losses of the nodes of a tree, and its head.
pub const SLICE_BYTES: usize = PAYLOAD_BYTES + (16 << 10);
/// No message may be larger: a row of activations and its head.
pub const MESSAGE_BYTES: usize = 64 << 20;
/// The first message of a call says what is wanted, and may not be larger.
pub const FIRST_MESSAGE_BYTES: usize = 1 << 20;
/// Room for all of a message of one row that is not payload.
pub const HEAD_BYTES: usize = 64;
/// HTTP/2 frames; without it they are 16 KiB and the rate halves.
pub const FRAME_BYTES: u32 = 1 << 20;
/// HTTP/2 flow-control windows: how much is under way without the receiver having taken it.
pub const WINDOW_BYTES: u32 = 4 << 20;
/// The largest layer state that a worker takes in: weights and two moments of one layer.
pub const STATE_BYTES: u64 = 16 << 30;
/// Samples of a batch.
pub const BATCH: usize = 65_536;
/// Steps of a layer whose outputs may be on their way to the layer above, which trains at the same time.
pub const STEPS_AHEAD: u64 = 4;

// A row of the longest activation fits a message.
const _: () = assert!(size_of::<f32>() * scff::layer::ELEMENTS + HEAD_BYTES <= MESSAGE_BYTES);

/// Into how many slices those who add up a round of so many numbers cut it: one for each of them, but of at least 128 numbers. What
/// fewer numbers cost on their way is less than what a message costs.
pub fn slices(numbers: usize, members: usize) -> usize {
    (numbers / 128).clamp(1, members)
}

/// How many rows of `row_bytes` bytes a message carries: about [`PAYLOAD_BYTES`], and at least one.
pub fn rows_per_message(row_bytes: usize) -> usize {
    (PAYLOAD_BYTES / row_bytes.max(1)).max(1)
}
