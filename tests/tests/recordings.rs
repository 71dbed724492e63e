//! Recordings: what a run says of a folder of WAV files.

use std::fs;

use strata_tests::{Sandbox, data};

/// What the configuration says of the folder.
const FOLDER: [&str; 8] = [
    "--set",
    "data.name=wav-folder",
    "--set",
    "data.folder=spoken",
    "--set",
    "data.views=1",
    "--set",
    "data.translation=0",
];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    data::write_spoken(&sandbox.path("data/spoken"));
    sandbox
}

#[test]
fn a_broken_recording_ends_a_run_with_one_line_that_names_it() {
    let sandbox = sandbox();
    let broken = sandbox.path("data/spoken/one/bob_3.wav");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..1_000]).unwrap();
    let ended = sandbox.start_run("run", &FOLDER).end();
    ended.expect_error(&["spoken/one/bob_3.wav: found a file that ends after 478 samples, expected "]);
    assert!(!sandbox.path("run").exists(), "nothing has begun");
}

#[test]
fn a_speaker_who_is_not_there_is_answered_with_those_who_are() {
    let sandbox = sandbox();
    let by_speaker = ["--set", "data.split=speakers", "--set", "data.test_speakers=[\"dora\"]"];
    let ended = sandbox.start_run("run", &[&FOLDER[..], &by_speaker].concat()).end();
    ended.expect_error(&["the test speaker \"dora\": expected one of ann, bob, cleo"]);
}

#[test]
fn layers_that_read_rows_of_one_length_are_refused_on_sequences() {
    let ended = sandbox().start_run("run", &FOLDER).end();
    ended.expect_error(&["layers[0].kind = dense: expected a kind that reads sequences"]);
}
