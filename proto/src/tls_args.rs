//! The certificates of a process, on its command line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::tls::{Role, Tls, TlsError, TlsFiles};

/// Mutual TLS: `coordinator certs` makes these files. All three are needed, or none.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Certificates (coordinator certs --help)")]
pub struct TlsArgs {
    /// The certificate authority whose certificates are trusted, in PEM form.
    #[arg(long, value_name = "FILE", env = Self::VARIABLES[0], requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// This process's certificate.
    #[arg(long, value_name = "FILE", env = Self::VARIABLES[1], requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", env = Self::VARIABLES[2], requires_all = ["tls_ca", "tls_cert"])]
    pub tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// The environment variables of the same meaning.
    pub const VARIABLES: [&str; 3] = ["STRATA_TLS_CA", "STRATA_TLS_CERT", "STRATA_TLS_KEY"];

    /// Whether there are certificates.
    pub fn given(&self) -> bool {
        self.tls_ca.is_some()
    }

    /// The certificates of a process that acts as `role`, if they are given.
    pub fn load(&self, role: Role) -> Result<Option<Arc<Tls>>, TlsError> {
        let Self { tls_ca: Some(authority), tls_cert: Some(certificate), tls_key: Some(key) } = self else {
            return Ok(None);
        };
        let [authority, certificate, key] = [authority, certificate, key].map(PathBuf::clone);
        Ok(Some(Arc::new(Tls::load(TlsFiles { authority, certificate, key }, role)?)))
    }
}
