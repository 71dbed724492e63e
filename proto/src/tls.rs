//! Mutual TLS between a coordinator and its workers, and among workers that share a layer.
//!
//! Everybody has a certificate of one certificate authority, which says for which names it is and in which role its holder acts.
//! A peer that is dialled must be a worker of the name that it was looked up by, whatever its address; one that dials may be
//! either, and its role says what it may ask for. Certificates are read again when their files change.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// The protocol inside, by its registered name.
const HTTP2: &[u8] = b"h2";

/// What the holder of a certificate acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It trains networks: workers do what it says.
    Coordinator,
    /// It is dialled, and hands on to workers that share a layer with it.
    Worker,
}

impl Role {
    /// How a certificate says so: the URI among its names.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Coordinator => "urn:strata:coordinator",
            Self::Worker => "urn:strata:worker",
        }
    }

    /// The role that a certificate states, if it states one.
    pub fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => {
                [Self::Coordinator, Self::Worker].into_iter().find(|role| role.uri() == *uri)
            }
            _ => None,
        })
    }

    fn of_der(certificate: &CertificateDer<'_>) -> Option<Self> {
        Self::of(&X509Certificate::from_der(certificate).ok()?.1)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
        })
    }
}

/// The role of a peer that has dialled, by the certificates that it has shown.
pub fn peer_role(certificates: Option<&[CertificateDer<'_>]>) -> Option<Role> {
    certificates?.first().and_then(Role::of_der)
}

/// Where certificates lie, in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate authority's certificate.
    pub authority: PathBuf,
    /// Our own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate is for another role.
    #[error("{}: a certificate for {}, expected one for a {expected}", path.display(), role_in_words(*.found))]
    Role {
        /// The file.
        path: PathBuf,
        /// The role that it states.
        found: Option<Role>,
        /// What it should be.
        expected: Role,
    },
}

fn role_in_words(role: Option<Role>) -> String {
    role.map_or_else(|| "no role".to_owned(), |role| format!("a {role}"))
}

/// Certificates in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    role: Role,
    loaded: Mutex<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    stamps: Vec<Option<SystemTime>>,
    configs: Configs,
}

/// Both ends' settings.
#[derive(Clone, Debug)]
pub struct Configs {
    /// For who dials.
    pub client: Arc<ClientConfig>,
    /// For who is dialled.
    pub server: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the certificates of a process that acts as `role`.
    pub fn load(files: TlsFiles, role: Role) -> Result<Self, TlsError> {
        let loaded = Loaded { stamps: stamps(&files), configs: configs(&files, role)? };
        Ok(Self { files, role, loaded: Mutex::new(loaded) })
    }

    /// The settings now. Files that have changed are read again; while they do not fit together, as in the middle of a
    /// rotation, those of before go on.
    pub fn configs(&self) -> Configs {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != loaded.stamps {
            match configs(&self.files, self.role) {
                Ok(configs) => {
                    tracing::info!("{}: read again, for it has changed", self.files.certificate.display());
                    loaded.configs = configs;
                }
                Err(error) => tracing::warn!("{error}; going on with the certificates of before"),
            }
            loaded.stamps = stamps;
        }
        loaded.configs.clone()
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let TlsFiles { authority, certificate, key } = files;
    [authority, certificate, key]
        .map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
        .to_vec()
}

fn configs(files: &TlsFiles, role: Role) -> Result<Configs, TlsError> {
    let TlsFiles { authority, certificate, key } = files;
    let own = certificates(certificate)?;
    let found = Role::of_der(&own[0]);
    if found != Some(role) {
        return Err(TlsError::Role { path: certificate.clone(), found, expected: role });
    }
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |problem: String| TlsError::File { path, problem }
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key)(in_words(error)))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).map_err(|error| wrong(authority)(error.to_string()))?;
    }
    let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
    let unfit = |error: Error| wrong(key)(format!("does not fit {}: {error}", certificate.display()));
    let server = server(&roots, &provider, own.clone(), private.clone_key()).map_err(unfit)?;
    let client = client(&roots, &provider, own, private).map_err(unfit)?;
    Ok(Configs { client: Arc::new(client), server: Arc::new(server) })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem| TlsError::File { path: path.to_owned(), problem };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(in_words(error)))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| wrong(in_words(error)))?;
    if found.is_empty() {
        return Err(wrong("no certificate in it, expected one in PEM form".to_owned()));
    }
    Ok(found)
}

fn in_words(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "no key in it, expected one in PEM form".to_owned(),
        error => error.to_string(),
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn server(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    own: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(own, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

fn client(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    own: Chain,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let names = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let names = names.map_err(|error| Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(WorkerVerifier(names)));
    let mut config = builder.with_client_auth_cert(own, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// Expects of a certificate what is usual, and that it is a worker's.
#[derive(Debug)]
struct WorkerVerifier(Arc<WebPkiServerVerifier>);

/// A certificate for something else.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is for {}, expected a worker's", role_in_words(*.0))]
struct NoWorker(Option<Role>);

impl ServerCertVerifier for WorkerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        match Role::of_der(certificate) {
            Some(Role::Worker) => Ok(verified),
            other => Err(CertificateError::Other(OtherError(Arc::new(NoWorker(other)))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What went wrong between two ends that do not trust each other, as one line for whoever has to mend it; nothing where an
/// error has other reasons.
pub fn distrust(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(problem) => of_certificate(problem),
        Error::NoCertificatesPresented => "it has no certificate".to_owned(),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        other => other.to_string(),
    })
}

fn of_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is of another certificate authority".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::Other(other) => other.to_string(),
        other => format!("its certificate is not accepted: {other}"),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet, by its clock",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is of another certificate authority"
        }
        AlertDescription::CertificateRequired => "there is none",
        other => return format!("it does not accept our certificate ({other:?})"),
    };
    format!("it does not accept our certificate: {why}")
}

/// The names and addresses that a certificate is for.
pub fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let names = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names.flatten().filter_map(name_in_words).collect()
}

fn name_in_words(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => Some(std::net::Ipv4Addr::from(bytes).to_string()),
            Err(_) => {
                <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
            }
        },
        _ => None,
    }
}
