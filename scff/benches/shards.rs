//! What a worker pays that has a sixteenth of a layer: `cargo bench -p scff --bench shards`.
//!
//! Steps on one thread, and the time for which they have its processor: of a layer as a whole; of one member of sixteen, alone;
//! and of two members at the same time, each on a processor of its own, which share caches and memory as the workers of one machine do. A
//! member gets the sums of the
//! whole layer in place of the others', so it must learn the same, to the last bit; one that does not fails the benchmark. What members
//! send each other is not part of it.
//!
//! `-- --quick` for a short run, `-- 'layer 3'` for the layers of that name only, `-- --member` to step one member only, for
//! profilers.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;

use ndarray::{Array2, s};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::time::{ClockId, clock_gettime};
use scff::blas;
use scff::layer::LayerState;
use scff::train::{
    Half, Partial, PassOn, Progress, Round, Shard, Sharing, Sums, TrainingLayer, TrainingStage,
};

use crate::cifar10::{BATCH, LAYERS, SHIFTS, Subject};
use crate::measure::median;

mod cifar10;
mod measure;

/// Steps that are not counted: memory is taken for the first time.
const WARM: usize = 2;

/// A grid of sixteen members for each layer, (rows, columns): rows divide the samples, columns the channels.
const GRIDS: [(usize, usize); 3] = [(16, 1), (4, 4), (1, 16)];

