//! What goes on in a connection: calls, or nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use proto::tls::Role;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Request;

use crate::refusal::Refusal;

/// The calls of one connection.
#[derive(Debug)]
pub struct Activity {
    /// In which role the peer has come, where there are certificates.
    role: Option<Role>,
    peer: SocketAddr,
    calls: Mutex<Calls>,
    end: CancellationToken,
}

#[derive(Debug)]
struct Calls {
    open: usize,
    /// When the last one began or ended.
    last: Instant,
}

/// A call that goes on: its connection does not idle until this is dropped.
#[derive(Debug)]
pub struct Call(Option<Arc<Activity>>);

impl Activity {
    /// No calls yet, of a peer that has come in this role.
    pub fn new(role: Option<Role>, peer: SocketAddr) -> Self {
        let calls = Mutex::new(Calls { open: 0, last: Instant::now() });
        Self { role, peer, calls, end: CancellationToken::new() }
    }

    /// Where the peer called from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns once the connection is to end.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.end.clone().cancelled_owned()
    }

    /// Has the connection end.
    pub fn finish(&self) {
        self.end.cancel();
    }

    /// Since when there has been no call; nothing where there is one, or where the connection is about to end.
    pub fn idle_since(&self) -> Option<Instant> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.open == 0 && !self.end.is_cancelled()).then_some(calls.last)
    }

    fn change(&self, change: impl FnOnce(&mut usize)) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut calls.open);
        calls.last = Instant::now();
    }

    /// When it will have idled for `idle`, if there is no call until then.
    fn idle_at(&self, idle: Duration) -> Instant {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if calls.open > 0 { Instant::now() } else { calls.last };
        since + idle
    }
}

impl Call {
    /// The call that `request` begins.
    pub fn of<T>(request: &Request<T>) -> Self {
        let activity = request.extensions().get::<Arc<Activity>>().cloned();
        if let Some(activity) = &activity {
            activity.change(|open| *open += 1);
        }
        Self(activity)
    }

    /// Where the peer called from.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.as_ref().map(|activity| activity.peer)
    }

    /// Refuses `what` to workers.
    pub fn by_coordinator(&self, what: &'static str) -> Result<(), Refusal> {
        match &self.0 {
            Some(activity) if activity.role == Some(Role::Worker) => Err(Refusal::Forbidden { what }),
            _ => Ok(()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.change(|open| *open -= 1);
        }
    }
}

/// Ends a connection that has had no call for as long as `idle`.
pub async fn end_when_idle(activity: Weak<Activity>, idle: Duration) {
    while let Some(open) = activity.upgrade() {
        let idle_at = open.idle_at(idle);
        if idle_at <= Instant::now() {
            tracing::info!(peer = %open.peer, "a connection is closed: no call for {} s", idle.as_secs());
            return open.finish();
        }
        drop(open);
        tokio::time::sleep_until(idle_at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_mins(5);

    fn activity() -> Arc<Activity> {
        Arc::new(Activity::new(None, "127.0.0.1:1".parse().unwrap()))
    }

    fn request(activity: &Arc<Activity>) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(activity.clone());
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_once_it_has_idled() {
        let activity = activity();
        let watch = tokio::spawn(end_when_idle(Arc::downgrade(&activity), IDLE));
        let call = Call::of(&request(&activity));
        tokio::time::sleep(10 * IDLE).await;
        assert!(!activity.end.is_cancelled(), "a call goes on");
        drop(call);
        tokio::time::sleep(IDLE / 2).await;
        drop(Call::of(&request(&activity)));
        tokio::time::sleep(IDLE / 2 + Duration::from_secs(1)).await;
        assert!(!activity.end.is_cancelled(), "there was a call meanwhile");
        let began = Instant::now();
        activity.ended().await;
        assert!(began.elapsed() <= IDLE);
        watch.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_watches_a_connection_that_is_gone() {
        let activity = activity();
        let watch = tokio::spawn(end_when_idle(Arc::downgrade(&activity), IDLE));
        drop(activity);
        tokio::time::timeout(2 * IDLE, watch).await.unwrap().unwrap();
    }
}
