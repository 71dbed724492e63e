//! More workers than there are cores: what sharing a layer costs besides waiting.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::hosts::Link;
use super::relay::Relay;
use super::subject::{CHANGES, Subject};
use crate::running::Running;
use crate::summary::{Summary, metrics};

/// Links to try; `None`: everything on loopback.
const LINKS: [Option<Link>; 3] = [
    None,
    Some(Link { megabits: 1_000, round_trip_ms: 0.2 }),
    Some(Link { megabits: 1_000, round_trip_ms: 2.0 }),
];

/// Cores that the workers share: those on which the machine is measured.
const CORES: f64 = 2.0;
/// Ticks of a processor's time in a second, as Linux tells them.
const TICKS: f64 = 100.0;
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(10);
/// Activations are all kept from here on.
const EPOCH: u64 = 3;

/// What a layer's steps took, from one report to a later one.
#[derive(Clone, Copy, Debug)]
struct Course {
    begins: Moment,
    ends: Moment,
}

/// How far a layer was at some moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    step: u64,
    /// Seconds since the run began.
    seconds: f64,
    /// Processor seconds of all workers so far, and of the coordinator.
    workers: f64,
    coordinator: f64,
}

impl Course {
    fn steps(&self) -> f64 {
        (self.ends.step - self.begins.step) as f64
    }

    fn of(&self, what: impl Fn(&Moment) -> f64) -> f64 {
        (what(&self.ends) - what(&self.begins)) / self.steps()
    }
}

/// Measures the steps of CIFAR-10's layers on so many workers of one thread each, which share all cores of this machine.
pub fn measure(subject: Subject<'_>, counts: &[usize]) -> anyhow::Result<()> {
    println!(
        "CIFAR-10's layers, batches of 100, workers of one thread that share the cores; activations kept"
    );
    let mut weights = None;
    for link in LINKS {
        println!(
            "\n{}",
            link.map_or("loopback".to_owned(), |link| format!("relays of {}", Link::name(Some(link))))
        );
        println!(
            "{:<6} {:>7} {:>10} {:>18} {:>20} {:>12} {:>14}",
            "layer", "workers", "step, s", "planned", "CPU of workers, s", "of one's", "coordinator, s"
        );
        let mut one = BTreeMap::new();
        for &count in counts {
            let (layers, sha256) = run(subject, count, link)?;
            if *weights.get_or_insert_with(|| sha256.clone()) != sha256 {
                bail!("{count} workers: other weights than {} had", counts[0]);
            }
            for ((layer, course), planned) in layers.into_iter().zip(planned(subject, count, link)?) {
                let workers = course.of(|moment| moment.workers);
                let of_one = workers / *one.entry(layer.clone()).or_insert(workers);
                let seconds = course.of(|moment| moment.seconds);
                let planned = format!("{planned:.4} ({:+.0} %)", 100.0 * (planned / seconds - 1.0));
                println!(
                    "{layer:<6} {count:>7} {seconds:>10.4} {planned:>18} {workers:>20.4} {of_one:>12.2} {:>14.4}",
                    course.of(|moment| moment.coordinator),
                );
            }
        }
    }
    Ok(())
}

/// Seconds of a step of each layer, as `coordinator plan` says right after. Where workers are more than the cores, each has a part of
/// one: all compute at the same time, and what they wait for takes as long as it does.
fn planned(subject: Subject<'_>, count: usize, link: Option<Link>) -> anyhow::Result<Vec<f64>> {
    let steps_per_second = match count {
        1 => subject.plan(link, 0, (1, 1.0))?,
        _ => subject.plan_on_both(link, (count, (CORES / count as f64).min(1.0)))?,
    };
    Ok(steps_per_second.into_iter().map(f64::recip).collect())
}

