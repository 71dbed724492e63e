//! `cargo xtask baselines`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::statistics::mean_and_deviation;
use crate::{packages, shell};

/// The table stands between these lines of the page.
const MARKS: [&str; 2] = ["<!-- table: begins -->\n", "<!-- table: ends -->\n"];

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run only these, as CONFIG or CONFIG/METHOD, such as mnist/back-propagation. Without any the table is made of what is there.
    #[arg(value_name = "CONFIG[/METHOD]")]
    wanted: Vec<String>,
    /// One run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
}

/// Networks, and what they are called in the table.
const NETWORKS: [(&str, &str); 4] = [
    ("fsdd-best", "FSDD, official split"),
    ("mnist", "MNIST"),
    ("cifar10-tiny", "CIFAR-10, 5,000 images"),
    ("cifar10", "CIFAR-10"),
];

/// A way of learning: its name in files and on the command line, its words in the table, and how it is started.
struct Method {
    name: &'static str,
    words: &'static str,
    kind: Kind,
}

enum Kind {
    /// A run, which is no baseline.
    Run,
    /// On workers.
    OnWorkers,
    /// In one process, for so many epochs of each network, at this rate.
    Learning { epochs: [u32; NETWORKS.len()], lr: &'static str },
}

const METHODS: [Method; 5] = [
    Method { name: "random", words: "random weights", kind: Kind::OnWorkers },
    Method {
        name: "forward-forward",
        words: "original Forward-Forward",
        kind: Kind::Learning { epochs: [0, 10, 0, 0], lr: "0.001" },
    },
    Method { name: "scff", words: "SCFF", kind: Kind::Run },
    Method {
        name: "fine-tuning",
        words: "SCFF, then back-propagation",
        kind: Kind::Learning { epochs: [2, 3, 5, 1], lr: "0.0003" },
    },
    Method {
        name: "back-propagation",
        words: "back-propagation",
        kind: Kind::Learning { epochs: [2, 10, 20, 2], lr: "0.001" },
    },
];

/// A network and a way of learning.
struct Experiment {
    config: &'static str,
    method: &'static Method,
    command: Vec<String>,
}

impl Experiment {
    /// All there are, in the order of the table.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (place, &(config, _)) in NETWORKS.iter().enumerate() {
            for method in &METHODS {
                let file = format!("configs/{config}.toml");
                let words = match &method.kind {
                    Kind::Run => format!("run {file} --local 1"),
                    Kind::OnWorkers => format!("baseline {} {file} --local 1", method.name),
                    Kind::Learning { epochs, .. } if epochs[place] == 0 => continue,
                    Kind::Learning { epochs, lr } => {
                        format!("baseline {} {file} --epochs {} --lr {lr}", method.name, epochs[place])
                    }
                };
                let command = words.split(' ').map(str::to_owned).collect();
                all.push(Self { config, method, command });
            }
        }
        all
    }

    /// Whether it is asked for.
    fn is_among(&self, wanted: &[String]) -> bool {
        let whole = format!("{}/{}", self.config, self.method.name);
        wanted.iter().any(|wanted| *wanted == self.config || *wanted == whole)
    }

    /// The folder of docs/results in which its results are, and how their names begin; the seed follows.
    fn results(&self) -> (&'static str, String) {
        match self.method.kind {
            Kind::Run => (self.config, "seed-".to_owned()),
            _ => ("baselines", format!("{}-{}-seed", self.config, self.method.name)),
        }
    }

    /// Runs it, unless it is finished, and keeps its result.
    fn run(&self, shell: &Shell, coordinator: &Path, seed: u64) -> anyhow::Result<()> {
        let (out, result) = match self.method.kind {
            Kind::Run => (format!("runs/{}-seed{seed}", self.config), "summary.json"),
            _ => (format!("runs/{}-{}-seed{seed}", self.config, self.method.name), "baseline.json"),
        };
        let (command, set) = (&self.command, format!("seed={seed}"));
        cmd!(shell, "{coordinator} {command...} --out {out} --set {set}").run()?;
        let (folder, stem) = self.results();
        let from = shell::root().join(out).join(result);
        let to = results().join(folder);
        fs::create_dir_all(&to)?;
        fs::copy(&from, to.join(format!("{stem}{seed}.json"))).with_context(|| from.display().to_string())?;
        Ok(())
    }

    /// The results that there are, by their seeds.
    fn outcomes(&self) -> anyhow::Result<BTreeMap<u64, Outcome>> {
        let (folder, stem) = self.results();
        let mut found = BTreeMap::new();
        let Ok(entries) = fs::read_dir(results().join(folder)) else { return Ok(found) };
        for entry in entries {
            let file = entry?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let seed = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(".json"));
            let Some(seed) = seed.and_then(|seed| seed.parse().ok()) else { continue };
            let outcome = serde_json::from_str(&fs::read_to_string(&file)?);
            found.insert(seed, outcome.with_context(|| file.display().to_string())?);
        }
        Ok(found)
    }
}

