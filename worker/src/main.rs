//! The `worker` program.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use proto::signals::{Signals, leave};
use proto::tls::{Role, Tls};
use proto::{logs, output, process, self_test};
use tokio::sync::oneshot;
use worker::Ended;
use worker::cli::Cli;
use worker::incoming::incoming;
use worker::machine::Machine;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs::begin(cli.log.log_format, true);
    match start(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::fail("worker", format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> anyhow::Result<()> {
    if cli.self_test_blas {
        return Ok(self_test::answer()?);
    }
    let address = cli.address()?;
    let tls = cli.tls.load(Role::Worker)?;
    // It may execute this program anew, so nothing else may have begun.
    process::use_blas_kernel(&cli.blas_kernel)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Whoever has read the address may send a signal.
    let (signals, late) =
        runtime.block_on(async { Ok::<_, io::Error>((Signals::take()?, Signals::take()?)) })?;
    let listener = listen(address)?;
    logs::always("worker", listener.local_addr()?);
    match runtime.block_on(run(cli, tls, signals, listener.try_clone()?))? {
        // A thread that was given up may compute yet, with memory that a usual end would give back.
        Ended::ShutDown => leave(0),
        // It has nothing to do: whoever wants it to end gets what they want.
        Ended::ForKernel(_) if runtime.block_on(late.give_back()) => leave(0),
        Ended::ForKernel(kernel) => {
            runtime.shutdown_background();
            Err(process::change_kernel(&kernel, &listener).into())
        }
    }
}

/// The socket that this process has already, or a new one, which is announced.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if let Some(listener) = process::inherited_listener() {
        return Ok(listener);
    }
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    listener.set_nonblocking(true)?;
    announce(&listener)?;
    Ok(listener)
}

async fn run(
    cli: &Cli,
    tls: Option<Arc<Tls>>,
    mut signals: Signals,
    listener: TcpListener,
) -> anyhow::Result<Ended> {
    let machine = Machine::look();
    let settings = cli.settings(&machine);
    if let Some(address) = cli.metrics {
        let shown = settings.observed.clone().show(address).await;
        shown.with_context(|| format!("showing metrics on {address}"))?;
    }
    tracing::info!(
        cores = %machine.cores,
        memory = %machine.memory,
        threads = settings.threads,
        cache_bytes = settings.cache_bytes,
        cpu = machine.cpu,
        blas = scff::blas::version(),
        blas_kernel = scff::blas::kernel(),
        "worker {} is ready",
        env!("CARGO_PKG_VERSION"),
    );
    let until_stdin_closes = cli.until_stdin_closes;
    let shutdown = async move {
        tokio::select! {
            _ = signals.next() => {}
            () = stdin_closed(), if until_stdin_closes => {}
        }
        // Streams have a while to end; whoever asks again does not want to wait for them.
        tokio::spawn(async move { leave(signals.next().await.status()) });
    };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let incoming = incoming(listener, tls.clone(), settings.limits);
    Ok(worker::serve(incoming, cli.dialer(tls), settings, shutdown).await?)
}

/// Connections are taken from here on: they wait in the listener's queue until the service is up.
fn announce(listener: &TcpListener) -> anyhow::Result<()> {
    Ok(output::print(format_args!("listening on {}", listener.local_addr()?))?)
}

/// On a thread of its own: one that waits for input cannot be stopped, and must not hold up the end.
#[expect(clippy::disallowed_methods, reason = "nothing else can end while it waits for input")]
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut input = std::io::stdin().lock();
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        let _ = closed.send(());
    });
    let _ = wait.await;
}
