//! The BLAS kernels that this worker offers, and how it changes to another.

use proto::kernels::Kernel;
use proto::self_test::{Tested, Tester};
use tokio::sync::{OnceCell, watch};

use crate::refusal::Refusal;
use crate::slot::Slot;

/// What this worker can compute with, and what it is to change to.
pub struct Kernels {
    tester: Tester,
    tested: OnceCell<Tested>,
    in_use: OnceCell<Tested>,
    change: watch::Sender<Option<String>>,
}

impl Kernels {
    /// Nothing is tested before somebody asks.
    pub fn new(tester: Tester) -> Self {
        Self { tester, tested: OnceCell::new(), in_use: OnceCell::new(), change: watch::Sender::new(None) }
    }

    /// Those that it has, the fastest first.
    pub async fn offered(&self) -> &[Kernel] {
        &self.tested.get_or_init(|| async { warned(self.tester.test().await) }).await.kernels
    }

    /// The one in use, unless it fails its self-test.
    pub async fn in_use(&self) -> &[Kernel] {
        &self.in_use.get_or_init(|| async { warned(self.tester.test_in_use().await) }).await.kernels
    }

    /// Takes an order to compute with another kernel. The slot is given to nobody from then on: the process is about to be
    /// executed anew.
    pub async fn change_to(&self, name: &str, slot: &Slot) -> Result<(), Refusal> {
        if name == scff::blas::kernel() {
            return Ok(());
        }
        let offered = self.offered().await;
        if self.tester.argument.is_none() || offered.iter().all(|kernel| kernel.name != name) {
            let offered = offered.iter().map(|kernel| kernel.name.clone()).collect::<Vec<_>>().join(", ");
            return Err(Refusal::NoKernel { name: name.to_owned(), offered });
        }
        slot.close()?;
        self.change.send_replace(Some(name.to_owned()));
        Ok(())
    }

    /// Returns the kernel that the process is to be executed anew with, once there is one.
    pub async fn change(&self) -> String {
        let mut change = self.change.subscribe();
        let ordered = change.wait_for(Option::is_some).await.expect("the sender is here");
        ordered.clone().expect("waited for")
    }
}

fn warned(tested: Tested) -> Tested {
    for (name, how) in &tested.left_out {
        tracing::warn!("BLAS kernel {name} fails its self-test and is not offered: {how}");
    }
    tested
}
