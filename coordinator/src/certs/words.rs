//! What is in a certificate, in words.

use std::fmt;
use std::path::Path;

use proto::state::sha256;
use proto::tls::{Role, names};
use time::OffsetDateTime;
use x509_parser::pem::parse_x509_pem;

use crate::clock::now;

use super::error::CertsError;
use super::files;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What its holder acts as.
    pub role: Option<Role>,
    /// Whether it is an authority's.
    pub authority: bool,
    /// The host names and addresses that it is for, in order.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// When it begins to be valid.
    pub from: OffsetDateTime,
    /// When it ends.
    pub until: OffsetDateTime,
    /// Of its bytes.
    pub sha256: String,
}

/// Whether a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It will be.
    NotYet,
    /// It is.
    Now,
    /// It was.
    Expired,
}

impl Said {
    /// For how many days it is valid in all.
    pub fn days(&self) -> i64 {
        (self.until - self.from).whole_days()
    }

    /// Whether it is valid at that time.
    pub fn validity(&self, at: OffsetDateTime) -> Validity {
        match () {
            () if at < self.from => Validity::NotYet,
            () if at > self.until => Validity::Expired,
            () => Validity::Now,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            _ if self.authority => f.write_str("certificate authority")?,
            Some(role) => write!(f, "certificate of a {role}")?,
            None => f.write_str("certificate for no role in Strata")?,
        }
        if !self.names.is_empty() {
            write!(f, " for {}", self.names.join(", "))?;
        }
        match self.validity(now()) {
            Validity::NotYet => f.write_str(", not valid yet"),
            Validity::Now => Ok(()),
            Validity::Expired => f.write_str(", expired"),
        }
    }
}

/// Reads the first certificate of a file.
pub fn read(path: &Path) -> Result<Said, CertsError> {
    let wrong = |problem: String| CertsError::Content { path: path.to_owned(), problem };
    let text = files::read(path)?;
    let (_, pem) = parse_x509_pem(text.as_bytes())
        .map_err(|error| wrong(format!("{error}, expected a certificate in PEM form")))?;
    let certificate = pem.parse_x509().map_err(|error| wrong(error.to_string()))?;
    let mut names = names(&certificate);
    names.sort();
    let validity = certificate.validity();
    Ok(Said {
        role: Role::of(&certificate),
        authority: certificate.is_ca(),
        names,
        issuer: certificate.issuer().to_string(),
        from: validity.not_before.to_datetime(),
        until: validity.not_after.to_datetime(),
        sha256: sha256(&pem.contents),
    })
}

/// What is in a certificate, for a person.
pub fn show(path: &Path) -> Result<String, CertsError> {
    let said = read(path)?;
    let left = (said.until - now()).whole_days().max(0);
    Ok(format!(
        "{}: {said}\n  valid:     {} to {} ({left} days left)\n  signed by: {}\n  SHA-256:   {}",
        path.display(),
        said.from.date(),
        said.until.date(),
        said.issuer,
        said.sha256
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonsense.pem");
        std::fs::write(&path, "nonsense").unwrap();
        let error = show(&path).unwrap_err().to_string();
        assert!(error.contains("nonsense.pem") && error.contains("expected a certificate"), "{error}");
        assert!(show(&folder.path().join("absent.pem")).unwrap_err().to_string().contains("No such file"));
    }
}
