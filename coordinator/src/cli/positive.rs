//! Numbers of the command line that are larger than 0.

/// Parses one.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        _ => Err("expected a positive number".to_owned()),
    }
}
