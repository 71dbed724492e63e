//! Why a configuration cannot be used.

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{file}: {}{}", cause.to_string().trim_end(),
            spelling.as_ref().map(|spelling| format!("; {spelling}")).unwrap_or_default())]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        cause: Box<toml::de::Error>,
        /// How TOML writes what stands there, if that can be guessed.
        spelling: Option<String>,
    },
    /// A key is unknown, missing or of the wrong type.
    #[error("{file}: {key}: {message}")]
    Key {
        /// The file.
        file: String,
        /// The key's path.
        key: String,
        /// What was found and what is allowed.
        message: String,
    },
    /// An override is not `key=value`, or names no place in the file.
    #[error("--set {given}: {message}")]
    Override {
        /// The argument as given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
}
