//! How sources are spoken to: over which proxy, and whose certificates are trusted.
//!
//! Proxies are those of `ALL_PROXY`, `HTTPS_PROXY` and `HTTP_PROXY`, but for the hosts of `NO_PROXY`. Roots are the
//! system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead; built-in ones where the system has none.

use std::env;
use std::time::Duration;

use rustls::CertificateError;
use ureq::http::{Response, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A variable names no proxy.
    #[error("{variable} = {value:?}: expected the address of a proxy, such as http://proxy.example.org:3128")]
    Proxy {
        /// The variable of the environment.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The environment names certificates, but there are none.
    #[error("SSL_CERT_FILE or SSL_CERT_DIR is set, but names no certificate in PEM form{cause}")]
    Roots {
        /// What the system said, after a colon, if it said something.
        cause: String,
    },
    /// The server's certificate is not trusted.
    #[error("the server's certificate is not trusted ({cause}): {}", advice(*in_time))]
    Untrusted {
        /// What is wrong with it.
        cause: Box<ureq::Error>,
        /// Whether it is valid at the time of this machine's clock.
        in_time: bool,
    },
    /// No connection, no answer, or none that is HTTP.
    #[error("no answer{}: {cause}", over.as_ref().map(|proxy| format!(" over the proxy {proxy} of the environment"))
            .unwrap_or_default())]
    NoAnswer {
        /// What went wrong.
        cause: Box<ureq::Error>,
        /// The proxy that was to pass the request on.
        over: Option<String>,
    },
}

/// What to do about a certificate that is not trusted.
fn advice(in_time: bool) -> &'static str {
    if in_time {
        "if your network has a certificate authority of its own, name the PEM file of its certificate in \
         SSL_CERT_FILE, or add it to the system's"
    } else {
        "is this machine's clock right?"
    }
}

/// What asks sources for files.
pub struct Client {
    agent: Agent,
    proxy: Option<Proxy>,
}

impl Client {
    /// A client as the environment wants it.
    pub fn from_env() -> Result<Self, ClientError> {
        let patience = Some(Duration::from_secs(30));
        let proxy = proxy()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            // The files are gzipped and are wanted that way.
            .accept_encoding("identity")
            .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy.clone())
            .tls_config(TlsConfig::builder().root_certs(roots()?).build())
            .build()
            .new_agent();
        Ok(Self { agent, proxy })
    }

    /// The answer to a request for the file at `url` from byte `from` on.
    pub fn get(&self, url: &str, from: u64) -> Result<Response<Body>, ClientError> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(|error| {
            let cause = Box::new(error);
            match certificate_error(&cause) {
                Some(wrong) => ClientError::Untrusted { in_time: !is_about_time(wrong), cause },
                None => ClientError::NoAnswer { cause, over: self.proxy_for(url) },
            }
        })
    }

    /// The proxy over which `url` is asked for.
    fn proxy_for(&self, url: &str) -> Option<String> {
        let uri: Uri = url.parse().ok()?;
        let proxy = self.proxy.as_ref().filter(|proxy| !proxy.is_no_proxy(&uri))?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }
}

/// The proxy that the environment names; a value that is no address is not passed over.
fn proxy() -> Result<Option<Proxy>, ClientError> {
    for variable in ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        let value = env::var(variable).unwrap_or_default();
        if !value.is_empty() && Proxy::new(&value).is_err() {
            return Err(ClientError::Proxy { variable, value });
        }
    }
    Ok(Proxy::try_from_env())
}

/// The certificates that are trusted.
fn roots() -> Result<RootCerts, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).into());
    }
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|variable| env::var_os(variable).is_some());
    if named {
        let cause = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(ClientError::Roots { cause });
    }
    Ok(RootCerts::WebPki)
}

/// What is wrong with a certificate, if that is what went wrong.
fn certificate_error(error: &ureq::Error) -> Option<&CertificateError> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    if let rustls::Error::InvalidCertificate(wrong) = error { Some(wrong) } else { None }
}

fn is_about_time(wrong: &CertificateError) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(wrong, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}
