//! `coordinator plan`.

use std::path::PathBuf;

use anyhow::Context;
use bytesize::ByteSize;
use clap::Args;
use proto::machine::{Cores, Memory};
use proto::output::print;
use proto::self_test::{self, Tester};
use source::{Outline, outline};

use crate::calibration::calibrate;
use crate::config;
use crate::data_place::DataPlace;
use crate::estimate::{Estimate, Machine, Network, Numbers, Rates, Workers, table};
use crate::plan::{Plan, selection};
use crate::split::prepare;

use super::data_args::DataArgs;
use super::positive::positive;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The configuration file.
    config: PathBuf,
    /// Override a key of the configuration.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print seconds, and steps a second of each layer, as JSON.
    #[arg(long)]
    json: bool,
    /// What to plan for.
    #[command(flatten)]
    cluster: PlannedArgs,
    /// Where data sets are.
    #[command(flatten)]
    data: DataArgs,
}

impl PlanArgs {
    /// Says what a run would do; `self_test` is the command with which this program starts children that test a kernel.
    pub async fn execute(self, self_test: &'static str) -> anyhow::Result<()> {
        let Self { config: file, set, json, cluster, data } = self;
        let config = config::load(&file, &set)?;
        let (plan, test_samples) =
            plan(&config, &data.place()).with_context(|| file.display().to_string())?;
        let rates = tokio::task::block_in_place(|| cluster.rates(&plan));
        print(cluster.estimated(&plan, test_samples, &rates, json))?;
        if !json {
            print(kernels_here(self_test).await)?;
        }
        Ok(())
    }
}

/// Which workers a run is planned for.
#[derive(Debug, Args)]
pub struct PlannedArgs {
    /// So many workers, each on a machine of its own like this one; several numbers with commas between are compared, with
    /// the steps a second of every layer. Several workers on one machine are no faster than one.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..))]
    workers: Vec<u16>,
    /// Threads of each worker [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory that each worker may fill with kept activations, such as 4GiB [default: a quarter of the machine's memory].
    #[arg(long, value_name = "SIZE")]
    cache_memory: Option<ByteSize>,
    /// Megabits a second that each machine can send. A run over running workers measures it, and says so.
    #[arg(long, value_name = "MBIT", default_value_t = 1000.0, value_parser = positive)]
    bandwidth: f64,
    /// Milliseconds there and back between two machines. A run measures them too.
    #[arg(long, value_name = "MS", default_value_t = 0.2, value_parser = positive)]
    round_trip: f64,
    /// How fast each machine is beside this one: 0.5 for machines that compute half as fast.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    speed: f64,
}

impl PlannedArgs {
    /// How fast this machine is, after a few seconds.
    fn rates(&self, plan: &Plan) -> Rates {
        let cores = Cores::look().count;
        calibrate(plan, self.threads.map_or(cores, |threads| cores.min(threads.into())))
    }

    /// The plan with estimates, for people or for programs.
    fn estimated(&self, plan: &Plan, test_samples: usize, measured: &Rates, json: bool) -> String {
        let rates = &measured.times(self.speed);
        let quarter = || Memory::look().bytes / 4;
        let cache_bytes = self.cache_memory.map_or_else(quarter, |size| size.as_u64());
        let estimate = |&count| {
            let network =
                Network { bytes_per_second: self.bandwidth * 1e6 / 8.0, round_trip: self.round_trip / 1e3 };
            let workers = Workers { count: usize::from(count), cache_bytes, network };
            (workers, Estimate::new(plan, test_samples, rates, workers))
        };
        let estimates: Vec<_> = self.workers.iter().map(estimate).collect();
        if json {
            let numbers =
                |(workers, estimate): &(Workers, Estimate)| Numbers::new(plan, rates, *workers, estimate);
            let numbers: Vec<Numbers> = estimates.iter().map(numbers).collect();
            return serde_json::to_string_pretty(&numbers).expect("numbers and names");
        }
        let machine = Machine { measured, speed: self.speed, kernel: &scff::blas::kernel() };
        table(plan, machine, &estimates)
    }
}

/// Which kernels a machine like this one adds to a cluster.
async fn kernels_here(self_test: &'static str) -> String {
    let tester = Tester { argument: Some(self_test), folder: self_test::cache_folder() };
    let kernels = tester.test().await.kernels;
    let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    format!("BLAS kernels that such machines have: {} ({}).", names.join(", "), scff::blas::version())
}

/// The plan, and how many samples measure that are not held out: the data set's files are needed only where their number is not known
/// without them.
fn plan(config: &config::Config, data: &DataPlace) -> anyhow::Result<(Plan, usize)> {
    let Some(Outline { layout, training, measured }) = outline(&selection(config)?)? else {
        let (plan, set) = prepare(config, data)?;
        return Ok((plan, set.test.len() + set.validation.map_or(0, |validation| validation.len())));
    };
    Ok((Plan::new(config, layout, training)?, measured))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::Parser;

    use source::{Shape, TrainingSamples};

    use super::*;
    use crate::estimate::LayerRates;

    #[derive(Parser)]
    struct Plans {
        #[command(flatten)]
        arguments: PlanArgs,
    }

    #[test]
    fn every_configuration_plans() {
        let mut planned = 0;
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")).unwrap() {
            let file = entry.unwrap().path();
            let words = ["plan", file.to_str().unwrap(), "--data", "nowhere"];
            let PlanArgs { config, set, cluster, data, .. } = Plans::parse_from(words).arguments;
            let config = config::load(&config, &set).unwrap();
            let (plan, test_samples) = match &config.data.path {
                // Its files tell how many samples there are: as many as these of Tiny ImageNet.
                Some(path) => {
                    assert!(path.ends_with("tiny-imagenet-200"), "{}", path.display());
                    let shape = Shape { height: 64, width: 64, channels: 3 };
                    (Plan::new(&config, shape, TrainingSamples::labelled(100_000)).unwrap(), 10_000)
                }
                None => plan(&config, &data.place()).unwrap(),
            };
            let layer = LayerRates { operations: 400e9, updates: 4e9, bytes: 60e9 };
            let rates = Rates { threads: 2, speed: 1.0, layers: vec![layer; plan.stages.len()] };
            let [mut text, json] =
                [false, true].map(|json| cluster.estimated(&plan, test_samples, &rates, json));
            text.retain(|c| c != ' ');
            assert!(text.contains("readout:"), "{}: {text}", file.display());
            assert!(json.contains("\"seconds\""), "{}: {json}", file.display());
            planned += 1;
        }
        assert!(planned > 0);
    }
}
