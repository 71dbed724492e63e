//! A worker's BLAS kernels, and having it change to another.

use std::time::Duration;

use proto::dial::{DialError, Dialer};
use proto::kernels::parse;
use proto::process::KernelChoice;
use proto::refusal::Reason;
use proto::wire;
use tokio::time::{Instant, sleep, timeout};

use super::admission::LeftOut;
use super::participant::{Worker, WorkerFailure};
use crate::kernels::{Agreed, Offer};

/// How long a worker may take to test its kernels, or to change, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long streams that are over may keep a worker from changing.
const LINGERING: Duration = Duration::from_secs(3);
/// Before asking again.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections in a row that cannot be made to a worker that has ended. One that changes listens all the while.
const UNREACHABLE: u32 = 10;

/// What a worker can compute with; or with the kernel in use alone, which is known soonest.
pub async fn offer(worker: &Worker, in_use: bool) -> Result<Offer, LeftOut> {
    let mut client = worker.client();
    let asked = timeout(PATIENCE, client.list_kernels(wire::ListKernelsRequest { in_use })).await;
    let late = |_| LeftOut::for_now(format!("{worker}: its BLAS kernels take too long to test"));
    let list = asked.map_err(late)?.map_err(|status| left_out(WorkerFailure::of(worker, &status)))?;
    let kernels =
        parse(list.into_inner()).map_err(|error| left_out(WorkerFailure::protocol(worker, error)))?;
    let wire::WorkerDescription { blas, blas_kernel, .. } = worker.description.clone();
    Ok(Offer { worker: worker.to_string(), blas, in_use: blas_kernel, kernels })
}

/// The worker with the bits of a run: as it is, or once it has changed.
pub async fn agreeing(
    dialer: &Dialer,
    worker: Worker,
    offer: &Offer,
    agreed: &Agreed,
    wanted: &KernelChoice,
) -> Result<Worker, LeftOut> {
    match offer.kernel_for(&agreed.digest, wanted) {
        Some(kernel) if kernel == offer.in_use => Ok(worker),
        Some(kernel) => {
            change(&worker, kernel).await?;
            changed(dialer, &worker, kernel).await
        }
        None => {
            let reason = format!(
                "{offer}, none of the bits of {}, which this run computes with: another OpenBLAS might have them",
                agreed.blas
            );
            Err(LeftOut { reason, passing: false })
        }
    }
}

/// Tells a worker to change. Streams of an attempt that is over may last a little longer.
async fn change(worker: &Worker, kernel: &str) -> Result<(), LeftOut> {
    let began = Instant::now();
    loop {
        let mut client = worker.client();
        let asked = timeout(PATIENCE, client.use_kernel(wire::UseKernelRequest { name: kernel.to_owned() }));
        let late = |_| LeftOut::for_now(format!("{worker}: no answer within {} s", PATIENCE.as_secs()));
        let Err(status) = asked.await.map_err(late)? else { return Ok(()) };
        let failure = WorkerFailure::of(worker, &status);
        if failure.reason == Reason::Broken {
            // It may have changed already, for whoever reaches it at another address.
            return Ok(());
        }
        if !failure.passing || began.elapsed() >= LINGERING {
            return Err(left_out(failure));
        }
        sleep(PAUSE).await;
    }
}

/// The worker once it is there again.
async fn changed(dialer: &Dialer, worker: &Worker, kernel: &str) -> Result<Worker, LeftOut> {
    let (began, mut unreachable) = (Instant::now(), 0);
    while began.elapsed() < PATIENCE && unreachable < UNREACHABLE {
        match timeout(PATIENCE, dialer.dial(&worker.address)).await {
            Ok(Ok((connection, description))) => {
                let changed = Worker::new(worker.address.clone(), connection, description);
                let found = &changed.description.blas_kernel;
                if found == kernel {
                    return Ok(changed);
                }
                if changed.id != worker.id {
                    let reason = format!("{worker} was to change to BLAS kernel {kernel}, but uses {found}");
                    return Err(LeftOut::for_now(reason));
                }
                unreachable = 0;
            }
            Ok(Err(DialError::Connect { .. })) => unreachable += 1,
            Ok(Err(_)) | Err(_) => unreachable = 0,
        }
        sleep(PAUSE).await;
    }
    Err(LeftOut::for_now(format!("{worker} was to change to BLAS kernel {kernel}, and has not come back")))
}

fn left_out(failure: WorkerFailure) -> LeftOut {
    LeftOut { reason: failure.to_string(), passing: failure.passing }
}