fn main() -> ExitCode {
    blas::use_one_thread_per_call();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for = |option: &str| arguments.iter().any(|argument| argument == option);
    let word = arguments.iter().find(|argument| !argument.starts_with('-')).map_or("", String::as_str);
    let (steps, rounds) = if asks_for("--quick") { (10, 1) } else { (20, 3) };
    println!(
        "{} {}, one thread, batch {BATCH}: processor time of a step, ms",
        blas::version(),
        blas::kernel()
    );
    println!(
        "{:<40}{:>8}{:>12}{:>14}{:>8}{:>14}{:>8}",
        "layer", "whole", "its 16th", "member", "times", "beside one", "times"
    );
    let mut failed = false;
    for (subject, grid) in LAYERS.iter().zip(GRIDS).filter(|(subject, _)| subject.name.contains(word)) {
        let shares = Shares { subject, grid };
        if asks_for("--member") {
            // Whatever it learns of the sums of one step.
            let whole = shares.whole(1);
            shares.member(0, &whole, 10 * steps);
            continue;
        }
        match shares.measure(steps, rounds) {
            Ok(times) => times.print(subject),
            Err(wrong) => {
                eprintln!("WRONG: {wrong}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A layer and how sixteen share it.
#[derive(Clone, Copy)]
struct Shares<'a> {
    subject: &'a Subject,
    grid: (usize, usize),
}

/// What some steps of a layer came to.
struct Course {
    /// The sums of each step, round by round.
    sums: Vec<Vec<Sums>>,
    /// Milliseconds of each step.
    times: Vec<f64>,
    state: LayerState,
}

/// Milliseconds: medians.
struct Times {
    whole: f64,
    member: f64,
    /// Of members beside another.
    beside: f64,
}

impl Shares<'_> {
    /// Steps the whole and members in turns; an error where a member learns something else.
    fn measure(self, steps: usize, rounds: usize) -> Result<Times, String> {
        let (mut whole, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let course = self.whole(steps);
            whole.extend_from_slice(&course.times[WARM..]);
            alone.extend(self.checked(0, &course)?);
            let both = std::thread::scope(|scope| {
                [0, 1]
                    .map(|member| {
                        scope.spawn({
                            let course = &course;
                            move || self.checked(member, course)
                        })
                    })
                    .map(|thread| thread.join().expect("no panic"))
            });
            for times in both {
                beside.extend(times?);
            }
        }
        Ok(Times { whole: median(whole), member: median(alone), beside: median(beside) })
    }

    /// So many steps of the whole layer.
    fn whole(self, steps: usize) -> Course {
        let mut stage = self.stage(self.subject.layer());
        let samples = self.subject.samples();
        let (mut sums, mut times) = (Vec::new(), Vec::new());
        let pool = pool();
        for _ in 0..steps {
            let mut of_step = Vec::new();
            let mut total = |partial: &Partial| {
                of_step.push(partial.total());
                of_step[of_step.len() - 1].clone()
            };
            times.push(pool.install(|| step(&mut stage, samples.clone(), &mut total)));
            sums.push(of_step);
        }
        Course { sums, times, state: stage.layer().state() }
    }

    /// As many steps of a member; milliseconds of those that count, if it has learnt what the whole has.
    fn checked(self, member: usize, whole: &Course) -> Result<Vec<f64>, String> {
        let (times, state) = self.member(member, whole, whole.sums.len());
        let own = self.shard(member).channels;
        let learnt = whole.state.parameters.weight();
        if state.parameters.weight() == learnt.slice(s![own, ..]) {
            Ok(times[WARM..].to_vec())
        } else {
            Err(format!("{}: member {member} learns something else than the whole layer", self.subject.name))
        }
    }

    /// So many steps of a member, by the sums of the whole: milliseconds of each, and what it has learnt.
    fn member(self, member: usize, whole: &Course, steps: usize) -> (Vec<f64>, LayerState) {
        let shard = self.shard(member);
        let mut stage = self.stage(self.subject.shard(Some(shard.clone())));
        let samples = self.subject.samples();
        let pool = pool();
        let steps = whole.sums.iter().cycle().take(steps).map(|of_step| {
            let mut rounds = of_step.iter();
            let mut total = |partial: &Partial| {
                // What it would send.
                std::hint::black_box(partial.node_sums());
                self.own(rounds.next().expect("as many rounds"), partial.round, &shard)
            };
            pool.install(|| step(&mut stage, samples.clone(), &mut total))
        });
        let times = steps.collect();
        (times, stage.layer().state())
    }

    fn stage(self, layer: TrainingLayer) -> TrainingStage {
        let below = self.subject.below().map(|below| Arc::new(below.layer().freeze()));
        TrainingStage::new(below.into_iter().collect(), layer)
    }

    /// What a member has; they stand row by row.
    fn shard(self, member: usize) -> Shard {
        let Self { subject: Subject { sharing, .. }, grid: (rows, columns) } = self;
        let spec = self.subject.spec();
        let share = |parts: Vec<Range<usize>>, among: usize, index: usize| {
            let bound = |index: usize| index * parts.len() / among;
            parts[bound(index)].start..parts[bound(index + 1) - 1].end
        };
        Shard {
            channels: share(sharing.channel_parts(&spec), columns, member % columns),
            samples: share(sharing.sample_parts(&spec, BATCH), rows, member / columns),
        }
    }

    /// What a member gets of the whole layer's sums.
    fn own(self, sums: &Sums, round: Round, Shard { channels, samples }: &Shard) -> Sums {
        let conv = self.subject.conv();
        let numbers = match (self.subject.sharing, round) {
            (Sharing::Grid, Round::Goodness) => {
                let of_sample = (1 + SHIFTS.len()) * conv.output().positions();
                sums.numbers[samples.start * of_sample..samples.end * of_sample].to_vec()
            }
            (Sharing::Grid, Round::Gradient) => {
                let (weight, of_channels) = sums.numbers.split_at(conv.channels * conv.fan_in());
                let (bias, weight_sums) = of_channels.split_at(conv.channels);
                let weight = &weight[channels.start * conv.fan_in()..channels.end * conv.fan_in()];
                [weight, &bias[channels.clone()], &weight_sums[channels.clone()]].concat()
            }
            (Sharing::Channels | Sharing::Samples, _) => sums.numbers.clone(),
        };
        Sums { numbers, loss: sums.loss }
    }
}

impl Times {
    fn print(&self, subject: &Subject) {
        let Self { whole, member, beside } = self;
        let part = whole / 16.0;
        println!(
            "{:<40}{whole:>8.1}{part:>12.2}{member:>14.2}{:>8.2}{beside:>14.2}{:>8.2}",
            subject.name,
            member / part,
            beside / part
        );
    }
}

/// Milliseconds of one step with sums that `total` makes of partial ones.
fn step(
    stage: &mut TrainingStage,
    samples: Array2<f32>,
    total: &mut (impl FnMut(&Partial) -> Sums + Send),
) -> f64 {
    let begins = processor_milliseconds();
    let Half { input, mut partial, .. } = stage.forward(samples.into(), false, &SHIFTS, PassOn::Nothing);
    while let Progress::Exchange(next) = stage.proceed(&input, total(&partial)) {
        partial = next;
    }
    drop((input, partial));
    processor_milliseconds() - begins
}

/// For which this thread had a processor.
fn processor_milliseconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    1e3 * time.tv_sec as f64 + 1e-6 * time.tv_nsec as f64
}

fn pool() -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(1).build().expect("a pool")
}
