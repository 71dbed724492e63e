//! Logs for programs: every line on standard error is one JSON object, with run, layer and worker.

use serde_json::Value;
use strata_tests::{Sandbox, reference, weights};

const JSON: [&str; 2] = ["--log-format", "json"];

/// The lines, all of which must be objects that say when, how bad and what.
fn objects(errors: &str) -> Vec<Value> {
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for field in ["time", "level", "message"] {
            assert!(value[field].is_string(), "{field} in {line}");
        }
        value
    };
    assert!(!errors.is_empty());
    errors.lines().map(object).collect()
}

fn of_event<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    let found: Vec<&Value> = objects.iter().filter(|object| object["event"] == event).collect();
    assert!(!found.is_empty(), "no {event} in {objects:#?}");
    found
}

#[test]
fn every_line_of_a_run_and_its_workers_is_one_object_with_run_layer_and_worker() {
    let sandbox = Sandbox::new();
    let workers = [(); 2].map(|()| sandbox.worker(&[&["--threads", "1"], &JSON[..]].concat()));
    let both = workers.each_ref().map(|worker| worker.address.as_str()).join(",");
    let ended = sandbox.start_run("run", &[&["--workers", &both], &JSON[..]].concat()).end();
    ended.expect_success();
    let summary = sandbox.run_dir("run").summary();
    assert_eq!(weights(&summary), weights(&reference().summary));
    let run: Value = serde_json::from_slice(&sandbox.run_dir("run").read("run.json")).unwrap();
    let said = objects(&ended.errors);
    assert!(said.iter().all(|object| object["run"] == run["id"] || object["event"].is_null()), "{said:#?}");
    for (layer, started) in of_event(&said, "layer_started").into_iter().enumerate() {
        assert_eq!((&started["layer"], &started["from"]), (&layer.into(), &0.into()), "{started}");
        assert_eq!(started["name"], summary["layers"][layer]["name"]);
        assert!(workers.iter().all(|worker| started["workers"].as_str().unwrap().contains(&worker.address)));
    }
    for (layer, frozen) in of_event(&said, "layer_frozen").into_iter().enumerate() {
        assert_eq!(frozen["weights_sha256"], summary["layers"][layer]["weights_sha256"]);
    }
    assert!(of_event(&said, "report").iter().all(|report| report["loss"].is_f64()));
    assert!(of_event(&said, "checkpoint")[0]["step"].as_u64().unwrap() > 0);
    assert_eq!(of_event(&said, "finished")[0]["weights_sha256"], weights(&summary));
    for worker in &workers {
        let said = objects(&worker.process.errors());
        assert!(said.iter().all(|object| object["worker"] == worker.address.as_str()), "{said:#?}");
        let begins: Vec<_> = said.iter().filter(|object| object["message"] == "training begins").collect();
        assert_eq!(begins.len(), 3, "{said:#?}");
        for (layer, begins) in begins.into_iter().enumerate() {
            assert_eq!((&begins["run"], &begins["layer"]), (&run["id"], &layer.into()), "{begins}");
            assert_eq!(begins["name"], summary["layers"][layer]["name"]);
            assert!(begins["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{begins}");
        }
    }
}

#[test]
fn local_workers_log_like_their_coordinator_which_the_environment_may_say() {
    let sandbox = Sandbox::new();
    let script = "export STRATA_LOG_FORMAT=json RUST_LOG=info && exec \"$@\"";
    let words = ["--local", "1", "--threads", "1", "--set", "layers.0.lr=1e20"];
    let ended = sandbox.start_run_in_shell(script, "run", &words).end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
    let said = objects(&ended.errors);
    let of_the_worker: Vec<_> = said.iter().filter(|object| object["worker"].is_string()).collect();
    assert!(of_the_worker.iter().any(|object| object["message"] == "training begins"), "{said:#?}");
    let refused = of_the_worker.iter().find(|object| object["level"] == "warn").expect("a warning");
    assert_eq!((&refused["layer"], &refused["name"]), (&0.into(), &"dense1".into()), "{refused}");
    let errors: Vec<_> = said.iter().filter(|object| object["level"] == "error").collect();
    assert_eq!(errors.len(), 1, "{said:#?}");
    assert!(errors[0]["message"].as_str().unwrap().contains("try a lower layers.0.lr"), "{errors:?}");
}

#[test]
fn a_worker_that_does_not_start_says_so_in_an_object_too() {
    let sandbox = Sandbox::new();
    let ended = sandbox.start("worker", &[&["--listen", "0.0.0.0:0"], &JSON[..]].concat()).end();
    assert_eq!(ended.status.code(), Some(1));
    let said = objects(&ended.errors);
    assert_eq!(said.len(), 1);
    assert!(said[0]["message"].as_str().unwrap().contains("--insecure"), "{said:?}");
}

#[test]
fn lines_for_people_say_run_and_layer_too() {
    let sandbox = Sandbox::new();
    let worker = sandbox.worker(&["--threads", "1"]);
    sandbox.run("run", &["--workers", &worker.address]);
    let run: Value = serde_json::from_slice(&sandbox.run_dir("run").read("run.json")).unwrap();
    let errors = worker.process.errors();
    let begins: Vec<&str> = errors.lines().filter(|line| line.contains("training begins")).collect();
    let of_the_first = format!("run={} layer=0 name=\"dense1\"", run["id"].as_str().unwrap());
    assert!(begins[0].contains(&of_the_first), "{begins:?}");
}
