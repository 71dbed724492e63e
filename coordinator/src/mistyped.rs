//! What is wrong with a value that a configuration's key cannot have, in words and with an example.

use toml::Value;

/// What is wrong with `found`, by what serde's `message` says; that message itself where it is about something else.
pub fn explain(message: &str, found: Option<&Value>) -> String {
    let about_value = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    let expected = message.lines().next().and_then(|line| line.rsplit_once(", expected "));
    match (expected, found) {
        (Some((_, expected)), Some(found)) if about_value => {
            format!("found {}, expected {}", described(found), in_words(expected, found))
        }
        _ => message.to_owned(),
    }
}

/// How TOML writes what stands at the place of a value on `line`, if that is not TOML yet.
pub fn spelling(line: &str) -> Option<String> {
    let (_, value) = line.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let bare = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    match number(value) {
        Some(number) => Some(format!("TOML writes this number {number}")),
        None if matches!(value.to_lowercase().as_str(), "true" | "yes" | "on") => {
            Some("TOML writes true".to_owned())
        }
        None if matches!(value.to_lowercase().as_str(), "false" | "no" | "off") => {
            Some("TOML writes false".to_owned())
        }
        None if !value.is_empty() && value.chars().all(bare) => {
            Some(format!("TOML writes text in quotes: \"{value}\""))
        }
        None => None,
    }
}

/// A value as TOML writes it, with its kind.
fn described(value: &Value) -> String {
    match value {
        Value::String(_) => format!("the text {value}"),
        Value::Integer(_) | Value::Float(_) => format!("the number {value}"),
        Value::Boolean(_) => value.to_string(),
        Value::Datetime(_) => format!("the date {value}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// What serde expects, as people say it.
fn in_words(expected: &str, found: &Value) -> String {
    let whole = |limits: &str| format!("a whole number{limits}, such as {}", example(found, "100"));
    match expected {
        "f32" | "f64" => format!("a number, such as {}", example(found, "0.1")),
        "u8" => whole(" from 0 to 255"),
        "u16" => whole(" from 0 to 65535"),
        "u32" => whole(" from 0 to 4294967295"),
        "u64" => whole(", 0 or more"),
        "a boolean" => "true or false".to_owned(),
        "a string" | "string only" | "string or table" => "a text in quotes, such as \"conv1\"".to_owned(),
        "a sequence" => "a list of tables, such as the sections [[layers]]".to_owned(),
        table if table.starts_with("struct ") => "a table, such as { kind = \"max\", size = 2 }".to_owned(),
        other => other.to_owned(),
    }
}

/// The number that `found` is meant to be, as TOML writes it, if it is a text that reads as one; or else `usual`.
fn example(found: &Value, usual: &str) -> String {
    let text = match found {
        Value::String(text) => text.as_str(),
        Value::Float(number) if number.fract() == 0.0 && usual == "100" && number.abs() < 1e9 => {
            return format!("{number:.0}");
        }
        _ => return usual.to_owned(),
    };
    let is_whole = |number: &String| number.parse::<u64>().is_ok();
    number(text).filter(|number| usual != "100" || is_whole(number)).unwrap_or_else(|| usual.to_owned())
}

/// How TOML writes the number that `text` is meant to be: with a digit before the point and one behind it.
fn number(text: &str) -> Option<String> {
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let text = text.replace(',', ".");
    let whole = text.parse::<u64>().map(|number| number.to_string());
    whole.or_else(|_| text.parse::<f64>().map(|number| format!("{number:?}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_toml_writes_them() {
        for (given, written) in
            [(".1", "0.1"), ("1.", "1.0"), ("0,5", "0.5"), ("-.25e-3", "-0.00025"), ("007", "7")]
        {
            assert_eq!(number(given).as_deref(), Some(written));
            assert!(format!("x = {written}").parse::<toml::Table>().is_ok());
        }
        assert_eq!((number("fast"), number("inf"), number("")), (None, None, None));
    }

    #[test]
    fn what_is_no_toml_yet_is_spelt() {
        for (line, spelt) in [
            ("lr = .1  # fast", "TOML writes this number 0.1"),
            ("name = cifar-10", "TOML writes text in quotes: \"cifar-10\""),
            ("flip = Yes", "TOML writes true"),
        ] {
            assert_eq!(spelling(line).as_deref(), Some(spelt));
        }
        assert_eq!((spelling("lr ="), spelling("[data"), spelling("x = {")), (None, None, None));
    }
}
