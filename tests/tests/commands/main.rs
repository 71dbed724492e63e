//! Every command that a document gives as an example is run, on small data under the names that it has there; or it says here why
//! it is not.

mod documents;
mod made_up;

use std::fs;
use std::path::Path;

use documents::{Document, documents};
use strata_tests::Sandbox;

/// What is not run, by what it begins with, and why.
const NOT_RUN: [(&str, &str); 23] = [
    ("cargo xtask quickstart", "installs packages and trains for minutes; it is what CI runs first"),
    ("cargo xtask test", "runs this test"),
    ("cargo xtask dist", "builds everything anew; CI runs it"),
    ("cargo build --release", "builds the programs that are run here"),
    (
        "target/release/coordinator data fetch mnist",
        "needs the network; source/tests/data_fetch.rs fetches from a server of its own",
    ),
    (
        "target/release/coordinator run configs/fsdd.toml",
        "takes the set's 3,000 recordings; tests/recordings.rs trains such a network",
    ),
    (
        "coordinator run configs/fsdd",
        "takes the set's 3,000 recordings; tests/recordings.rs trains such a network",
    ),
    ("worker --listen", "serves until it is stopped; tests/tls.rs starts such workers"),
    ("export STRATA_TLS_CA", "sets variables for the commands below it; tests/tls.rs does"),
    ("export STRATA_DATA", "sets a variable, to the folder that data sets are in here too"),
    (
        "target/release/coordinator run configs/mnist.toml --workers",
        "needs machines of these names; tests/tls.rs dials such workers",
    ),
    (
        "coordinator run configs/stl10.toml --workers",
        "needs machines of this name; tests/tls.rs dials such workers",
    ),
    ("pip install ./python", "changes the machine's Python; python/tests/test_wheel.py installs a wheel"),
    ("pip install -e", "changes the machine's Python; CI runs it"),
    ("pip install './python[sklearn]'", "changes the machine's Python; CI runs it"),
    ("STRATA_PROGRAMS=target/release pip wheel", "python/tests/test_wheel.py runs it"),
    ("pip install 'target/packed/", "needs the packed programs; a test of deployments installs it"),
    (
        "python python/examples/anomalies.py",
        "trains for minutes; its programs' commands are tested in tests/scores.rs",
    ),
    (
        "STRATA_DATA=datasets python python/examples/digits.py",
        "needs MNIST; python/examples/pictures.py does the same on digits that scikit-learn has, and is run",
    ),
    (
        "python python/examples/few_labels.py",
        "needs CIFAR-10; tests/few_labels.rs evaluates runs by few labels",
    ),
    ("python python/examples/pictures.py", "python/tests/test_examples.py runs it"),
    ("python python/examples/table.py", "python/tests/test_examples.py runs it"),
    ("curl -O", "needs the network"),
];

#[test]
fn every_command_of_the_documents_is_run_or_excused() {
    let mut excuses = Vec::new();
    for document in documents() {
        let run: Vec<&String> =
            document.commands.iter().filter(|command| !excused(command, &mut excuses)).collect();
        if !run.is_empty() {
            run_all(&document, &run);
        }
    }
    for (beginning, reason) in NOT_RUN {
        assert!(
            excuses.contains(&beginning),
            "no document has a command that begins with {beginning:?} ({reason})"
        );
    }
}

fn excused(command: &str, used: &mut Vec<&'static str>) -> bool {
    let found = NOT_RUN.iter().find(|(beginning, _)| command.starts_with(beginning));
    used.extend(found.map(|(beginning, _)| *beginning));
    found.is_some()
}

/// Runs a document's commands, one after the other, in a folder that has what they name.
fn run_all(document: &Document, commands: &[&String]) {
    let sandbox = Sandbox::new();
    made_up::write(&sandbox);
    for command in commands {
        let said = command.strip_prefix("target/release/").unwrap_or(command);
        let mut words = said.split_whitespace();
        let (program, words) = (words.next(), words.collect::<Vec<_>>());
        assert_eq!(
            program,
            Some("coordinator"),
            "{}: {command}: it is neither run nor excused",
            document.name
        );
        let small = small(&sandbox, &words);
        let words: Vec<&str> = words.iter().copied().chain(small.iter().map(String::as_str)).collect();
        let ended = sandbox.start("coordinator", &words).end();
        assert!(ended.status.success(), "{}: {command}: {}", document.name, ended.errors);
    }
}

fn is_config(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|ending| ending == "toml")
}

/// Words that make what a command trains small: few units, one epoch, batches that few samples fill.
fn small(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    const TRAIN: [&str; 3] = ["run", "baseline", "plan"];
    let Some(config) = words.iter().find(|word| is_config(word)) else { return Vec::new() };
    if !TRAIN.contains(&words[0]) {
        return Vec::new();
    }
    let text = fs::read_to_string(sandbox.path(config)).unwrap_or_else(|error| panic!("{config}: {error}"));
    let parsed: toml::Table = text.parse().unwrap_or_else(|error| panic!("{config}: {error}"));
    let mut keys = vec!["training.batch=20".to_owned()];
    let has = |table: &str, key: &str| parsed.get(table).is_some_and(|table| table.get(key).is_some());
    keys.extend(has("data", "samples").then(|| "data.samples=60".to_owned()));
    keys.extend(has("training", "block").then(|| "training.block=8".to_owned()));
    keys.extend(has("readout", "epochs").then(|| "readout.epochs=1".to_owned()));
    let layers = parsed["layers"].as_array().expect("layers");
    for (index, layer) in layers.iter().enumerate() {
        let of = [("epochs", 1), ("units", 16), ("hidden", 16), ("block", 8)];
        let given = of.iter().filter(|(key, _)| layer.get(key).is_some());
        keys.extend(given.map(|(key, value)| format!("layers.{index}.{key}={value}")));
    }
    keys.into_iter().flat_map(|key| ["--set".to_owned(), key]).collect()
}
