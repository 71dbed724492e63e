//! `cargo xtask results`

use std::fmt::{Display, Write as _};
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use xshell::cmd;

use crate::statistics::mean_and_deviation;
use crate::summary::{Summary, baseline};
use crate::{packages, shell};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    config: PathBuf,
    /// One run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Override a key of the configuration, such as data.held_out=10000; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Name of runs and results [default: the configuration file's].
    #[arg(long)]
    name: Option<String>,
    /// A remark for the page.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Runs all seeds (finished ones are used again) and writes docs/results/<name>.md.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shell = shell::open()?;
    packages::for_building(&shell)?;
    let coordinator = shell::build_release(&shell)?;
    let config = std::path::absolute(&arguments.config)?;
    let stem = arguments.config.file_stem().context("the configuration file has no name")?;
    let name = arguments.name.clone().unwrap_or_else(|| stem.to_string_lossy().into_owned());
    let folder = shell::root().join("docs/results").join(&name);
    fs::create_dir_all(&folder)?;
    let mut summaries = Vec::new();
    let mut raw = None;
    for seed in &arguments.seeds {
        let out = format!("runs/{name}-seed{seed}");
        let sets = overrides(arguments, *seed);
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        cmd!(shell, "{coordinator} run {config} --local 2 --out {out} {sets...}").run()?;
        let out = shell::root().join(out);
        fs::copy(out.join("summary.json"), folder.join(format!("seed-{seed}.json")))?;
        summaries.push(Summary::read(&out)?);
        if raw.is_none() {
            raw = Some(baseline(&shell, &coordinator, &out)?);
        }
    }
    let page = folder.with_extension("md");
    fs::write(&page, describe(arguments, &name, &summaries, raw.unwrap_or(f64::NAN)))?;
    println!("{}", page.display());
    Ok(())
}

fn overrides(arguments: &Arguments, seed: impl Display) -> Vec<String> {
    arguments.set.iter().cloned().chain([format!("seed={seed}")]).collect()
}

/// The page.
fn describe(arguments: &Arguments, name: &str, runs: &[Summary], raw: f64) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let Summary { dataset, blas, cpu, workers, .. } = first;
    let sets = overrides(arguments, "SEED").join(" --set ");
    let kernel = blas.rsplit(' ').next().unwrap_or_default();
    let note = arguments.note.as_ref().map(|note| format!("{note}\n\n")).unwrap_or_default();
    format!(
        "# {name}\n\n{note}\
         Data set: {dataset}. Written by `cargo xtask results`; the summaries are in [{name}/]({name}/).\n\n    \
         coordinator run {config} --local 2 --blas-kernel {kernel} --set {sets}\n\n\
         {table}\n\
         Accuracy: {accuracy}; a linear readout of the raw input reaches {raw:.2} %.\n\
         Mean ± sample standard deviation over the seeds. {cpu}, {workers} workers, {blas}.\n",
        config = arguments.config.display(),
        table = table(runs),
        accuracy = mean_and_deviation(&percent(runs, |run| run.accuracy().1)),
        raw = 100.0 * raw,
    )
}

/// A row for each run.
fn table(runs: &[Summary]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let mut text = "| seed |".to_owned();
    for (on, _) in first.accuracies() {
        write!(text, " {on} accuracy |").expect("text");
    }
    for layer in &first.layers {
        write!(text, " {} s |", layer.name).expect("text");
    }
    text += " readout s | total s | weights_sha256 |\n|";
    text += &" ---: |".repeat(3 + first.accuracies().len() + first.layers.len());
    text += " --- |\n";
    for run in runs {
        write!(text, "| {} |", run.seed).expect("text");
        for (_, accuracy) in run.accuracies() {
            write!(text, " {:.2} % |", 100.0 * accuracy).expect("text");
        }
        let layers = run.layers.iter().map(|layer| layer.seconds);
        for seconds in layers.chain([run.readout.seconds, run.seconds]) {
            write!(text, " {seconds:.1} |").expect("text");
        }
        writeln!(text, " {:.16} |", run.weights_sha256).expect("text");
    }
    text += "| mean |";
    for place in 0..first.accuracies().len() {
        let accuracies = percent(runs, |run| run.accuracies()[place].1);
        write!(text, " {} |", mean_and_deviation(&accuracies)).expect("text");
    }
    text += &" |".repeat(3 + first.layers.len());
    text + "\n"
}

fn percent(runs: &[Summary], accuracy: impl Fn(&Summary) -> f64) -> Vec<f64> {
    runs.iter().map(|run| 100.0 * accuracy(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Layer, Readout};

    fn summary(seed: u64, accuracy: f64) -> Summary {
        Summary {
            dataset: "mnist".into(),
            seed,
            workers: 2,
            weights_sha256: "0123456789abcdef0123".into(),
            seconds: 12.34,
            layers: vec![Layer { name: "dense1".into(), seconds: 10.0 }],
            readout: Readout {
                train_accuracy: 1.0,
                test_accuracy: Some(accuracy),
                validation_accuracy: None,
                held_out_accuracy: None,
                seconds: 2.34,
            },
            blas: "OpenBLAS 0.3.21 SkylakeX".into(),
            cpu: "a processor".into(),
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_seed_and_as_many_cells_in_each() {
        let table = table(&[summary(1, 0.98), summary(2, 0.99)]);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(
            rows[0],
            "| seed | test accuracy | training accuracy | dense1 s | readout s | total s | weights_sha256 |"
        );
        assert_eq!(rows[2], "| 1 | 98.00 % | 100.00 % | 10.0 | 2.3 | 12.3 | 0123456789abcdef |");
        assert!(rows[4].starts_with("| mean | 98.50 ± 0.71 % | 100.00 ± 0.00 % |"), "{table}");
        let cells: Vec<usize> = rows.iter().map(|row| row.matches('|').count()).collect();
        assert_eq!(cells, [8; 5]);
    }

    #[test]
    fn what_is_set_aside_for_validation_has_a_column_of_its_own() {
        let validated = |seed, validation| {
            let mut summary = summary(seed, 0.86);
            summary.readout.validation_accuracy = Some(validation);
            summary
        };
        let table = table(&[validated(1, 0.88), validated(2, 0.9)]);
        assert!(
            table.starts_with("| seed | test accuracy | validation accuracy | training accuracy |"),
            "{table}"
        );
        assert!(table.contains("| 2 | 86.00 % | 90.00 % | 100.00 % |"), "{table}");
        assert!(table.contains("| mean | 86.00 ± 0.00 % | 89.00 ± 1.41 % |"), "{table}");
        assert!(table.lines().all(|row| row.matches('|').count() == 9), "{table}");
    }

    #[test]
    fn the_page_gives_the_exact_command() {
        let arguments = Arguments {
            config: "configs/mnist.toml".into(),
            seeds: vec![1],
            set: vec!["wire=f16".into()],
            name: None,
            note: Some("A remark.".into()),
        };
        let page = describe(&arguments, "mnist", &[summary(1, 0.98)], 0.92);
        assert!(
            page.contains(
                "    coordinator run configs/mnist.toml --local 2 --blas-kernel SkylakeX --set wire=f16 --set seed=SEED\n"
            ),
            "{page}"
        );
        assert!(page.contains("\nA remark.\n") && page.contains("reaches 92.00 %"), "{page}");
    }
}
