//! Why there is no certificate.

use std::path::PathBuf;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is something else than a certificate or a key.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no authority to sign with.
    #[error("{}: no certificate authority; make one with `coordinator certs init --dir {}`", dir.display(), dir.display())]
    NoAuthority {
        /// The folder.
        dir: PathBuf,
    },
    /// Something else is there already. Nothing is overwritten.
    #[error("{} is there already: {found}. Remove it, or give another --out", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// One file of a pair is missing.
    #[error("{} is there, but {} is not: restore it, or remove the other", there.display(), missing.display())]
    Half {
        /// The one.
        there: PathBuf,
        /// The other.
        missing: PathBuf,
    },
    /// A name that no certificate can be for.
    #[error("--name {name}: expected a host name, such as node1.example, or an IP address")]
    Name {
        /// What was given.
        name: String,
    },
    /// Making a key or a certificate failed.
    #[error("making the certificate: {0}")]
    Making(#[from] rcgen::Error),
}
