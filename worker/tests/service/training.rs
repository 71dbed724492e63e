//! Training over the wire is the same as training at home.

use proto::rows::Precision;
use proto::wire::train_reply::Reply;
use proto::wire::train_request::Request;

use crate::client::{Training, host, server, train};
use crate::fixture::{Stage, state_of};

const STEPS: u64 = 7;

#[tokio::test]
async fn served_steps_equal_direct_steps_bit_for_bit() {
    let server = server().await;
    let mut client = server.client().await;
    host(&mut client, "test", 0..2).await;
    for prefix in [false, true] {
        for two_views in [false, true] {
            for precision in [Precision::F32, Precision::F16] {
                for kept_rows in [0, 4, 100] {
                    let stage = Stage::new(prefix, two_views, precision, kept_rows);
                    let (reports, state, _) = train(&mut client, &stage, STEPS).await;
                    let case =
                        format!("prefix {prefix}, two views {two_views}, {precision:?}, {kept_rows} kept");
                    assert_eq!((reports, state), stage.expect(STEPS), "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_resumed_stage_equals_an_uninterrupted_one() {
    let server = server().await;
    let mut client = server.client().await;
    for kept_rows in [0, 100] {
        let whole = Stage::new(false, true, Precision::F16, kept_rows);
        let (mut reports, _, state) = train(&mut client, &whole, 3).await;
        let rest = Stage { state, first_step: 3, ..whole.clone() };
        let (more, state, _) = train(&mut client, &rest, STEPS - 3).await;
        reports.extend(more);
        assert_eq!((reports, state), whole.expect(STEPS));
    }
}

#[tokio::test]
async fn a_checkpoint_holds_the_batches_before_it_and_training_goes_on() {
    let server = server().await;
    let stage = Stage::plain();
    let mut training = Training::ready(&mut server.client().await, &stage).await;
    let before = training.checkpoint().await;
    assert_eq!(state_of(&before), stage.expect(0).1);
    let mut kept = std::collections::HashSet::new();
    for step in 0..3 {
        training.send_all(stage.step_requests(step, &mut kept)).await;
    }
    training.send(Request::Checkpoint(proto::wire::Checkpoint {})).await;
    training.send_all(stage.step_requests(3, &mut kept)).await;
    let (reports, _) = stage.expect(4);
    for expected in &reports[..3] {
        assert_eq!(training.report().await, *expected);
    }
    let Some(Reply::State(part)) = training.reply().await.unwrap() else { panic!("no state") };
    assert_eq!(state_of(&part.part), stage.expect(3).1);
    assert_eq!(training.report().await, reports[3]);
    training.finish().await;
}
