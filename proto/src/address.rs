//! Where a worker listens.

use std::fmt;

/// Where a worker listens, and by which name it was found there: the name that its certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// HOST:PORT.
    pub socket: String,
    /// A DNS name, or an IP address without brackets.
    pub name: String,
}

impl Address {
    /// One that was given as HOST:PORT, by the host's name.
    pub fn given(socket: &str) -> Self {
        let host = socket.rsplit_once(':').map_or(socket, |(host, _)| host);
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { socket: socket.to_owned(), name }
    }

    /// One that was found by looking `name` up.
    pub fn found(socket: String, name: &str) -> Self {
        Self { socket, name: name.to_owned() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_address_is_its_host() {
        assert_eq!(Address::given("a.example:1").name, "a.example");
        assert_eq!(Address::given("10.0.0.1:1").name, "10.0.0.1");
        assert_eq!(Address::given("[::1]:1").name, "::1");
        assert_eq!(Address::found("10.0.0.1:1".into(), "workers").to_string(), "10.0.0.1:1");
    }
}
