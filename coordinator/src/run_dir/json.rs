//! JSON that can be read back: numbers that are not finite would be written as `null`.

use serde::Serialize;
use serde_json::Value;

use super::error::RunDirError;
use crate::location::Location;

/// A value as one line, for the file at `place`.
pub fn line(place: &Location, value: &impl Serialize) -> Result<String, RunDirError> {
    let plain = serde_json::to_value(value).expect("plain data");
    if let Some(what) = null(&plain) {
        return Err(RunDirError::NotFinite { place: place.clone(), what });
    }
    Ok(serde_json::to_string(value).expect("plain data"))
}

/// A value as a document for people and scripts, for the file at `place`.
pub fn document(place: &Location, value: &impl Serialize) -> Result<String, RunDirError> {
    line(place, value)?;
    Ok(serde_json::to_string_pretty(value).expect("plain data") + "\n")
}

/// The path of the first `null` in a value. Absent values have no field, so each was a number that is not finite.
fn null(value: &Value) -> Option<String> {
    let below = |name: String, value| {
        let rest = null(value)?;
        Some(if rest.is_empty() { name } else { format!("{name}.{rest}") })
    };
    match value {
        Value::Null => Some(String::new()),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| below(name.clone(), value)),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, value)| below(index.to_string(), value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_cannot_be_read_back_is_refused_with_its_field() {
        let place = Location::Folder("run/summary.json".into());
        assert_eq!(line(&place, &(1, 0.5_f64)).unwrap(), "[1,0.5]");
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = line(&place, &(1, [("lost", number)])).unwrap_err().to_string();
            assert_eq!(error, "run/summary.json: 1.0.1 is not a finite number; nothing was written");
        }
        let value = json!({ "layers": [{ "seconds": 1.0 }, { "seconds": null }] });
        assert!(document(&place, &value).unwrap_err().to_string().contains("layers.1.seconds is not"));
    }
}
