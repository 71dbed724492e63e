//! A worker's share of a layer, and who has the others.
//!
//! They are a grid: rows of the same samples and columns of the same channels. Goodness is added up among those of a row, a
//! gradient among those of a column.

use std::ops::Range;

use proto::{WireError, wire};
use scff::train::{Round, Shard};

use crate::circle::Circle;
use crate::exchange::LOSS_BYTES;

/// A worker's share of a layer, and its place among those who have the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The channels that it owns, and the samples of each batch.
    pub own: Shard,
    /// Of how many parts that consists, which are the same whoever owns them: channel parts times sample parts.
    pub parts: usize,
    /// Which of the group it is.
    pub place: usize,
    /// All who share the layer, down the chain; nobody where it is not shared.
    pub group: Vec<wire::Shard>,
    row: Circle,
    column: Circle,
    /// Samples of each row, and channels of each column.
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
}

/// Parts of one kind, channels or samples, that a group divides.
struct Axis<'a> {
    /// Fields of the message, and what they hold.
    fields: [&'static str; 2],
    of: &'static str,
    /// What cannot be divided any further.
    parts: &'a [Range<usize>],
}

impl Share {
    /// Checks a group that shares a layer of so many parts, and who of it this worker is.
    pub fn parse(
        group: Vec<wire::Shard>,
        place: u32,
        channel_parts: &[Range<usize>],
        sample_parts: &[Range<usize>],
    ) -> Result<Self, WireError> {
        let channels = Axis { fields: ["group.start", "group.end"], of: "channel", parts: channel_parts };
        let samples =
            Axis { fields: ["group.first_sample", "group.end_sample"], of: "sample", parts: sample_parts };
        if group.is_empty() && place == 0 {
            return Ok(Self::whole(&channels, &samples));
        }
        let place = usize::try_from(place).ok().filter(|place| *place < group.len()).ok_or_else(|| {
            WireError::new("place", place, format_args!("one of a group of {}", group.len()))
        })?;
        let most = channel_parts.len() * sample_parts.len();
        if group.len() > most {
            return Err(WireError::new(
                "group",
                format_args!("{} shards", group.len()),
                format_args!("at most {most}, one for each part"),
            ));
        }
        let owned = |shard: &wire::Shard| {
            let channels = channels.own(shard.start, shard.end)?;
            Ok((channels, samples.own(shard.first_sample, shard.end_sample)?))
        };
        let owned: Vec<(Range<usize>, Range<usize>)> = group.iter().map(owned).collect::<Result<_, _>>()?;
        let columns = channels.distinct(owned.iter().map(|(channels, _)| channels))?;
        let rows = samples.distinct(owned.iter().map(|(_, samples)| samples))?;
        let at = |row: &Range<usize>, column: &Range<usize>| {
            let mut found = owned.iter().enumerate().filter(|(_, own)| (&own.0, &own.1) == (column, row));
            match (found.next(), found.next()) {
                (Some((place, _)), None) => Ok(place),
                (found, _) => {
                    let found = if found.is_some() { "several owners" } else { "no owner" };
                    let of = format!("{found} of samples {row:?} of channels {column:?}");
                    Err(WireError::new("group", of, "one, in every row and column of a grid"))
                }
            }
        };
        for row in &rows {
            for column in &columns {
                at(row, column)?;
            }
        }
        let (own_channels, own_samples) = owned[place].clone();
        let row = circle(&columns, &channels, place, |column| at(&own_samples, column))?;
        let column = circle(&rows, &samples, place, |row| at(row, &own_channels))?;
        Ok(Self {
            parts: channels.indices(&own_channels).len() * samples.indices(&own_samples).len(),
            own: Shard { channels: own_channels, samples: own_samples },
            place,
            group,
            row,
            column,
            rows,
            columns,
        })
    }

    /// The share of a worker that has all.
    fn whole(channels: &Axis<'_>, samples: &Axis<'_>) -> Self {
        let own = Shard { channels: 0..channels.end(), samples: 0..samples.end() };
        let alone = |axis: &Axis<'_>| Circle::new(&[(0, 0..axis.parts.len())], 0);
        Self {
            parts: channels.parts.len() * samples.parts.len(),
            place: 0,
            group: Vec::new(),
            row: alone(channels),
            column: alone(samples),
            rows: vec![own.samples.clone()],
            columns: vec![own.channels.clone()],
            own,
        }
    }

