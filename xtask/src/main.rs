//! The project's commands. `cargo xtask --help` lists them.

#![expect(clippy::disallowed_methods, reason = "it measures")]

mod shell;

mod noise;
mod packages;
mod roots;
mod running;
mod statistics;
mod summary;

mod baselines;
mod bench;
mod wheel;
mod dist;
mod image;
mod deploy_test;
mod quickstart;
mod results;
mod scaling;
mod step_cost;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing, build, train a small network on Fashion-MNIST and compare it with raw pixels.
    Quickstart(quickstart::Arguments),
    /// Check everything that CI checks: format, lints, tests.
    Test(test::Arguments),
    /// Measure training steps and the streaming of activations.
    Bench(bench::Arguments),
    /// Measure how much faster two workers train a layer than one, on loopback and on slower networks.
    ///
    /// Hosts are network namespaces whose links tc slows down; where they may not be made, this says so.
    Scaling(scaling::Arguments),
    /// Measure what certificates, and changes since another build, cost a training step on one and on two workers.
    StepCost(step_cost::Arguments),
    /// Pack both programs, with OpenBLAS in them, for machines that have nothing installed.
    Dist(dist::Arguments),
    /// Build the container image. Base images that cannot be pulled are made here.
    Image(image::Arguments),
    /// Test what is under deploy/: run it where its parts are at hand, and say what was skipped and why.
    DeployTest(deploy_test::Arguments),
    /// Run a configuration with several seeds and write docs/results/<name>.md.
    Results(results::Arguments),
    /// Run what other ways of learning reach with the same networks, and write the table of docs/results/baselines.md.
    Baselines(baselines::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Quickstart(arguments) => quickstart::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Scaling(arguments) => scaling::run(&arguments),
        Command::StepCost(arguments) => step_cost::run(&arguments),
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::DeployTest(arguments) => deploy_test::run(&arguments),
        Command::Results(arguments) => results::run(&arguments),
        Command::Baselines(arguments) => baselines::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
