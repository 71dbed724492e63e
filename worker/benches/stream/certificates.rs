//! An authority, and what it signs for both ends on loopback.

use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use proto::tls::{Role, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;

/// The folder that they lie in, until this is dropped.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them.
    pub fn make() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        for role in [Role::Coordinator, Role::Worker] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![
                SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                SanType::URI(role.uri().try_into()?),
            ];
            let key = KeyPair::generate()?;
            fs::write(folder.path().join(format!("{role}.pem")), params.signed_by(&key, &authority)?.pem())?;
            fs::write(folder.path().join(format!("{role}-key.pem")), key.serialize_pem())?;
        }
        Ok(Self(folder))
    }

    /// Those of a role.
    pub fn files(&self, role: Role) -> TlsFiles {
        let file = |name: String| self.0.path().join(name);
        TlsFiles {
            authority: file("ca.pem".to_owned()),
            certificate: file(format!("{role}.pem")),
            key: file(format!("{role}-key.pem")),
        }
    }

    /// A worker's options.
    pub fn of_worker(&self) -> Vec<String> {
        let TlsFiles { authority, certificate, key } = self.files(Role::Worker);
        let option = |name: &str, file: PathBuf| format!("--tls-{name}={}", file.display());
        vec![option("ca", authority), option("cert", certificate), option("key", key)]
    }
}
