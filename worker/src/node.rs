//! What the streams of one worker share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::dial::Dialer;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use crate::complaints::Complaints;
use crate::compute::Compute;
use crate::hosted::Hosted;
use crate::kernels::Kernels;
use crate::machine::Machine;
use crate::meetings::{Feed, Meetings, Visit};
use crate::meters::Meters;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::slot::Slot;
use crate::stage::Budget;
use crate::system::System;

/// One worker.
pub struct Node {
    /// The machine it runs on.
    pub machine: Machine,
    /// How much memory it may use.
    pub budget: Budget,
    /// Its threads.
    pub compute: Arc<Compute>,
    /// Its time, and how it starts threads.
    pub system: System,
    /// How it reaches others.
    pub dialer: Dialer,
    /// What it counts.
    pub meters: Meters,
    /// Who it is: another process, or this one begun anew, is another.
    pub identity: u64,
    /// The place for its one training session.
    pub slot: Slot,
    /// Where those who share a layer with it find its sessions.
    pub meetings: Meetings<Visit>,
    /// Where those who train the layer below one of its own find its sessions.
    pub feeds: Meetings<Feed>,
    /// What it can compute with.
    pub kernels: Kernels,
    /// What it says of calls that it does not serve.
    pub complaints: Complaints,
    /// Whose turn it is to measure how fast it computes.
    pub benchmarks: tokio::sync::Mutex<()>,
    /// Streams that are under way.
    pub streams: TaskTracker,
    /// A step in which it computes without an end, for tests.
    pub hang_in_step: Option<u64>,
    hosted: Mutex<Hosted>,
    greeting: Duration,
    closing: watch::Receiver<bool>,
}

impl Node {
    /// A worker that hosts nothing yet, and closes when `closing` says so.
    pub fn new(
        machine: Machine,
        compute: Compute,
        system: System,
        dialer: Dialer,
        settings: &Settings,
        kernels: Kernels,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let memory_bytes = if machine.memory.bytes == 0 { u64::MAX } else { machine.memory.bytes };
        let budget = Budget { memory_bytes, cache_bytes: settings.cache_bytes };
        let meters = Meters::new(settings.observed.registry(), settings.cache_bytes);
        let compute = Arc::new(compute);
        let identity = getrandom::u64().expect("the system has random numbers");
        let greeting = settings.limits.greeting;
        Self {
            machine,
            budget,
            compute,
            system,
            dialer,
            meters,
            identity,
            slot: Slot::new(),
            meetings: Meetings::new(),
            feeds: Meetings::new(),
            kernels,
            complaints: Complaints::default(),
            benchmarks: tokio::sync::Mutex::default(),
            streams: TaskTracker::new(),
            hang_in_step: settings.hang_in_step,
            hosted: Mutex::default(),
            greeting,
            closing,
        }
    }

    /// A message of a call, which is `expected`, and for which nobody waits long, as for the first; nothing where there is none.
    pub async fn soon<T>(
        &self,
        requests: &mut Streaming<T>,
        expected: &'static str,
    ) -> Result<Option<T>, Refusal> {
        let late = |_| Refusal::Late { waited: self.greeting, expected };
        Ok(tokio::time::timeout(self.greeting, requests.message()).await.map_err(late)??)
    }

    /// Does `work` with the hosted layers; nobody else has them meanwhile, so it must be short.
    pub fn with_hosted<R>(&self, work: impl FnOnce(&mut Hosted) -> R) -> R {
        work(&mut self.hosted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns once the streams that are under way have ended.
    pub async fn streams_end(&self) {
        self.streams.close();
        self.streams.wait().await;
    }

    /// Returns when streams are to end.
    pub async fn closing(&self) {
        // A closed channel means the same.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
    }
}
