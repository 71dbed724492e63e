//! Waiting for what a cluster does, by its metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long anything may take, unless said otherwise.
pub const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until `look` sees what `awaited` names; an error of `look` ends the wait.
pub fn until<T>(awaited: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if began.elapsed() > PATIENCE {
            bail!("waited {} s for {awaited}", PATIENCE.as_secs());
        }
        sleep(PAUSE);
    }
}

/// A coordinator's metrics.
pub struct Watched {
    /// Where they are shown.
    pub address: String,
}

impl Watched {
    /// The sum of a metric over its labels; nothing while nobody answers, or while it is not shown.
    pub fn total(&self, metric: &str) -> Option<f64> {
        total(&get(&self.address, "/metrics")?, metric)
    }

    /// Waits until a metric is at least so much.
    pub fn until(&self, metric: &str, at_least: f64) -> anyhow::Result<()> {
        until(&format!("{metric} >= {at_least} at {}", self.address), || {
            Ok(self.total(metric).filter(|total| *total >= at_least).map(drop))
        })
    }

    /// Waits until so many workers train.
    pub fn until_trainers(&self, workers: u32) -> anyhow::Result<()> {
        until(&format!("{workers} workers that train, by {}", self.address), || {
            Ok(self.total("strata_trainers").filter(|total| total.round() as u32 == workers).map(drop))
        })
    }

    /// Steps a second, over the time that so many take.
    pub fn rate(&self, steps: f64) -> anyhow::Result<f64> {
        let taken = || self.total("strata_layer_steps").unwrap_or(0.0);
        let before = taken();
        let first = until("a step", || Ok(Some(taken()).filter(|now| *now > before)))?;
        let began = Instant::now();
        let last = until("more steps", || Ok(Some(taken()).filter(|now| *now >= first + steps)))?;
        Ok((last - first) / began.elapsed().as_secs_f64())
    }
}

/// What an address answers, if it does with status 200.
pub fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
}

fn total(shown: &str, metric: &str) -> Option<f64> {
    let values = shown.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_over_its_labels() {
        let shown = "# HELP a An a.\na{layer=\"0\"} 3\na{layer=\"1\"} 4.5\na_b 7\nc 1\n";
        assert_eq!(total(shown, "a"), Some(7.5));
        assert_eq!(total(shown, "c"), Some(1.0));
        assert_eq!(total(shown, "d"), None);
    }
}
