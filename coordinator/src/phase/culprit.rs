//! Whom of those who share a layer the others wait for.

use std::time::Duration;

use proto::wire;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Worker;

/// A worker that notices by itself that it is late, or another of its group, is to say so first; and for an answer to
/// whether it is there.
pub const PATIENCE: Duration = Duration::from_millis(400);

/// Asks a group, of which nothing has been heard for too long, who is the reason: whoever does not answer, or says that it is
/// stuck. Where somebody still computes nobody is, and in the `last` resort who has computed for longest. In doubt it is
/// the first, which owes the answer.
pub async fn find(group: &[Worker], last: bool) -> Option<&Worker> {
    culprit(&signs(group).await, last).map(|place| &group[place])
}

/// What a worker says of itself while others wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    /// Nothing.
    Silence,
    /// That it computes what does not end.
    Stuck,
    /// That it has computed for so many seconds.
    Computing(f64),
    /// That it waits as well.
    Waiting,
}

/// What each of a group says.
async fn signs(group: &[Worker]) -> Vec<Sign> {
    let ask = |(place, worker): (usize, Worker)| async move {
        let mut client = worker.client();
        let described = timeout(PATIENCE, client.describe(wire::DescribeRequest {})).await;
        let sign = match described.map(|described| described.map(tonic::Response::into_inner)) {
            Ok(Ok(description)) if description.stuck_seconds > 0.0 => Sign::Stuck,
            Ok(Ok(description)) if description.computing_seconds > 0.0 => {
                Sign::Computing(description.computing_seconds)
            }
            Ok(Ok(_)) => Sign::Waiting,
            _ => Sign::Silence,
        };
        (place, sign)
    };
    let asked: JoinSet<(usize, Sign)> = group.iter().cloned().enumerate().map(ask).collect();
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, sign)| sign).collect()
}

fn culprit(signs: &[Sign], last: bool) -> Option<usize> {
    let lost = signs.iter().position(|sign| matches!(sign, Sign::Silence | Sign::Stuck));
    let computing = signs.iter().enumerate().filter_map(|(place, sign)| match sign {
        Sign::Computing(seconds) => Some((place, *seconds)),
        _ => None,
    });
    let longest = computing.max_by(|(_, one), (_, other)| one.total_cmp(other));
    match (lost, longest) {
        (Some(place), _) => Some(place),
        (None, Some((place, _))) => last.then_some(place),
        (None, None) => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_to_blame_before_who_computes() {
        use Sign::{Computing, Silence, Stuck, Waiting};
        for (signs, soon, at_last) in [
            (vec![Waiting, Waiting], Some(0), Some(0)),
            (vec![Waiting, Silence, Waiting], Some(1), Some(1)),
            (vec![Computing(30.0), Waiting, Stuck], Some(2), Some(2)),
            (vec![Computing(1.0), Computing(9.0), Waiting], None, Some(1)),
            (vec![Waiting, Waiting, Computing(2.0)], None, Some(2)),
        ] {
            assert_eq!((culprit(&signs, false), culprit(&signs, true)), (soon, at_last), "{signs:?}");
        }
    }
}
