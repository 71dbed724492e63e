//! Features that this worker owns, of all samples, as they arrive from whoever has computed them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use half::f16;
use half::vec::HalfBitsVecExt;
use ndarray::Array2;
use proto::limits::PAYLOAD_BYTES;
use proto::rows::{Precision, decode_f16};
use proto::{WireError, wire};
use scff::readout::Features;
use tokio::sync::watch;

use crate::refusal::Refusal;

/// Runs of numbers of a part that may have gaps between them, at most: many times what there are where all send what is theirs, and
/// little memory.
const RUNS: usize = 1 << 16;

/// Where they are kept, in the precision of the wire.
pub struct Store {
    width: usize,
    precision: Precision,
    arrived: Mutex<Arrived>,
    /// Whole rows that have come, of all parts together.
    rows: watch::Sender<u64>,
    /// Why not all will come.
    failed: watch::Sender<bool>,
}

struct Arrived {
    parts: Vec<Part>,
    numbers: u64,
    failure: Option<Refusal>,
}

struct Part {
    numbers: Numbers,
    runs: Runs,
}

enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// Runs of numbers that have come, by where they begin, and where they end: those that touch are one.
#[derive(Debug, Default)]
struct Runs(BTreeMap<usize, usize>);

impl Store {
    /// Room for `width` features of each of the rows of some parts. The system gives memory once something comes.
    pub fn new(rows: &[usize], width: usize, precision: Precision) -> Self {
        let part = |rows: &usize| Part {
            numbers: match precision {
                Precision::F32 => Numbers::F32(vec![0.0; rows * width]),
                Precision::F16 => Numbers::F16(vec![0_u16; rows * width].reinterpret_into()),
            },
            runs: Runs::default(),
        };
        let arrived = Arrived { parts: rows.iter().map(part).collect(), numbers: 0, failure: None };
        let (rows, failed) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { width, precision, arrived: Mutex::new(arrived), rows, failed }
    }

    /// Takes in a run of features, none of which has come before.
    pub fn put(&self, columns: &wire::Columns) -> Result<(), WireError> {
        let mut arrived = self.look();
        let parts = arrived.parts.len();
        let wrong = || WireError::new("columns.part", columns.part, format_args!("one of {parts}"));
        let part = arrived.parts.get_mut(columns.part as usize).ok_or_else(wrong)?;
        let all = part.numbers.len();
        let count = columns.payload.len() / self.precision.bytes();
        let first = usize::try_from(columns.first).unwrap_or(usize::MAX);
        let whole = columns.payload.len().is_multiple_of(self.precision.bytes());
        if count == 0 || !whole || first > all || count > all - first {
            let found = format!("{} bytes from number {}", columns.payload.len(), columns.first);
            let expected = format_args!("whole numbers of {all} in the part").to_string();
            return Err(WireError::new("columns.payload", found, expected));
        }
        let run = first..first + count;
        if !part.runs.add(run.clone()) {
            let found = format!("numbers {run:?}, some of which have come before");
            return Err(WireError::new("columns.first", found, "others"));
        }
        if part.runs.0.len() > RUNS {
            let found = format!("numbers {run:?}, the start of one run more");
            return Err(WireError::new(
                "columns.first",
                found,
                format_args!("at most {RUNS} with gaps between"),
            ));
        }
        part.numbers.write(run, &columns.payload);
        arrived.numbers += count as u64;
        let rows = arrived.numbers / self.width as u64;
        drop(arrived);
        // Who has put more meanwhile may have said so before.
        self.rows.send_if_modified(|before| {
            let more = rows > *before;
            *before = rows.max(*before);
            more
        });
        Ok(())
    }

    /// How many whole rows have come, as it changes.
    pub fn rows(&self) -> watch::Receiver<u64> {
        self.rows.subscribe()
    }

    /// Notes why not all will come, unless that is known.
    pub fn fail(&self, why: Refusal) {
        self.look().failure.get_or_insert(why);
        self.failed.send_replace(true);
    }

    /// Returns once not all will come, and why.
    pub async fn failed(&self) -> Refusal {
        let mut failed = self.failed.subscribe();
        loop {
            // The sender is here.
            let _ = failed.wait_for(|failed| *failed).await;
            if let Some(refusal) = self.look().failure.take() {
                return refusal;
            }
            failed.mark_unchanged();
            let _ = failed.changed().await;
        }
    }

    /// The features of each part, (rows, width), all of which must have come.
    pub fn take(&self) -> Result<Vec<Features>, WireError> {
        let parts = std::mem::take(&mut self.look().parts);
        let features = |part: Part| {
            let missing = part.numbers.len() - part.runs.count();
            if missing > 0 {
                return Err(WireError::new("learn", format_args!("{missing} features missing"), "none"));
            }
            Ok(part.numbers.features(self.width))
        };
        parts.into_iter().map(features).collect()
    }

    fn look(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(numbers) => numbers.len(),
        }
    }

    fn write(&mut self, run: Range<usize>, payload: &[u8]) {
        match self {
            Self::F32(numbers) => Precision::F32.decode(payload, &mut numbers[run]),
            Self::F16(numbers) => numbers[run].copy_from_slice(&decode_f16(payload)),
        }
    }

    /// (rows, width)
    fn features(self, width: usize) -> Features {
        let shape = |count: usize| (count.checked_div(width).unwrap_or(0), width);
        match self {
            Self::F32(numbers) => {
                Features::F32(Array2::from_shape_vec(shape(numbers.len()), numbers).expect("whole rows"))
            }
            Self::F16(numbers) => {
                Features::F16(Array2::from_shape_vec(shape(numbers.len()), numbers).expect("whole rows"))
            }
        }
    }
}

