//! A configuration for one's own data, from a look at them.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;
use strata_tests::Sandbox;

const SAMPLES: usize = 160;

#[test]
fn images_without_labels_are_looked_at_and_trained_on_as_they_are() {
    let sandbox = Sandbox::new();
    sandbox.write_images("digits", SAMPLES, false);
    let init = || sandbox.start("coordinator", &["init", "digits"]).end();
    let ended = init();
    ended.expect_success();
    for fact in ["160 grey images, 28 x 28 pixels", "no labels", "mean", "digits.toml: written"] {
        assert!(ended.output.contains(fact), "{fact}: {}", ended.output);
    }
    let written = fs::read_to_string(sandbox.path("digits.toml")).unwrap();
    assert!(written.contains("path = \"digits\"") && !written.contains("[readout]"), "{written}");
    init().expect_error(&["digits.toml: exists already", "--out"]);
    assert_eq!(fs::read_to_string(sandbox.path("digits.toml")).unwrap(), written, "nothing is overwritten");
    let words =
        ["run", "digits.toml", "--out", "run", "--set", "layers.0.epochs=1", "--set", "layers.1.epochs=1"];
    sandbox.start("coordinator", &words).end().expect_success();
    assert!(sandbox.run_dir("run").summary()["without_labels"]["layers"][0]["effective_rank"].is_number());
}

#[test]
fn folders_of_images_are_classes_whose_readout_is_configured() {
    let sandbox = Sandbox::new();
    sandbox.write_images("elsewhere/digits", SAMPLES, true);
    let words = ["init", "elsewhere/digits", "--out", "mine.toml", "--set", "data.images.height=14"];
    let words = [&words[..], &["--set", "data.images.width=14"]].concat();
    let ended = sandbox.start("coordinator", &words).end();
    ended.expect_success();
    assert!(ended.output.contains("10 classes: 0: 16, 1: 16"), "{}", ended.output);
    assert!(ended.output.contains("14 x 14 pixels"), "{}", ended.output);
    let run = ["run", "mine.toml", "--out", "run", "--json"];
    let ended = sandbox.start("coordinator", &run).end();
    ended.expect_success();
    let summary: Value = serde_json::from_str(&ended.output).unwrap();
    let accuracy = summary["readout"]["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.3, "far better than chance: {accuracy}");
}

#[test]
fn a_table_is_trained_on_by_dense_layers_and_its_column_of_labels_is_told() {
    let sandbox = Sandbox::new();
    let mut table = "length,width,kind\n".to_owned();
    for row in 0..120 {
        let (kind, side) = if row % 2 == 0 { ("rose", 1.0) } else { ("tulip", 3.0) };
        let off = f64::from(row * 37 % 11) / 10.0;
        writeln!(table, "{},{},{kind}", side + off, 4.0 - side + off / 2.0).unwrap();
    }
    fs::write(sandbox.path("flowers.csv"), table).unwrap();
    let words = ["init", "flowers.csv", "--set", "data.table.label=kind"];
    let ended = sandbox.start("coordinator", &words).end();
    ended.expect_success();
    for fact in
        ["120 rows of 2 numbers", "2 classes: rose: 60, tulip: 60", "length: mean", "flowers.toml: written"]
    {
        assert!(ended.output.contains(fact), "{fact}: {}", ended.output);
    }
    let ended = sandbox.start("coordinator", &["run", "flowers.toml", "--out", "run", "--json"]).end();
    ended.expect_success();
    let summary: Value = serde_json::from_str(&ended.output).unwrap();
    assert!(summary["readout"]["test_accuracy"].as_f64().unwrap() > 0.8, "{}", summary["readout"]);
}

#[test]
fn what_cannot_be_looked_at_is_an_error_with_its_name_and_no_file_is_left() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.start("coordinator", &["init", "empty"]).end().expect_error(&["empty", "none is called"]);
    assert!(!sandbox.path("empty.toml").exists());
    let wrong = sandbox.start("coordinator", &["init", "empty", "--set", "seed=2"]).end();
    wrong.expect_error(&["--set seed=2", "a key of the data"]);
}

