//! Sums on their way between those who share a layer: cut into messages, and put together again.

use proto::limits::PAYLOAD_BYTES;
use proto::{WireError, wire};
use scff::goodness::Loss;
use scff::train::Sums;

/// Numbers of one message.
const NUMBERS: usize = PAYLOAD_BYTES / size_of::<f32>();

/// The sums of a step as messages, in order; the last one has the loss.
pub fn messages(step: u64, sums: &Sums) -> Vec<wire::Sums> {
    let payload = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut messages: Vec<wire::Sums> = sums
        .numbers
        .chunks(NUMBERS)
        .map(|numbers| wire::Sums { step, payload: payload(numbers), loss: Vec::new() })
        .collect();
    if let Some(last) = messages.last_mut() {
        let Loss { positive, negative, penalty, goodness_pos, goodness_neg } = sums.loss;
        last.loss = vec![positive, negative, penalty, goodness_pos, goodness_neg];
    }
    messages
}

/// Sums of a step that are arriving.
#[derive(Debug)]
pub struct ArrivingSums {
    step: u64,
    sums: Sums,
    /// How many of the numbers have come.
    come: usize,
}

impl ArrivingSums {
    /// So many numbers will come.
    pub fn new(step: u64, count: usize) -> Self {
        Self { step, sums: Sums { numbers: vec![0.0; count], loss: Loss::default() }, come: 0 }
    }

    /// Takes a message in; returns the sums once they are complete.
    pub fn take(&mut self, message: &wire::Sums) -> Result<Option<Sums>, WireError> {
        if message.step != self.step {
            return Err(WireError::new("sums.step", message.step, self.step));
        }
        let missing = &mut self.sums.numbers[self.come..];
        let (numbers, rest) = message.payload.as_chunks();
        if numbers.is_empty() || numbers.len() > missing.len() || !rest.is_empty() {
            let found = format!("{} bytes", message.payload.len());
            let expected = format!("whole numbers, of the {} bytes that are missing", 4 * missing.len());
            return Err(WireError::new("sums.payload", found, expected));
        }
        for (number, bytes) in missing.iter_mut().zip(numbers) {
            *number = f32::from_le_bytes(*bytes);
        }
        self.come += numbers.len();
        if self.come < self.sums.numbers.len() {
            return Ok(None);
        }
        let [positive, negative, penalty, goodness_pos, goodness_neg] = message.loss[..] else {
            return Err(WireError::new("sums.loss", message.loss.len(), "5 numbers with the last message"));
        };
        let loss = Loss { positive, negative, penalty, goodness_pos, goodness_neg };
        Ok(Some(Sums { loss, ..std::mem::take(&mut self.sums) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(count: usize) -> Sums {
        let loss = Loss { positive: 1.0, negative: 2.0, penalty: 3.0, goodness_pos: 4.0, goodness_neg: 5.0 };
        Sums { numbers: (0..count).map(|i| i as f32).collect(), loss }
    }

    #[test]
    fn sums_of_any_length_arrive_in_messages_of_bounded_length() {
        for (count, expected) in [(1, 1), (NUMBERS, 1), (NUMBERS + 1, 2), (3 * NUMBERS - 1, 3)] {
            let messages = messages(7, &sums(count));
            assert_eq!(messages.len(), expected);
            assert!(messages.iter().all(|message| message.payload.len() <= PAYLOAD_BYTES));
            let mut arriving = ArrivingSums::new(7, count);
            let mut come: Vec<_> = messages.iter().map(|message| arriving.take(message).unwrap()).collect();
            assert_eq!(come.pop().unwrap(), Some(sums(count)));
            assert!(come.iter().all(Option::is_none));
        }
    }

    #[test]
    fn sums_of_another_step_or_length_are_refused() {
        let refusal = |message: wire::Sums| ArrivingSums::new(7, 3).take(&message).unwrap_err().to_string();
        let [message] = &messages(7, &sums(3))[..] else { panic!("one message") };
        let cut = |bytes| wire::Sums { payload: message.payload.slice(..bytes), ..message.clone() };
        assert_eq!(refusal(wire::Sums { step: 6, ..message.clone() }), "sums.step: found 6, expected 7");
        for bytes in [0, 11] {
            let found = format!("sums.payload: found {bytes} bytes, expected whole numbers, of the 12 bytes");
            assert!(refusal(cut(bytes)).starts_with(&found));
        }
        assert!(refusal(messages(7, &sums(4)).remove(0)).starts_with("sums.payload: found 16 bytes"));
        assert!(refusal(wire::Sums { loss: vec![], ..message.clone() }).starts_with("sums.loss: found 0"));
    }
}
