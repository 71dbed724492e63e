//! Features and predictions of any samples: in order, alike whoever computes them, in memory that does not grow with them.

use std::fs;
use std::path::Path;

use strata_tests::{Ended, FEW_EPOCHS, Process, Sandbox, reference, until, write_bitmaps};

fn coordinator(sandbox: &Sandbox, words: &[&str]) -> Ended {
    sandbox.start("coordinator", &[words, &["--threads", "1"]].concat()).end()
}

/// The numbers of a NumPy array in single precision, and the last of its lengths.
fn numbers(path: &Path) -> (Vec<f32>, usize) {
    let bytes = fs::read(path).expect("an array");
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{}", path.display());
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, data) = bytes[10..].split_at(header);
    let header = String::from_utf8_lossy(header);
    assert!(header.contains("'<f4'"), "{header}");
    let shape =
        header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let width = shape.rsplit(',').find_map(|length| length.trim().parse().ok()).expect("a length");
    (data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), width)
}

/// The lines of a CSV file without quotes, each as its fields.
fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).expect("a table");
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn features_are_alike_in_all_formats_and_on_any_number_of_workers() {
    for sandbox in [Sandbox::new(), Sandbox::of_convolutions()] {
        sandbox.run("run", &FEW_EPOCHS);
        let features = |out: &str, words: &[&str]| {
            let words = [&["features", "run", "mnist:test", "--out", out], words].concat();
            coordinator(&sandbox, &words).expect_success();
            sandbox.path(out)
        };
        let alone = features("one.npy", &[]);
        let array = fs::read(&alone).unwrap();
        assert_eq!(fs::read(features("two.npy", &["--local", "2"])).unwrap(), array);
        let (all, width) = numbers(&alone);
        assert_eq!(all.len(), 200 * width);
        let archive = fs::read(features("features.npz", &["--local", "2"])).unwrap();
        assert!(archive.windows(array.len()).any(|part| part == array), "the array is in the archive");
        let table = lines(&features("features.csv", &[]));
        assert_eq!(table.len(), 201);
        assert_eq!(table[0][..3], ["name", "label", "features_0"]);
        assert_eq!(table[18][..2], ["17", "7"]);
        let row: Vec<f32> = table[18][2..].iter().map(|field| field.parse().unwrap()).collect();
        assert_eq!(row, all[17 * width..18 * width]);
        let parquet = fs::read(features("features.parquet", &[])).unwrap();
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
        let (first, narrow) = numbers(&features("first.npy", &["--layers", "0"]));
        assert!(narrow < width && first[..narrow] == all[..narrow]);
    }
}

/// Waits until something of the file `part` is written.
fn at_work(process: &mut Process, part: &Path, bytes: u64) {
    until("the first features", || {
        assert!(process.is_running(), "it ended early: {:?}", process.end());
        fs::metadata(part).is_ok_and(|file| file.len() > bytes).then_some(())
    });
}