/// Trains what was written for one epoch, and returns its summary.
fn trained(sandbox: &Sandbox, config: &str, words: &[&str]) -> Value {
    let run = ["run", config, "--out", "run", "--json", "--set", "layers.0.epochs=1"];
    let ended = sandbox.start("coordinator", &[&run[..], words].concat()).end();
    ended.expect_success();
    serde_json::from_str(&ended.output).unwrap()
}

#[test]
fn recordings_are_sequences_for_a_recurrent_layer() {
    let sandbox = Sandbox::of_recordings();
    let ended = sandbox.start("coordinator", &["init", "data/spoken"]).end();
    ended.expect_success();
    for fact in
        ["96 sequences of", "frames on average", "4 classes: four: 24, one: 24", "spoken.toml: written"]
    {
        assert!(ended.output.contains(fact), "{fact}: {}", ended.output);
    }
    let written = fs::read_to_string(sandbox.path("spoken.toml")).unwrap();
    assert!(written.contains("kind = \"birnn\""), "{written}");
    let summary = trained(&sandbox, "spoken.toml", &["--set", "layers.0.hidden=16"]);
    assert!(summary["readout"]["test_accuracy"].is_number(), "{summary}");
}

#[test]
fn coloured_images_in_folders_are_classes_of_three_channels() {
    let sandbox = Sandbox::new();
    for (class, tone) in [("automobile", 40), ("horse", 160)] {
        fs::create_dir_all(sandbox.path("cifar").join(class)).unwrap();
        for index in 0..30_u32 {
            let pixel = |x, y| [tone, ((x * 7 + y * index) % 90) as u8, ((y * 5 + index) % 70) as u8].into();
            let image = image::RgbImage::from_fn(32, 32, pixel);
            image.save(sandbox.path("cifar").join(class).join(format!("{index:02}.png"))).unwrap();
        }
    }
    let ended = sandbox.start("coordinator", &["init", "cifar"]).end();
    ended.expect_success();
    for fact in
        ["60 colour images, 32 x 32 pixels", "2 classes: automobile: 30, horse: 30", "channel 2: mean"]
    {
        assert!(ended.output.contains(fact), "{fact}: {}", ended.output);
    }
    let written = fs::read_to_string(sandbox.path("cifar.toml")).unwrap();
    assert!(written.contains("kind = \"conv\""), "{written}");
    let small = ["--set", "layers.1.epochs=1", "--set", "layers.0.units=8", "--set", "layers.1.units=8"];
    let small = [&small[..], &["--set", "layers.0.block=8", "--set", "layers.1.block=8"]].concat();
    let summary = trained(&sandbox, "cifar.toml", &small);
    assert!(summary["readout"]["test_accuracy"].is_number(), "{summary}");
}

#[test]
fn a_parquet_table_that_predict_has_written_is_a_table_like_others() {
    let sandbox = Sandbox::new();
    let few = ["--set", "layers.0.epochs=1", "--set", "layers.1.epochs=1", "--set", "layers.2.epochs=1"];
    sandbox.run("first", &few);
    let words = ["predict", "first", "mnist:test", "--out", "predicted.parquet"];
    sandbox.start("coordinator", &words).end().expect_success();
    let ended =
        sandbox.start("coordinator", &["init", "predicted.parquet", "--set", "data.table.name=name"]).end();
    ended.expect_success();
    for fact in ["200 rows of 10 numbers", "p_0: mean", "predicted.toml: written"] {
        assert!(ended.output.contains(fact), "{fact}: {}", ended.output);
    }
    let summary = trained(&sandbox, "predicted.toml", &[]);
    assert!(summary["readout"]["test_accuracy"].is_number(), "{summary}");
}
