//! Where the workers of a run are found.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use proto::address::Address;

/// Where the workers of a run are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// So many processes of this machine, started and ended with the run.
    Local(usize),
    /// These addresses.
    Addresses(Vec<String>),
    /// All addresses of a DNS name, looked up again before every stage.
    Dns(String),
}

impl Discovery {
    /// The addresses that workers may have now; none of local ones, which are started at addresses of their own.
    pub async fn look_up(&self) -> Result<Vec<Address>, String> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::Addresses(addresses) => Ok(addresses.iter().map(|given| Address::given(given)).collect()),
            Self::Dns(name) => {
                let found =
                    tokio::net::lookup_host(name).await.map_err(|error| format!("{name}: {error}"))?;
                let host = Address::given(name).name;
                let mut found: Vec<Address> =
                    found.map(|address| Address::found(address.to_string(), &host)).collect();
                found.sort();
                found.dedup();
                Ok(found)
            }
        }
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(count) => write!(f, "{count} local worker(s)"),
            Self::Addresses(addresses) => f.write_str(&addresses.join(", ")),
            Self::Dns(name) => write!(f, "dns://{name}"),
        }
    }
}

impl FromStr for Discovery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("dns://") {
            return match check_address(name) {
                Ok(()) => Ok(Self::Dns(name.to_owned())),
                Err(_) => Err(format!("found `{text}`, expected dns://NAME:PORT")),
            };
        }
        let mut addresses = Vec::new();
        for address in text.split(',').map(str::trim) {
            check_address(address)?;
            if addresses.iter().any(|known| known == address) {
                return Err(format!("found `{address}` twice, expected each worker once"));
            }
            addresses.push(address.to_owned());
        }
        Ok(Self::Addresses(addresses))
    }
}

/// Whether `text` is HOST:PORT, where a host is a name, an IPv4 address or an IPv6 address in brackets.
fn check_address(text: &str) -> Result<(), String> {
    let expected = |what: &str| Err(format!("found `{text}`, expected {what}"));
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if let Some((_, rest)) = text.split_once("://") {
        return expected(&format!("HOST:PORT without a scheme, such as {}", rest.trim_matches('/')));
    }
    if host.parse::<Ipv6Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return expected(&format!("an IPv6 address in brackets, such as [{host}]:{port}"));
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)),
    };
    match port.parse::<u16>() {
        Ok(1..) if is_host && !port.starts_with('+') => Ok(()),
        _ => expected("HOST:PORT, several with commas between, or dns://NAME:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_at_addresses_or_under_a_name() {
        let addresses = Discovery::Addresses(vec!["a:1".into(), "10.0.0.2:50551".into(), "[::1]:7".into()]);
        assert_eq!("a:1, 10.0.0.2:50551,[::1]:7".parse(), Ok(addresses));
        assert_eq!("dns://workers:50551".parse(), Ok(Discovery::Dns("workers:50551".into())));
        assert_eq!("a_b-c.example.:1".parse(), Ok(Discovery::Addresses(vec!["a_b-c.example.:1".into()])));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_right_form() {
        let refused = |text: &str| text.parse::<Discovery>().unwrap_err();
        for wrong in ["", "a", "a:", ":1", "a:1,b", "a:70000", "a:0", "user@x:1", "a b:1", "[x]:1", "a:+1"] {
            assert!(refused(wrong).ends_with("HOST:PORT, several with commas between, or dns://NAME:PORT"));
        }
        for wrong in ["dns://a", "dns:///x:1", "dns://", "dns://user@x:1", "dns://a:1,b:1"] {
            assert_eq!(refused(wrong), format!("found `{wrong}`, expected dns://NAME:PORT"));
        }
        assert!(refused("http://x:1").ends_with("HOST:PORT without a scheme, such as x:1"));
        assert!(refused("https://x:1/").ends_with("such as x:1"));
        assert!(refused("::1:1").ends_with("an IPv6 address in brackets, such as [::1]:1"));
        assert!(refused("fe80::2:50551").ends_with("such as [fe80::2]:50551"));
        assert!(refused("a:1,a:1").contains("twice"));
    }
}