impl Runs {
    /// Adds one, unless some of it is there.
    fn add(&mut self, run: Range<usize>) -> bool {
        let Range { mut start, mut end } = run;
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back() {
            if before_end > start {
                return false;
            }
            if before_end == start {
                start = before;
            }
        }
        if let Some((&after, &after_end)) = self.0.range(run.start..).next() {
            if after < end {
                return false;
            }
            if after == end {
                self.0.remove(&after);
                end = after_end;
            }
        }
        self.0.insert(start, end);
        true
    }

    fn count(&self) -> usize {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

/// What of some rows, from row `first` of a part on, goes to the owner of `range`, of the bytes of a row: in messages. `bytes`: of a
/// row, and of a number.
pub fn cut(
    part: u32,
    first: usize,
    rows: &[u8],
    range: Range<usize>,
    (row_bytes, number): (usize, usize),
) -> Vec<wire::Columns> {
    let width = range.len() / number;
    let owned = rows.chunks_exact(row_bytes).flat_map(|row| &row[range.clone()]).copied();
    let payload: Bytes = owned.collect::<Vec<u8>>().into();
    let message = |start: usize| wire::Columns {
        part,
        first: (first * width + start / number) as u64,
        payload: payload.slice(start..payload.len().min(start + PAYLOAD_BYTES)),
    };
    (0..payload.len()).step_by(PAYLOAD_BYTES).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(part: u32, first: u64, payload: &[u8]) -> wire::Columns {
        wire::Columns { part, first, payload: payload.to_vec().into() }
    }

    #[test]
    fn features_come_in_any_order_and_are_all_there_in_the_end() {
        // Three rows of two numbers, one row of two.
        let store = Store::new(&[3, 1], 2, Precision::F32);
        let rows = store.rows();
        let bytes =
            |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
        store.put(&columns(0, 4, &bytes(&[5.0, 6.0]))).unwrap();
        store.put(&columns(0, 1, &bytes(&[2.0, 3.0, 4.0]))).unwrap();
        assert_eq!(*rows.borrow(), 2);
        store.put(&columns(1, 0, &bytes(&[7.0, 8.0]))).unwrap();
        store.put(&columns(0, 0, &bytes(&[1.0]))).unwrap();
        assert_eq!(*rows.borrow(), 4);
        let expected = [
            Features::F32(ndarray::array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
            Features::F32(ndarray::array![[7.0, 8.0]]),
        ];
        assert_eq!(store.take().unwrap(), expected);
    }

    #[test]
    fn rows_only_become_more_however_many_bring_them() {
        const ROWS: usize = 4_000;
        for _ in 0..20 {
            let store = Store::new(&[ROWS], 1, Precision::F16);
            std::thread::scope(|scope| {
                for lane in 0..4 {
                    let store = &store;
                    let own = lane * ROWS / 4..(lane + 1) * ROWS / 4;
                    scope.spawn(move || {
                        own.for_each(|row| store.put(&columns(0, row as u64, &[0; 2])).unwrap());
                    });
                }
                let mut rows = store.rows();
                let mut before = 0;
                while before < ROWS as u64 {
                    let now = *rows.borrow_and_update();
                    assert!(now >= before, "{now} after {before}");
                    before = now;
                }
            });
            assert_eq!(*store.rows().borrow(), ROWS as u64);
        }
    }

    #[test]
    fn features_that_are_no_part_of_it_are_refused() {
        let store = Store::new(&[3], 2, Precision::F16);
        store.put(&columns(0, 2, &[0; 4])).unwrap();
        for (wrong, says) in [
            (columns(1, 0, &[0; 4]), "columns.part: found 1, expected one of 1"),
            (columns(0, 0, &[]), "columns.payload: found 0 bytes from number 0"),
            (columns(0, 0, &[0; 3]), "columns.payload: found 3 bytes from number 0"),
            (columns(0, 5, &[0; 4]), "columns.payload: found 4 bytes from number 5"),
            (
                columns(0, u64::MAX, &[0; 4]),
                "columns.payload: found 4 bytes from number 18446744073709551615",
            ),
            (columns(0, 1, &[0; 4]), "columns.first: found numbers 1..3, some of which have come before"),
            (columns(0, 3, &[0; 2]), "columns.first: found numbers 3..4, some of which have come before"),
            (columns(0, 0, &[0; 12]), "columns.first: found numbers 0..6, some of which have come before"),
        ] {
            let error = store.put(&wrong).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error} starts with {says}");
        }
        assert_eq!(store.take().unwrap_err().to_string(), "learn: found 4 features missing, expected none");
    }

    #[test]
    fn more_gaps_than_memory_is_for_are_refused() {
        let store = Store::new(&[3 * RUNS], 1, Precision::F16);
        let refused =
            (0..).map(|run| store.put(&columns(0, 2 * run, &[0; 2]))).find_map(Result::err).unwrap();
        assert_eq!(
            refused.to_string(),
            "columns.first: found numbers 131072..131073, the start of one run more, expected at most 65536 with gaps between"
        );
    }

    #[test]
    fn what_is_cut_for_an_owner_is_put_where_it_belongs() {
        // Two rows of four numbers in half precision, of which the middle two have an owner.
        let rows: Vec<u8> = (0..16).collect();
        let cut = cut(3, 10, &rows, 2..6, (8, 2));
        assert_eq!(cut, [columns(3, 20, &[2, 3, 4, 5, 10, 11, 12, 13])]);
    }
}