#[test]
fn a_worker_killed_meanwhile_costs_time_and_nothing_else() {
    let sandbox = Sandbox::of_convolutions();
    sandbox.run("run", &FEW_EPOCHS);
    sandbox.write_samples(20_000);
    let words = |out| ["features", "run", "mnist:train", "--out", out, "--threads", "1"];
    sandbox.start("coordinator", &words("undisturbed.npy")).end().expect_success();
    let undisturbed = fs::read(sandbox.path("undisturbed.npy")).unwrap();
    // One that is started again, and one that is lost for good.
    let mut local = sandbox.start("coordinator", &[&words("local.npy")[..], &["--local", "2"]].concat());
    at_work(&mut local, &sandbox.path("local.npy.part"), undisturbed.len() as u64 / 20);
    local.children()[1].kill();
    let [one, mut two] = [(); 2].map(|()| sandbox.worker(&["--threads", "1"]));
    let both = format!("{},{}", one.address, two.address);
    let mut running =
        sandbox.start("coordinator", &[&words("running.npy")[..], &["--workers", &both]].concat());
    at_work(&mut running, &sandbox.path("running.npy.part"), undisturbed.len() as u64 / 20);
    two.process.kill();
    for (mut process, out) in [(local, "local.npy"), (running, "running.npy")] {
        let ended = process.end();
        ended.expect_success();
        assert!(ended.errors.contains("; going on from sample "), "{}", ended.errors);
        assert!(fs::read(sandbox.path(out)).unwrap() == undisturbed, "{out} is another");
        assert!(!sandbox.path(&format!("{out}.part")).exists());
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_samples() {
    let sandbox = Sandbox::new();
    sandbox.run("run", &FEW_EPOCHS);
    let peak = |folder: &str, count: usize, command: &str, out: &str| {
        write_bitmaps(&sandbox.path(folder), count);
        let mut process =
            sandbox.start("coordinator", &[command, "run", folder, "--out", out, "--threads", "1"]);
        let mut peak = 0;
        until("the end", || {
            peak = process.peak_rss_bytes_so_far().unwrap_or(0).max(peak);
            (!process.is_running()).then_some(())
        });
        process.end().expect_success();
        peak
    };
    for (command, ending) in [("features", "npz"), ("predict", "csv")] {
        let few = peak("few", 8_000, command, &format!("few.{ending}"));
        let many = peak("many", 32_000, command, &format!("many.{ending}"));
        // The samples that are more have 24,000 * 3,136 bytes, 75 MB; their features another 23 MB.
        assert!(many < few + (12 << 20), "{command}: {few} bytes for few, {many} for many");
    }
    assert_eq!(lines(&sandbox.path("many.csv"))[32_000][0], "31999.bmp");
}

#[test]
fn predictions_are_those_of_the_runs_readout() {
    let sandbox = Sandbox::new();
    let run = reference().run.0.to_str().unwrap().to_owned();
    let ended = coordinator(&sandbox, &["predict", &run, "mnist:test", "--out", "predicted.csv"]);
    ended.expect_success();
    let table = lines(&sandbox.path("predicted.csv"));
    assert_eq!((table.len(), &table[0][..3]), (201, &["name", "label", "p_0"].map(str::to_owned)[..]));
    let mut right = 0;
    for (index, row) in table[1..].iter().enumerate() {
        let probabilities: Vec<f64> = row[2..].iter().map(|field| field.parse().unwrap()).collect();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        assert!(probabilities[row[1].parse::<usize>().unwrap()] >= most, "{row:?}");
        right += usize::from(row[1] == (index % 10).to_string());
    }
    assert!(ended.output.contains(&format!("{right} of which")), "{}", ended.output);
    // Activations of the run were in half precision.
    let accuracy = reference().summary["readout"]["test_accuracy"].as_f64().unwrap();
    assert!((right as f64 / 200.0 - accuracy).abs() < 0.015, "{right} of 200, {accuracy}");
}

#[test]
fn what_cannot_be_done_is_refused_by_name_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.run("run", &FEW_EPOCHS);
    fs::write(sandbox.path("there.npy"), "mine").unwrap();
    write_bitmaps(&sandbox.path("broken"), 3);
    fs::write(sandbox.path("broken/00001.bmp"), "no image").unwrap();
    for (input, out, words, facts) in [
        ("mnist:test", "there.npy", &[][..], &["there.npy", "there already"][..]),
        ("mnist:test", "out.txt", &[], &["out.txt", "*.npz, *.npy, *.csv, *.parquet"]),
        ("mnist:test", "out.npy", &["--layers", "3"], &["layer 3", "indices below 3"]),
        ("nowhere", "out.npy", &[], &["nowhere", "a file or a folder"]),
        ("broken", "out.npy", &[], &["broken/00001.bmp", "a PNG, JPEG, WebP or BMP image"]),
    ] {
        let words = [&["features", "run", input, "--out", out], words].concat();
        coordinator(&sandbox, &words).expect_error(facts);
        assert!(!sandbox.path("out.npy").exists() && !sandbox.path("out.npy.part").exists(), "{input}");
    }
    assert_eq!(fs::read(sandbox.path("there.npy")).unwrap(), b"mine");
    fs::remove_file(sandbox.path("run/readout.safetensors")).unwrap();
    coordinator(&sandbox, &["predict", "run", "mnist:test", "--out", "out.csv"])
        .expect_error(&["run: the run has no readout that could predict"]);
    fs::remove_file(sandbox.path("run/input.json")).unwrap();
    coordinator(&sandbox, &["features", "run", "mnist:test", "--out", "out.npy"])
        .expect_error(&["run: found no input.json"]);
}
