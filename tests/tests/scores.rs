//! Anomaly scores: what is unlike the training data scores higher, on any machine alike, and without the data from then on.

use std::fs;
use std::path::Path;

use strata_tests::{Sandbox, random};

/// Each method, and the share of pairs that it puts in the right order at least, for networks of a few channels and two epochs.
const METHODS: [(&str, f64); 4] =
    [("mahalanobis", 0.65), ("neighbours", 0.7), ("goodness", 0.6), ("partners", 0.6)];

/// The score of each line of a table.
fn scores(path: &Path) -> Vec<f64> {
    let text = fs::read_to_string(path).expect("a table");
    assert!(text.starts_with("name,score\n"), "{text}");
    text.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().expect("a score")).collect()
}

/// The share of pairs of which the second is above the first.
fn share_above(usual: &[f64], unusual: &[f64]) -> f64 {
    let above = usual.iter().flat_map(|usual| unusual.iter().map(move |unusual| unusual > usual));
    above.filter(|above| *above).count() as f64 / (usual.len() * unusual.len()) as f64
}

/// Images in the BMP format with a cross of its own place in each, unlike anything in the data set.
fn write_crosses(folder: &Path, count: usize) {
    fs::create_dir_all(folder).expect("a new folder");
    let mut random = random(5);
    for index in 0..count {
        let (row, column) = (random(28) as usize, random(28) as usize);
        let mut file =
            [b"BM", &(54 + 28 * 84_u32).to_le_bytes()[..], &[0; 4], &54_u32.to_le_bytes()].concat();
        file.extend([40_u32, 28, 28].map(u32::to_le_bytes).as_flattened());
        file.extend([1_u16, 24].map(u16::to_le_bytes).as_flattened());
        file.extend([0_u32, 28 * 84, 0, 0, 0, 0].map(u32::to_le_bytes).as_flattened());
        let lit = |pixel: usize| pixel / 28 == row || pixel % 28 == column;
        file.extend((0..28 * 28).flat_map(|pixel| [if lit(pixel) { 255 } else { 0 }; 3]));
        fs::write(folder.join(format!("{index:03}.bmp")), file).expect("a new file");
    }
}

#[test]
fn what_is_unlike_the_training_data_scores_higher_and_later_scores_need_no_data() {
    for sandbox in [Sandbox::new(), Sandbox::of_convolutions()] {
        let few = ["--set", "layers.0.epochs=2", "--set", "layers.1.epochs=2", "--set", "layers.2.epochs=2"];
        sandbox.run("run", &[&few[..], &["--threads", "1"]].concat());
        write_crosses(&sandbox.path("crosses"), 50);
        for (method, least) in METHODS {
            let score = |input: &str, out: &str, words: &[&str]| {
                let out = format!("{method}-{out}.csv");
                let command = ["score", "run", input, "--method", method, "--out", &out, "--threads", "1"];
                sandbox.start("coordinator", &[&command[..], words].concat()).end().expect_success();
                sandbox.path(&out)
            };
            let usual = scores(&score("mnist:test", "usual", &[]));
            assert_eq!(usual.len(), 200);
            // From here on the data set is not needed.
            let moved = sandbox.path("data/elsewhere");
            fs::rename(sandbox.path("data/mnist"), &moved).unwrap();
            let unusual = score("crosses", "unusual", &[]);
            let again = score("crosses", "again", &["--local", "2"]);
            fs::rename(&moved, sandbox.path("data/mnist")).unwrap();
            assert_eq!(fs::read(&again).unwrap(), fs::read(&unusual).unwrap(), "{method}");
            let share = share_above(&usual, &scores(&unusual));
            assert!(share > least, "{method}: {share}");
            // Of other layers, other statistics.
            let of_first = score("mnist:test", "first", &["--layers", "0"]);
            assert!(scores(&of_first) != usual, "{method}");
        }
    }
}

#[test]
fn goodness_of_recurrent_layers_is_refused() {
    let sandbox = Sandbox::of_recordings();
    let few = ["--set", "layers.0.epochs=1", "--set", "layers.1.epochs=1", "--threads", "1"];
    sandbox.run("run", &few);
    let score = |method: &str, out: &str| {
        let words = ["score", "run", "fsdd:test", "--method", method, "--out", out, "--threads", "1"];
        sandbox.start("coordinator", &words).end()
    };
    score("goodness", "out.csv")
        .expect_error(&["goodness is computed of dense and convolutional layers, not of recurrent ones"]);
    assert!(!sandbox.path("out.csv").exists());
}
