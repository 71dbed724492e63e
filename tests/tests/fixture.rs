//! What the other tests rely on.

#![expect(clippy::disallowed_methods, reason = "tests have deadlines and threads of their own")]

use std::sync::mpsc;

use strata_tests::{Sandbox, until};

#[test]
fn a_test_that_panics_leaves_no_process_behind() {
    let (send, receive) = mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let sandbox = Sandbox::new();
        let process = sandbox.start_run("run", &["--local", "2", "--set", "layers.0.epochs=10000"]);
        let children = until("two local workers", || Some(process.children()).filter(|all| all.len() == 2));
        let worker = sandbox.worker(&[]);
        send.send([vec![process.pid(), worker.process.pid()], children].concat()).unwrap();
        panic!("as a failing test does");
    });
    let processes = receive.recv().unwrap();
    assert_eq!(processes.len(), 4);
    assert!(panicked.join().is_err());
    until("the end of all processes", || {
        (!processes.iter().any(|process| process.is_running())).then_some(())
    });
}