fn results() -> PathBuf {
    shell::root().join("docs/results")
}

fn page() -> PathBuf {
    results().join("baselines.md")
}

/// What the table says of one seed: `baseline.json`, or the same of `summary.json`.
#[derive(Debug, Deserialize)]
struct Outcome {
    seconds: f64,
    #[serde(flatten)]
    own: Option<Accuracies>,
    readout: Option<Accuracies>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Accuracies {
    train_accuracy: f64,
    test_accuracy: f64,
}

impl Outcome {
    fn accuracies(&self) -> anyhow::Result<Accuracies> {
        self.own.or(self.readout).context("neither accuracies nor a readout that has some")
    }
}

/// Runs what is wanted (what is finished is used again), and writes the table of all that there is.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { wanted, seeds } = arguments;
    let all = Experiment::all();
    for one in wanted {
        ensure!(
            all.iter().any(|experiment| experiment.is_among(std::slice::from_ref(one))),
            "{one}: expected a network or network/method such as mnist or mnist/random"
        );
    }
    if !wanted.is_empty() {
        let shell = shell::open()?;
        packages::for_building(&shell)?;
        let coordinator = shell::build_release(&shell)?;
        for seed in seeds {
            for experiment in all.iter().filter(|experiment| experiment.is_among(wanted)) {
                experiment.run(&shell, &coordinator, *seed)?;
            }
        }
    }
    let page = page();
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let replaced = replaced(&text, &table(&all)?)
        .with_context(|| format!("{}: expected the lines {MARKS:?}", page.display()))?;
    fs::write(&page, replaced)?;
    println!("{}", page.display());
    Ok(())
}

/// The page with this table in it.
fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n{table}\n{}{after}", MARKS[0], MARKS[1]))
}

/// A row for each experiment of which there is a result.
fn table(all: &[Experiment]) -> anyhow::Result<String> {
    let mut text = "| data | method | test accuracy | training accuracy | seeds | seconds | command |\n\
                    | --- | --- | ---: | ---: | --- | ---: | --- |\n"
        .to_owned();
    let mut last = "";
    for experiment in all {
        let found = experiment.outcomes()?;
        if found.is_empty() {
            continue;
        }
        let (_, data) =
            NETWORKS.iter().find(|(config, _)| *config == experiment.config).expect("one of them");
        let accuracies: Vec<_> = found.values().map(Outcome::accuracies).collect::<Result<_, _>>()?;
        let percent = |of: fn(&Accuracies) -> f64| {
            mean_and_deviation(&accuracies.iter().map(|one| 100.0 * of(one)).collect::<Vec<_>>())
        };
        let seeds: Vec<_> = found.keys().map(u64::to_string).collect();
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | `coordinator {} --set seed=SEED` |",
            if *data == last { "" } else { data },
            experiment.method.words,
            percent(|one| one.test_accuracy),
            percent(|one| one.train_accuracy),
            seeds.join(", "),
            span(found.values().map(|one| one.seconds)),
            experiment.command.join(" "),
        )
        .expect("text");
        last = data;
    }
    Ok(text)
}

/// From the least to the most, in whole seconds.
fn span(seconds: impl Iterator<Item = f64> + Clone) -> String {
    let least = seconds.clone().fold(f64::INFINITY, f64::min).round();
    let most = seconds.fold(0.0, f64::max).round();
    if least < most { format!("{least} to {most}") } else { most.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_that_of_the_committed_results() {
        let page = fs::read_to_string(page()).unwrap();
        let table = table(&Experiment::all()).unwrap();
        assert_eq!(replaced(&page, &table).unwrap(), page, "run `cargo xtask baselines`");
    }

    #[test]
    fn every_committed_result_is_in_the_table() {
        let all = Experiment::all();
        for entry in fs::read_dir(results().join("baselines")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(all.iter().any(|experiment| name.starts_with(&experiment.results().1)), "{name}");
        }
    }

    #[test]
    fn a_span_of_one_is_a_number() {
        assert_eq!(span([3.4, 2.6, 3.0].into_iter()), "3");
        assert_eq!(span([6.2, 7.4].into_iter()), "6 to 7");
    }
}
