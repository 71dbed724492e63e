//! What programs show to whoever watches them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::str::FromStr;

use strata_tests::{Process, Sandbox, until};

/// Where a process says that it shows its metrics.
fn metrics_address(process: &Process) -> String {
    until("the address of metrics", || {
        let errors = process.errors();
        let (_, rest) = errors.split_once("metrics on http://")?;
        Some(rest.split_once("/metrics")?.0.to_owned())
    })
}

/// Status and body of what an address answers.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: strata\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The value of a metric with these labels.
fn value<T: FromStr>(metrics: &str, name: &str) -> T {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// Prometheus's own check of metrics, where it is installed.
fn check(metrics: &str) {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: promtool check metrics: it is not installed (Debian's package prometheus)");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.trim().is_empty(), "{said}\n{metrics}");
}

#[test]
fn a_run_and_its_worker_can_be_watched() {
    let sandbox = Sandbox::new();
    let metrics = ["--metrics", "127.0.0.1:0"];
    let worker = sandbox.worker(&[&["--threads", "1"], &metrics[..]].concat());
    let long = ["--workers", &worker.address, "--set", "layers.0.epochs=5000"];
    let run = sandbox.start_run("run", &[&long, &metrics[..]].concat());
    let [of_run, of_worker] = [&run, &worker.process].map(metrics_address);
    until("a ready run", || (get(&of_run, "/ready").0 == 200).then_some(()));
    let shown = until("reports and a checkpoint", || {
        let (status, shown) = get(&of_run, "/metrics");
        assert_eq!(status, 200);
        (shown.contains("strata_loss{") && value::<u64>(&shown, "strata_checkpoint_timestamp_seconds") > 0)
            .then_some(shown)
    });
    assert!(value::<u64>(&shown, "strata_layer_steps{layer=\"0\"}") > 0);
    assert_eq!(value::<u64>(&shown, "strata_layer_planned_steps{layer=\"0\"}"), 60_000);
    assert_eq!(value::<u64>(&shown, "strata_trainers{layer=\"0\"}"), 1);
    assert!(value::<f64>(&shown, "strata_samples_per_second{layer=\"0\"}") > 0.0);
    assert!(value::<u64>(&shown, "process_resident_memory_bytes") > 1_000_000);
    check(&shown);
    assert_eq!(get(&of_worker, "/live"), (200, "live\n".to_owned()));
    assert_eq!(get(&of_worker, "/ready").0, 200);
    let shown = get(&of_worker, "/metrics").1;
    let steps: u64 = value(&shown, "strata_steps_total{layer=\"0\"}");
    assert!(steps > 0);
    // Steps go on while the metrics are written.
    assert!(value::<u64>(&shown, "strata_samples_total").abs_diff(50 * steps) < 1000);
    assert_eq!(value::<u64>(&shown, "strata_training_streams"), 1);
    for kind in ["batch", "rows", "state"] {
        assert!(value::<u64>(&shown, &format!("strata_received_bytes_total{{kind=\"{kind}\"}}")) > 0);
    }
    assert!(value::<u64>(&shown, "strata_sent_bytes_total{kind=\"report\"}") > 0);
    assert!(value::<u64>(&shown, "strata_kept_bytes") > 0);
    check(&shown);
}

#[test]
fn a_run_without_workers_lives_but_is_not_ready() {
    let sandbox = Sandbox::new();
    let words = ["--workers", "127.0.0.1:1", "--wait", "50", "--metrics", "127.0.0.1:0"];
    let run = sandbox.start_run("run", &words);
    let address = metrics_address(&run);
    assert_eq!(get(&address, "/live").0, 200);
    assert_eq!(get(&address, "/ready"), (503, "not ready\n".to_owned()));
}

#[test]
fn an_address_of_metrics_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sandbox = Sandbox::new();
    let worker = sandbox.start("worker", &["--listen", "127.0.0.1:0", "--metrics", &address]).end();
    assert!(!worker.status.success() && worker.errors.contains(&format!("showing metrics on {address}")));
    sandbox.start_run("run", &["--metrics", &address]).end().expect_error(&["showing metrics on", &address]);
}
