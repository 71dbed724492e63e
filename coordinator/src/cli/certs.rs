//! `coordinator certs`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use proto::output::print;
use proto::tls::Role;

use crate::certs;

/// What to do with certificates. Nothing is overwritten; a command that was carried out before says what is there.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make a certificate authority: ca.pem, which everybody needs, and ca-key.pem, which is needed to issue certificates and
    /// nowhere else.
    Init {
        /// The folder of certificates.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// For how many days it is valid.
        #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Issue a certificate and its key, such as worker.pem and worker-key.pem.
    Issue {
        /// The folder of certificates, with the authority.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What its holder acts as.
        #[arg(long, value_enum)]
        role: RoleArg,
        /// A host name or IP address that it is for: of a worker, the one by which it is looked up.
        #[arg(long = "name", value_name = "HOST", required = true)]
        names: Vec<String>,
        /// For how many days it is valid.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// How its files are called [default: the role].
        #[arg(long, value_name = "NAME")]
        out: Option<String>,
    },
    /// Say what is in a certificate.
    Show {
        /// Its file.
        file: PathBuf,
    },
}

/// What the holder of a certificate acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// It trains networks: workers do what it says.
    Coordinator,
    /// It is dialled by coordinators, and by workers that share a layer with it.
    Worker,
}

impl CertsCommand {
    /// Does it, and says what was done.
    pub fn execute(self) -> anyhow::Result<()> {
        let said = match self {
            Self::Init { dir, days } => certs::init(&dir, days)?,
            Self::Issue { dir, role, names, days, out } => {
                let role = match role {
                    RoleArg::Coordinator => Role::Coordinator,
                    RoleArg::Worker => Role::Worker,
                };
                let out = out.unwrap_or_else(|| role.to_string());
                certs::issue(&dir, &out, &certs::Wanted { role, names, days })?
            }
            Self::Show { file } => certs::show(&file)?,
        };
        Ok(print(said)?)
    }
}
