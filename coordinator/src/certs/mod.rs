//! Certificates of one's own: an authority, and what it signs for coordinators and workers.

mod error;
mod files;
mod words;

use std::net::IpAddr;
use std::path::Path;

use proto::state::sha256;
use proto::tls::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::Duration;

use crate::clock::now;

use files::Pair;

pub use error::CertsError;
pub use words::show;

/// Clocks of different machines may differ so much.
const SLACK: Duration = Duration::hours(1);

/// A certificate that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What its holder acts as.
    pub role: Role,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// For how many days it is valid.
    pub days: u32,
}

/// Makes a certificate authority in `dir`, unless it has one; says what is there.
pub fn init(dir: &Path, days: u32) -> Result<String, CertsError> {
    let pair = Pair::authority(dir);
    if pair.is_there()? {
        return Ok(format!("{}\nnothing was changed", show(&pair.certificate)?));
    }
    files::make_folder(dir)?;
    let key = KeyPair::generate()?;
    let mut params = validity(CertificateParams::default(), days);
    // Another authority has another name, so that who trusts one says of the other that it is unknown.
    let name = format!("Strata certificate authority {}", &sha256(key.public_key_raw())[..8]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    pair.write(&certificate.pem(), &key.serialize_pem())?;
    show(&pair.certificate)
}

/// Signs a certificate, unless the same is there; says what is there.
pub fn issue(dir: &Path, out: &str, wanted: &Wanted) -> Result<String, CertsError> {
    let authority = Pair::authority(dir);
    if !authority.is_there()? {
        return Err(CertsError::NoAuthority { dir: dir.to_owned() });
    }
    let pair = Pair::named(dir, out);
    if pair.is_there()? {
        return already_there(&pair.certificate, wanted);
    }
    let names = wanted.names.iter().map(|name| san(name)).collect::<Result<Vec<_>, _>>()?;
    let key = KeyPair::generate()?;
    let mut params = validity(CertificateParams::default(), wanted.days);
    params.distinguished_name.push(DnType::CommonName, format!("Strata {}", wanted.role));
    params.subject_alt_names = names;
    params.subject_alt_names.push(SanType::URI(wanted.role.uri().try_into()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let issuer = issuer(&authority)?;
    pair.write(&params.signed_by(&key, &issuer)?.pem(), &key.serialize_pem())?;
    show(&pair.certificate)
}

fn issuer(authority: &Pair) -> Result<Issuer<'static, KeyPair>, CertsError> {
    let content = |path: &Path, error: rcgen::Error| CertsError::Content {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let key = KeyPair::from_pem(&files::read(&authority.key)?);
    let key = key.map_err(|error| content(&authority.key, error))?;
    let issuer = Issuer::from_ca_cert_pem(&files::read(&authority.certificate)?, key);
    issuer.map_err(|error| content(&authority.certificate, error))
}

fn already_there(path: &Path, wanted: &Wanted) -> Result<String, CertsError> {
    let found = words::read(path)?;
    let mut names = wanted.names.clone();
    names.sort();
    let same =
        found.role == Some(wanted.role) && found.names == names && found.days() == i64::from(wanted.days);
    if !same || found.validity(now()) != words::Validity::Now {
        return Err(CertsError::Taken { path: path.to_owned(), found: found.to_string() });
    }
    Ok(format!("{}\nnothing was changed", show(path)?))
}

fn san(name: &str) -> Result<SanType, CertsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_host = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._*".contains(c));
    match name.try_into() {
        Ok(name) if is_host => Ok(SanType::DnsName(name)),
        _ => Err(CertsError::Name { name: name.to_owned() }),
    }
}

fn validity(mut params: CertificateParams, days: u32) -> CertificateParams {
    let from = now() - SLACK;
    (params.not_before, params.not_after) = (from, from + Duration::days(i64::from(days)));
    params
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proto::tls::{Tls, TlsFiles};

    use super::*;

    fn wanted(role: Role, names: &[&str]) -> Wanted {
        Wanted { role, names: names.iter().map(|name| (*name).to_owned()).collect(), days: 10 }
    }

    #[test]
    fn an_authority_signs_for_workers_and_coordinators() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("certs");
        assert!(init(&dir, 100).unwrap().contains("certificate authority"));
        let said = issue(&dir, "worker", &wanted(Role::Worker, &["node1", "10.0.0.2", "::1"])).unwrap();
        for fact in ["certificate of a worker", "node1", "10.0.0.2", "::1"] {
            assert!(said.contains(fact), "{fact} in {said}");
        }
        issue(&dir, "coordinator", &wanted(Role::Coordinator, &["head"])).unwrap();
        for (name, role) in [("worker", Role::Worker), ("coordinator", Role::Coordinator)] {
            let file = |suffix: &str| dir.join(format!("{name}{suffix}.pem"));
            let files = TlsFiles { authority: dir.join("ca.pem"), certificate: file(""), key: file("-key") };
            Tls::load(files, role).unwrap();
        }
        for key in ["ca-key.pem", "worker-key.pem"] {
            assert_eq!(dir.join(key).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert!(
            issue(dir, "a", &wanted(Role::Worker, &["a"])).unwrap_err().to_string().contains("certs init")
        );
        init(dir, 100).unwrap();
        issue(dir, "a", &wanted(Role::Worker, &["a", "b"])).unwrap();
        let read = || {
            ["ca.pem", "ca-key.pem", "a.pem", "a-key.pem"].map(|name| std::fs::read(dir.join(name)).unwrap())
        };
        let before = read();
        assert!(init(dir, 100).unwrap().ends_with("nothing was changed"));
        assert!(
            issue(dir, "a", &wanted(Role::Worker, &["b", "a"])).unwrap().ends_with("nothing was changed")
        );
        for other in [wanted(Role::Coordinator, &["a", "b"]), wanted(Role::Worker, &["a"])] {
            let error = issue(dir, "a", &other).unwrap_err().to_string();
            assert!(error.contains("a.pem is there already: certificate of a worker for a, b"), "{error}");
        }
        assert_eq!(read(), before);
        std::fs::remove_file(dir.join("a-key.pem")).unwrap();
        let error = issue(dir, "a", &wanted(Role::Worker, &["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("a.pem is there, but") && error.contains("a-key.pem is not"), "{error}");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), 100).unwrap();
        for name in ["", "a b", "a:1", "http://a", "ä"] {
            let error = issue(folder.path(), "a", &wanted(Role::Worker, &[name])).unwrap_err();
            assert!(matches!(error, CertsError::Name { .. }), "{name}: {error}");
        }
    }
}
