//! `--set key=value`: keys of a configuration with other values.

/// Sets a key, which is a path such as `layers.0.lr`, to a value; errors with what is wrong with what was given.
pub fn set_key(root: &mut toml::Value, given: &str) -> Result<(), String> {
    let (path, value) = given.split_once('=').ok_or("expected key=value, such as layers.0.lr=0.01")?;
    let value = parse_value(value.trim());
    let mut segments = path.trim().split('.').peekable();
    let mut place = root;
    let mut walked = String::new();
    while let Some(segment) = segments.next() {
        walked = if walked.is_empty() { segment.to_owned() } else { format!("{walked}.{segment}") };
        place = match place {
            toml::Value::Table(table) if segments.peek().is_none() => {
                table.insert(segment.to_owned(), value);
                return Ok(());
            }
            toml::Value::Table(table) => {
                table.get_mut(segment).ok_or_else(|| format!("there is no `{walked}`"))?
            }
            toml::Value::Array(items) => {
                let length = items.len();
                let item = segment.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| format!("there is no `{walked}`: expected an index below {length}"))?
            }
            _ => return Err(format!("`{walked}` lies inside a plain value")),
        };
    }
    *place = value;
    Ok(())
}

/// A TOML value, or else the text itself, so that `--set data.name=mnist` needs no quotes.
fn parse_value(text: &str) -> toml::Value {
    let wrapped = format!("value = {text}").parse::<toml::Table>();
    wrapped
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}
