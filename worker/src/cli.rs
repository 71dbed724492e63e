//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use proto::dial::Dialer;
use proto::logs::LogArgs;
use proto::observe::Observed;
use proto::process::KernelChoice;
use proto::self_test::{Tester, cache_folder};
use proto::silence::Silence;
use proto::tls::Tls;
use proto::tls_args::TlsArgs;

use crate::limits::LimitArgs;
use crate::machine::Machine;
use crate::settings::Settings;

/// A Strata worker: hosts frozen layers, transforms activations, and trains layers of one run at a time for the
/// coordinator that dials it.
///
/// Once it serves, it prints one line, `listening on ADDRESS`; everything else goes to standard error (RUST_LOG
/// chooses how much). On SIGTERM and SIGINT it takes nothing new, lets its coordinator take over what it has under way, and
/// ends; a second signal ends it at once.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// Address to listen on; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50551")]
    pub listen: SocketAddr,
    /// Threads that compute [default: one for each core that it may use].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Memory for kept activations, and then for features that the readout reads, such as 2GiB [default: a quarter of the memory that it may use].
    #[arg(long, value_name = "SIZE")]
    pub cache_memory: Option<ByteSize>,
    /// Certificates: with them, only who has one of the same authority gets in.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Listen on other addresses than loopback without certificates, unencrypted and open to whoever reaches them.
    #[arg(long)]
    pub insecure: bool,
    /// End when standard input does: a parent process that dies takes its workers along.
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Show metrics for Prometheus on /metrics of this address, and /live and /ready for probes.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Give up a peer that is silent for so long, in seconds, and what is computed at one go for as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..))]
    pub silence: u16,
    /// Asked to end, let what is under way go on for so long, in seconds, so that nothing of it is lost: a few steps.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub grace: u16,
    /// What it puts up with.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
    /// OpenBLAS kernel that it starts with, such as Haswell or SkylakeX. `auto` takes the one that OPENBLAS_CORETYPE names,
    /// or else what OpenBLAS chooses for this processor, or a faster one where it does not know it. A coordinator may have it change to another that it has.
    #[arg(long, value_name = "NAME|auto", default_value_t = KernelChoice::Auto, env = "STRATA_BLAS_KERNEL")]
    pub blas_kernel: KernelChoice,
    /// Compute without an end in this step, so that it can be tested who notices.
    #[arg(long, hide = true)]
    pub hang_in_step: Option<u64>,
    /// Test the kernel in use, print its name and the digest of its bits, and end.
    #[arg(long, hide = true)]
    pub self_test_blas: bool,
}

/// How a worker starts children that test a kernel.
const SELF_TEST: &str = "--self-test-blas";

/// An address that anybody could reach.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "refusing to listen on {0}, which is not a loopback address: a worker does whatever it is told by whoever \
     reaches it. Give it certificates (--tls-ca, --tls-cert, --tls-key; `coordinator certs` makes them), or --insecure if \
     every machine that reaches it is trusted"
)]
pub struct OpenToAnybody(SocketAddr);

impl Cli {
    /// How it reaches others.
    pub fn dialer(&self, tls: Option<Arc<Tls>>) -> Dialer {
        Dialer { silence: Silence::seconds(self.silence), tls }
    }

    /// The address to listen on, which is loopback unless there are certificates or the user insists.
    pub fn address(&self) -> Result<SocketAddr, OpenToAnybody> {
        if self.insecure || self.tls.given() || self.listen.ip().to_canonical().is_loopback() {
            return Ok(self.listen);
        }
        Err(OpenToAnybody(self.listen))
    }

    /// What the user asked for, and for the rest what suits `machine`.
    pub fn settings(&self, machine: &Machine) -> Settings {
        Settings {
            threads: self.threads.map_or(machine.cores.count, NonZeroUsize::get),
            grace: Duration::from_secs(self.grace.into()),
            hang_in_step: self.hang_in_step,
            cache_bytes: self.cache_memory.map_or(machine.memory.bytes / 4, |size| size.as_u64()),
            tester: Tester { argument: Some(SELF_TEST), folder: cache_folder() },
            observed: Observed::new(),
            limits: self.limits.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use proto::machine::{Cores, Memory};

    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["worker"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_not_said_suits_the_machine() {
        let (cores, memory) = (Cores { count: 6, limit: None }, Memory { bytes: 4000, limit: None });
        let machine = Machine { cpu: String::new(), cores, memory };
        let settings = parse(&[]).settings(&machine);
        assert_eq!((settings.threads, settings.cache_bytes), (6, 1000));
        let settings = parse(&["--threads", "2", "--cache-memory", "2GiB"]).settings(&machine);
        assert_eq!((settings.threads, settings.cache_bytes), (2, 2 << 30));
        assert!(Cli::try_parse_from(["worker", "--threads", "0"]).is_err());
    }

    #[test]
    fn what_a_child_is_started_with_makes_it_test_its_kernel() {
        assert!(parse(&[SELF_TEST]).self_test_blas && !parse(&[]).self_test_blas);
    }

    #[test]
    fn only_loopback_is_open_by_default() {
        for address in ["127.0.0.1:0", "127.8.9.10:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(parse(&["--listen", address]).address().is_ok(), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:0", "192.168.0.1:1"] {
            let error = parse(&["--listen", address]).address().unwrap_err();
            assert!(error.to_string().contains("--insecure"), "{error}");
            assert!(parse(&["--listen", address, "--insecure"]).address().is_ok(), "{address}");
        }
    }
}