/// The courses of all layers, by name, and the weights' sum.
fn run(
    subject: Subject<'_>,
    count: usize,
    link: Option<Link>,
) -> anyhow::Result<(Vec<(String, Course)>, String)> {
    let Subject { coordinator, blas_kernel, data, folder } = subject;
    let program = coordinator.with_file_name("worker");
    let workers: Vec<Running> = (0..count)
        .map(|_| {
            let mut command = Command::new(&program);
            command.args(["--listen", "127.0.0.1:0", "--blas-kernel", blas_kernel]);
            command.args(["--threads", "1", "--cache-memory", "256MiB"]);
            Running::start(command)
        })
        .collect::<anyhow::Result<_>>()?;
    let relays = workers.iter().map(|worker| link.map(|link| Relay::to(&worker.address, link)).transpose());
    let relays: Vec<Option<Relay>> = relays.collect::<anyhow::Result<_>>()?;
    let address = |(worker, relay): (&Running, &Option<Relay>)| match relay {
        Some(relay) => relay.address.clone(),
        None => worker.address.clone(),
    };
    let addresses: Vec<String> = workers.iter().zip(&relays).map(address).collect();
    let out = folder.join(format!("many-{count}"));
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut process = Command::new(coordinator)
        .args(["--blas-kernel", blas_kernel, "run", "configs/cifar10.toml", "--out"])
        .arg(&out)
        .args(["--workers", &addresses.join(","), "--shards", "auto", "--data"])
        .arg(data)
        .args(CHANGES.iter().flat_map(|change| ["--set", change]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the coordinator starts")?;
    let courses = watch(&mut process, &workers, &out)?;
    let summary = Summary::read(&out)?;
    let names = summary.layers.into_iter().enumerate();
    let named = names.filter_map(|(layer, of)| Some((of.name, *courses.get(&layer)?))).collect();
    Ok((named, summary.weights_sha256))
}

/// Looks at a run until it ends.
fn watch(process: &mut Child, workers: &[Running], out: &Path) -> anyhow::Result<BTreeMap<usize, Course>> {
    let mut courses: BTreeMap<usize, Course> = BTreeMap::new();
    let (began, mut seen) = (Instant::now(), None);
    loop {
        let ended = process.try_wait()?;
        if let Some(status) = ended {
            ensure!(status.success(), "the coordinator: {status}");
            return Ok(courses);
        }
        // A line that is being written is read the next time.
        let last = metrics(out).ok().and_then(|lines| lines.last().cloned());
        if let Some(report) =
            last.filter(|report| report.epoch >= EPOCH && seen != Some((report.layer, report.step)))
        {
            seen = Some((report.layer, report.step));
            let moment = Moment {
                step: report.step,
                seconds: began.elapsed().as_secs_f64(),
                workers: workers.iter().map(|worker| cpu_seconds(worker.id())).sum::<anyhow::Result<_>>()?,
                coordinator: cpu_seconds(process.id()).unwrap_or_default(),
            };
            courses.entry(report.layer).or_insert(Course { begins: moment, ends: moment }).ends = moment;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Processor seconds that a process has used so far.
fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let file = format!("/proc/{id}/stat");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    of_stat(&text).with_context(|| format!("{file}: found {text:?}, expected what proc(5) says"))
}

/// User and system time of a line of /proc/ID/stat; its second word is a name in parentheses.
fn of_stat(text: &str) -> Option<f64> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut ticks = rest.split(' ').skip(11).map_while(|word| word.parse::<u64>().ok());
    Some((ticks.next()? + ticks.next()?) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_a_name_that_may_hold_anything() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 109 0 0 0 150 25 0 0 20 0 1 0 11 2662400 98";
        assert_eq!(of_stat(text), Some(1.75));
        assert_eq!(of_stat("7 (a"), None);
    }

    #[test]
    fn what_is_said_of_a_course_is_of_one_step() {
        let moment = |step, seconds| Moment { step, seconds, workers: 2.0 * seconds, coordinator: 0.0 };
        let course = Course { begins: moment(15, 1.0), ends: moment(35, 6.0) };
        assert_eq!((course.of(|moment| moment.seconds), course.of(|moment| moment.workers)), (0.25, 0.5));
    }
}
