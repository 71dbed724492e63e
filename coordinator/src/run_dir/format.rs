//! The version of the format of a model's files (`docs/model-format.md`), which they say in their headers.

use proto::state::{Header, StateError, number};

use super::error::Damage;

/// The version that is written, and the latest that is read.
pub const FORMAT: u32 = 1;

const FIELD: &str = "format";

/// A header that says the format.
pub fn stamped(mut header: Header) -> Header {
    header.insert(FIELD.to_owned(), FORMAT.to_string());
    header
}

/// Why a file of this header cannot be read, if so. Files of the builds before there were versions say none.
pub fn check(header: &Header) -> Result<(), Damage> {
    if !header.contains_key(FIELD) {
        return Ok(());
    }
    let found = number::<u32>(header, FIELD)?;
    if found == 0 {
        let (name, found, expected) = (FIELD.to_owned(), "0".to_owned(), "1 or more".to_owned());
        return Err(StateError::Header { name, found, expected }.into());
    }
    if found <= FORMAT { Ok(()) } else { Err(Damage::LaterFormat { found, known: FORMAT }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_refused_and_an_older_one_is_not() {
        let header = |format: &str| Header::from([(FIELD.to_owned(), format.to_owned())]);
        assert!(check(&Header::new()).is_ok());
        assert!(check(&stamped(Header::new())).is_ok());
        assert!(check(&header("1")).is_ok());
        let refusal = |format: &str| check(&header(format)).unwrap_err().to_string();
        assert!(refusal("2").starts_with("found format 2, expected 1 or less"));
        assert!(refusal("0").contains("header field `format`: found 0"));
        assert!(refusal("one").contains("header field `format`: found one"));
    }
}
