//! CSV (RFC 4180, but with plain line ends): a heading, then a line for each row. Several numbers of one column have a field
//! each, `features_0`, `features_1` and so on; numbers are written so that they are read back to the last bit.

use std::fmt::Write;
use std::io::{self, BufWriter};

use super::column::{Column, ColumnKind, Values};
use crate::part_file::PartFile;

/// A CSV file that grows.
pub struct CsvFile {
    writer: csv::Writer<BufWriter<PartFile>>,
    /// A number as text.
    field: String,
}

impl CsvFile {
    /// Writes the heading.
    pub fn begin(part: PartFile, columns: &[Column]) -> anyhow::Result<Self> {
        let mut writer = csv::Writer::from_writer(BufWriter::new(part));
        for Column { name, kind } in columns {
            match kind {
                ColumnKind::Text | ColumnKind::Number => writer.write_field(name)?,
                ColumnKind::Numbers(count) => {
                    (0..*count).try_for_each(|index| writer.write_field(format!("{name}_{index}")))?;
                }
            }
        }
        writer.write_record(None::<&[u8]>)?;
        Ok(Self { writer, field: String::new() })
    }

    /// Adds rows: what stands in each column.
    pub fn append(&mut self, values: &[Values<'_>]) -> anyhow::Result<()> {
        let rows = values.first().map_or(0, Values::rows);
        for row in 0..rows {
            for values in values {
                match values {
                    Values::Text(texts) => self.writer.write_field(&*texts[row])?,
                    Values::Numbers(numbers) => {
                        for number in numbers.row(row) {
                            self.field.clear();
                            write!(self.field, "{number}").expect("texts grow");
                            self.writer.write_field(&self.field)?;
                        }
                    }
                }
            }
            self.writer.write_record(None::<&[u8]>)?;
        }
        Ok(())
    }

    /// All rows are there.
    pub fn finish(self) -> anyhow::Result<()> {
        let buffered = self.writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.keep()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ndarray::array;

    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be_and_numbers_keep_their_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let columns = [Column::text("name"), Column::number("score"), Column::numbers("features", 2)];
        let mut file = CsvFile::begin(PartFile::create(&path).unwrap(), &columns).unwrap();
        let (scores, features) = (array![[0.1], [-2.0]], array![[1e-10, f32::MAX], [0.0, 1.0 / 3.0]]);
        for row in 0..2 {
            let at = row..row + 1;
            let name = ["a \"b\", c", "d"][row].into();
            let values = [
                Values::Text(vec![name]),
                Values::Numbers(scores.slice(ndarray::s![at.clone(), ..])),
                Values::Numbers(features.slice(ndarray::s![at, ..])),
            ];
            file.append(&values).unwrap();
        }
        file.finish().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "name,score,features_0,features_1");
        assert!(lines[1].starts_with("\"a \"\"b\"\", c\",0.1,"), "{text}");
        let last: Vec<f32> = lines[2].split(',').skip(1).map(|field| field.parse().unwrap()).collect();
        assert_eq!(last, [-2.0, 0.0, 1.0 / 3.0]);
        assert_eq!(lines.len(), 3);
    }
}
