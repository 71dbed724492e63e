//! A user's labels of some samples: a CSV file with the columns `name` and `label`.

use std::collections::HashMap;
use std::path::Path;

use csv::StringRecord;

use super::bad_file::BadFile;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLabel {
    /// What the sample is called.
    pub name: String,
    /// What its label is called.
    pub label: String,
    /// The line, counted from 1.
    pub line: u64,
}

/// What the file says, line by line: one label or more, each sample once.
pub fn named_labels(path: &Path) -> Result<Vec<NamedLabel>, BadFile> {
    let bad =
        |found: &dyn std::fmt::Display| BadFile::new(path, found, "CSV with the columns name and label");
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|error| bad(&error))?;
    let headers = reader.headers().map_err(|error| bad(&error))?.clone();
    let column = |wanted: &str| {
        headers.iter().position(|column| column == wanted).ok_or_else(|| {
            bad(&format_args!("the columns {}", headers.iter().collect::<Vec<_>>().join(", ")))
        })
    };
    let (name, label) = (column("name")?, column("label")?);
    let mut labels: Vec<NamedLabel> = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for record in reader.records() {
        let record: StringRecord = record.map_err(|error| bad(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let value = |column: usize| record.get(column).unwrap_or_default().to_owned();
        let said = NamedLabel { name: value(name), label: value(label), line };
        if said.name.is_empty() || said.label.is_empty() {
            return Err(BadFile::new(
                path,
                format_args!("nothing in a column of line {line}"),
                "a name and a label",
            ));
        }
        if let Some(before) = lines.insert(said.name.clone(), line) {
            let found = format_args!("{} in line {line}, as in line {before}", said.name);
            return Err(BadFile::new(path, found, "each name once"));
        }
        labels.push(said);
    }
    if labels.is_empty() {
        return Err(BadFile::new(path, "no line but the first", "a line for each labelled sample"));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Vec<NamedLabel>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("few.csv");
        fs::write(&path, text).unwrap();
        named_labels(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_stand_in_any_order_beside_others_and_names_may_be_quoted() {
        let read = read("label,note,name\n cat ,x,\"a, b.png\"\n7,,2\n").unwrap();
        let said = |name: &str, label: &str, line| NamedLabel {
            name: name.to_owned(),
            label: label.to_owned(),
            line,
        };
        assert_eq!(read, [said("a, b.png", "cat", 2), said("2", "7", 3)]);
    }

    #[test]
    fn what_is_no_file_of_labels_is_refused_with_its_line() {
        for (text, fact) in [
            (
                "name,class\na,b\n",
                "found the columns name, class, expected CSV with the columns name and label",
            ),
            ("name,label\na,1\nb,1\na,2\n", "found a in line 4, as in line 2, expected each name once"),
            ("name,label\na,\n", "nothing in a column of line 2"),
            ("name,label\n", "no line but the first"),
            ("name,label\na,1,2\n", "line: 2"),
            ("", "expected CSV"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("few.csv: found") && error.contains(fact), "{text:?}: {error}");
        }
        let missing = named_labels(Path::new("/nowhere/few.csv")).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/few.csv: found"), "{missing}");
    }
}
