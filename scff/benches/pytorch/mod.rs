//! The same steps in PyTorch: `steps.py` computes them, on the same numbers.

use std::fs;
use std::path::Path;
use std::process::Command;

use scff::train::TrainingStage;

use crate::cifar10::{LAYERS, SHIFTS, Subject};
use crate::measure::{THREADS, least, median};

/// A step's time in PyTorch.
pub struct Time {
    /// `official` or `fused`, and the precision.
    pub form: String,
    /// Milliseconds.
    pub median: f64,
    /// Milliseconds.
    pub best: f64,
}

/// Where nobody measures it: PyTorch 2.15 on two threads, measured beside the sgemm rate of these GF/s. Milliseconds of official steps and of
/// fused ones in f32 and bf16, of each layer.
const RECORDED_RATE: f64 = 450.0;
const RECORDED: [[f64; 3]; 3] = [[340.0, 107.0, 73.6], [677.0, 271.0, 177.0], [1850.0, 422.0, 302.0]];

impl Time {
    /// Prints how a step of ours compares.
    pub fn print_beside(&self, ours: &[f64]) {
        let Self { form, median: theirs, best } = self;
        let times = theirs / median(ours.iter().copied());
        let times_at_best = best / least(ours);
        println!(
            "  PyTorch {form:24}{theirs:24.2} ms ({best:.2} at best): {times:.2} times as long, {times_at_best:.2} at best"
        );
    }
}

impl Subject {
    /// Steps in PyTorch, from where ours begin; an error where they cannot be computed or begin with another loss.
    pub fn pytorch(&self, python: &str, repetitions: usize) -> Result<Vec<Time>, String> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pytorch");
        let error = |error: std::io::Error| format!("{python}: {error}");
        fs::create_dir_all(&folder).map_err(error)?;
        self.write(&folder).map_err(error)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pytorch/steps.py");
        let numbers = [self.number(), THREADS, repetitions].map(|number| number.to_string());
        let output = Command::new(python).arg(script).arg(&folder).args(numbers).output().map_err(error)?;
        if !output.status.success() {
            return Err(format!("{python}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        answer.lines().map(|line| self.time_of(line)).collect()
    }

    /// Which layer it is, from 1 on.
    fn number(&self) -> usize {
        1 + LAYERS.iter().position(|layer| layer.name == self.name).expect("one of them")
    }

    /// Samples and parameters, as little-endian numbers.
    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let write = |name: String, numbers: &mut dyn Iterator<Item = &f32>| {
            fs::write(folder.join(name), numbers.flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
        };
        write("samples".into(), &mut self.samples().iter())?;
        for layer in self.below().into_iter().chain([self]) {
            let parameters = layer.layer().state().parameters;
            write(format!("weight-{}", layer.number()), &mut parameters.weight().iter())?;
            write(format!("bias-{}", layer.number()), &mut parameters.bias().iter())?;
        }
        Ok(())
    }

    fn time_of(&self, line: &str) -> Result<Time, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [form, precision, median, best, loss] = words.as_slice() else {
            return Err(format!("found {line:?}, expected a form, a precision and three numbers"));
        };
        let number =
            |word: &str| word.parse::<f64>().map_err(|_| format!("found {word:?}, expected a number"));
        let (expected, loss) = (self.first_loss(), number(loss)?);
        let tolerance = if *precision == "bf16" { 1e-2 } else { 1e-4 };
        if (loss / expected - 1.0).abs() > tolerance {
            return Err(format!("{form} in {precision} begins with a loss of {loss}, ours with {expected}"));
        }
        Ok(Time { form: format!("{form} {precision}"), median: number(median)?, best: number(best)? })
    }

    /// Of the first step.
    fn first_loss(&self) -> f64 {
        let below = self.below().map(|below| below.layer().freeze().into());
        let mut stage = TrainingStage::new(below.into_iter().collect(), self.layer());
        stage.step(self.samples(), false, &SHIFTS).loss.total()
    }

    /// What was measured before.
    pub fn print_recorded(&self) {
        let [official, f32, bf16] = RECORDED[self.number() - 1];
        println!(
            "  PyTorch was not run (-- --pytorch PYTHON). Recorded on another day, beside sgemm of {RECORDED_RATE:.0} GF/s: official \
             {official:.0} ms, fused {f32:.0} ms in f32 and {bf16:.0} in bf16"
        );
    }
}