    /// Whether the client's stream ends here.
    pub fn is_first(&self) -> bool {
        self.place == 0
    }

    /// Those below it in the chain, next first.
    pub fn below(&self) -> &[wire::Shard] {
        self.group.get(self.place + 1..).unwrap_or_default()
    }

    /// With whom sums of a round are added up.
    pub fn circle(&self, round: Round) -> &Circle {
        match round {
            Round::Goodness => &self.row,
            Round::Gradient => &self.column,
        }
    }

    /// All with whom it exchanges anything, by their places.
    pub fn peers(&self) -> impl Iterator<Item = usize> {
        self.row.others().chain(self.column.others())
    }

    /// Whether nobody else has a part of the layer.
    pub fn is_alone(&self) -> bool {
        self.row.is_alone() && self.column.is_alone()
    }

    /// Bytes that the whole group sends for a round of which this worker has so many numbers: the same round goes on in all rows,
    /// or all columns, and has as many more numbers in those of more samples, or channels.
    pub fn exchanged_bytes(&self, round: Round, numbers: usize) -> usize {
        let (all, own, losses) = match round {
            Round::Goodness => (&self.rows, self.own.samples.len(), 0),
            Round::Gradient => {
                (&self.columns, self.own.channels.len(), LOSS_BYTES * self.column.losses_sent())
            }
        };
        let numbers = all.iter().map(|part| self.circle(round).numbers_sent(numbers * part.len() / own));
        size_of::<f32>() * numbers.sum::<usize>() + losses * all.len()
    }
}

/// Who owns each of `ranges`, as `owner` finds it: those take part in a round.
fn circle(
    ranges: &[Range<usize>],
    axis: &Axis<'_>,
    place: usize,
    owner: impl Fn(&Range<usize>) -> Result<usize, WireError>,
) -> Result<Circle, WireError> {
    let members: Vec<(usize, Range<usize>)> = ranges
        .iter()
        .map(|range| Ok((owner(range)?, axis.indices(range))))
        .collect::<Result<_, WireError>>()?;
    let own = members.iter().position(|(member, _)| *member == place).expect("it owns one of them");
    Ok(Circle::new(&members, own))
}

impl Axis<'_> {
    /// Where the last part ends.
    fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.end)
    }

    /// A shard's range of it: whole parts.
    fn own(&self, start: u64, end: u64) -> Result<Range<usize>, WireError> {
        let bound = |at: u64| {
            let at = usize::try_from(at).ok()?;
            (at == 0 || self.parts.iter().any(|part| part.end == at)).then_some(at)
        };
        match bound(start).zip(bound(end)) {
            Some((start, end)) if start < end => Ok(start..end),
            _ => {
                let (all, count) = (self.end(), self.parts.len());
                let expected = format!("whole parts of 0..{all}, which has {count}");
                Err(WireError::new(self.fields[0], format_args!("{start}..{end}"), expected))
            }
        }
    }

    /// The different ranges of shards, in order: together they are all.
    fn distinct<'r>(
        &self,
        ranges: impl Iterator<Item = &'r Range<usize>>,
    ) -> Result<Vec<Range<usize>>, WireError> {
        let mut distinct: Vec<Range<usize>> = ranges.cloned().collect();
        distinct.sort_by_key(|range| (range.start, range.end));
        distinct.dedup();
        let mut end = 0;
        for range in &distinct {
            if range.start != end {
                let expected = format_args!("{end}, where the {}s before it end", self.of).to_string();
                return Err(WireError::new(self.fields[0], range.start, expected));
            }
            end = range.end;
        }
        if end != self.end() {
            return Err(WireError::new(self.fields[1], end, format_args!("{}, of all shards", self.end())));
        }
        Ok(distinct)
    }

    /// Which parts a range of whole parts consists of.
    fn indices(&self, range: &Range<usize>) -> Range<usize> {
        let before = |at: usize| self.parts.partition_point(|part| part.start < at);
        before(range.start)..before(range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [Range<usize>; 3] = [0..4, 4..8, 8..10];
    const SAMPLES: [Range<usize>; 2] = [0..16, 16..20];

    fn shard([start, end, first_sample, end_sample]: [u64; 4]) -> wire::Shard {
        wire::Shard { address: "a:1".into(), start, end, first_sample, end_sample, ..wire::Shard::default() }
    }

    fn share(place: u32, shards: &[[u64; 4]]) -> Result<Share, WireError> {
        Share::parse(shards.iter().copied().map(shard).collect(), place, &CHANNELS, &SAMPLES)
    }

    /// Two rows of two columns, in no order.
    const GRID: [[u64; 4]; 4] = [[4, 10, 0, 16], [0, 4, 0, 16], [0, 4, 16, 20], [4, 10, 16, 20]];

    fn places(circle: &Circle) -> Vec<usize> {
        circle.members().iter().map(|member| member.place).collect()
    }

    #[test]
    fn members_of_a_grid_find_their_rows_and_columns() {
        let first = share(0, &GRID).unwrap();
        assert_eq!((first.own.channels.clone(), first.own.samples.clone(), first.parts), (4..10, 0..16, 2));
        assert_eq!((places(&first.row), places(&first.column)), (vec![1, 0], vec![0, 3]));
        assert_eq!((first.row.own(), first.column.own()), (1, 0));
        assert!(first.is_first() && first.below().len() == 3);
        assert_eq!(first.peers().collect::<Vec<_>>(), [1, 3]);
        let last = share(3, &GRID).unwrap();
        assert_eq!((places(&last.row), places(&last.column)), (vec![2, 3], vec![0, 3]));
        assert!(last.below().is_empty());
    }

    #[test]
    fn who_has_all_is_alone() {
        let all = share(0, &[[0, 10, 0, 20]]).unwrap();
        let alone = share(0, &[]).unwrap();
        for share in [all, alone] {
            assert!(share.is_first() && share.below().is_empty());
            assert_eq!(
                (share.own.channels.clone(), share.own.samples.clone(), share.parts),
                (0..10, 0..20, 6)
            );
            assert_eq!((share.peers().count(), share.exchanged_bytes(Round::Goodness, 100)), (0, 0));
        }
    }

    #[test]
    fn a_group_sends_twice_the_numbers_less_what_each_adds_up_itself() {
        // To one other addends, of one node and of two, and totals back: in rows of 16 and of 4 samples.
        let bytes = share(0, &GRID).unwrap().exchanged_bytes(Round::Goodness, 1600);
        assert_eq!(bytes, 4 * ((800 + 2 * 800 + 1600) + (200 + 2 * 200 + 400)));
        assert_eq!(share(2, &GRID).unwrap().exchanged_bytes(Round::Goodness, 400), bytes);
        // Columns of 6 and 4 channels; in each one loss goes to the first member, and the total back.
        let bytes = share(0, &GRID).unwrap().exchanged_bytes(Round::Gradient, 6 * 90);
        assert_eq!(bytes, 4 * 2 * 10 * 90 + 2 * 2 * 40);
    }

    #[test]
    fn shards_that_are_no_grid_are_refused() {
        let refusal = |place, shards: &[[u64; 4]]| share(place, shards).unwrap_err().to_string();
        assert!(
            refusal(0, &[[4, 10, 0, 20]]).starts_with("group.start: found 4, expected 0, where the channels")
        );
        assert!(refusal(0, &[[0, 8, 0, 20]]).starts_with("group.end: found 8, expected 10"));
        assert!(
            refusal(0, &[[0, 6, 0, 20]])
                .starts_with("group.start: found 0..6, expected whole parts of 0..10")
        );
        assert!(refusal(0, &[[4, 4, 0, 20]]).starts_with("group.start: found 4..4"));
        assert!(refusal(0, &[[0, 12, 0, 20]]).starts_with("group.start: found 0..12"));
        assert!(refusal(0, &[[0, 10, 0, 15]]).starts_with("group.first_sample: found 0..15"));
        assert!(refusal(0, &[[0, 10, 16, 20]]).starts_with("group.first_sample: found 16, expected 0"));
        assert!(refusal(0, &[[0, 8, 0, 20], [4, 10, 0, 20]]).starts_with("group.start: found 4, expected 8"));
        let several = [[0, 4, 0, 20], [4, 10, 0, 20], [4, 10, 0, 20]];
        assert!(
            refusal(0, &several)
                .starts_with("group: found several owners of samples 0..20 of channels 4..10")
        );
        assert!(
            refusal(0, &GRID[..3]).starts_with("group: found no owner of samples 16..20 of channels 4..10")
        );
        assert!(refusal(4, &GRID).starts_with("place: found 4, expected one of a group of 4"));
        assert!(refusal(1, &[]).starts_with("place: found 1, expected one of a group of 0"));
    }
}
