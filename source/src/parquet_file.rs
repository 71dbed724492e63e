//! A table of typed columns: Apache Parquet, uncompressed or compressed by Snappy or gzip.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::ConvertedType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::bad_file::BadFile;
use super::caught::caught;
use super::cells::Cells;
use super::survey::Survey;
use super::table_options::Missing;

/// Columns, at most.
const COLUMNS: usize = 1 << 20;
/// Rows that are read at a time.
const ROWS: usize = 4096;

const EXPECTED: &str = "a Parquet table, uncompressed or compressed by Snappy or gzip";
const NUMBERS: &str =
    "numbers; a column of texts can be data.table.label or name, or stand in data.table.ignore";

/// A table whose footer was read.
#[derive(Clone)]
pub struct ParquetFile {
    path: PathBuf,
    reader: Arc<SerializedFileReader<File>>,
    columns: Vec<String>,
    place: Arc<Mutex<Option<Place>>>,
}

/// How far some columns were read.
struct Place {
    row: usize,
    columns: Vec<usize>,
    /// The group of rows that is being read, and the row where it ends.
    group: usize,
    end: usize,
    readers: Vec<ColumnReader>,
}

/// A cell.
enum Cell {
    Missing,
    Number(f64),
    Text(String),
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of columns {}", self.path.display(), self.columns.join(", "))
    }
}

impl ParquetFile {
    /// Reads the footer of the table at `path`.
    pub fn open(path: &Path) -> Result<Self, BadFile> {
        let file = File::open(path).map_err(|cause| BadFile::new(path, cause, EXPECTED))?;
        let reader = answer(path, || SerializedFileReader::new(file))?;
        let columns = reader.metadata().file_metadata().schema_descr().columns();
        if columns.is_empty() || columns.len() > COLUMNS {
            return Err(BadFile::new(
                path,
                format_args!("{} columns", columns.len()),
                format_args!("1 to {COLUMNS}"),
            ));
        }
        let columns = columns.iter().map(|column| column.path().string()).collect();
        Ok(Self { path: path.to_owned(), reader: Arc::new(reader), columns, place: Arc::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the columns are called.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Goes through all rows, and keeps the cells of some columns as texts.
    pub fn survey(&self, columns: &[usize], skip_broken: bool) -> Result<Survey, BadFile> {
        let groups = self.reader.metadata().row_groups().iter();
        let rows: i64 = groups.map(|group| group.num_rows().max(0)).fold(0, i64::saturating_add);
        let rows = rows as usize;
        let mut survey = Survey::of_columns(columns.len());
        if columns.is_empty() {
            survey.rows = rows;
            return Ok(survey);
        }
        for start in (0..rows).step_by(ROWS) {
            let range = start..(start + ROWS).min(rows);
            let mut cells: Vec<_> =
                self.cells(range.clone(), columns)?.into_iter().map(Vec::into_iter).collect();
            for _ in range {
                let row = cells.iter_mut().map(|cells| cells.next().expect("one of each row"));
                let texts = columns.iter().zip(row).map(|(&column, cell)| self.text(column, cell));
                survey.take(texts.collect(), skip_broken)?;
            }
        }
        Ok(survey)
    }

    /// A cell that is a label or a name.
    fn text(&self, column: usize, cell: Cell) -> Result<String, BadFile> {
        match cell {
            Cell::Text(text) => Ok(text),
            Cell::Number(number) if number.fract() == 0.0 => Ok(format!("{number:.0}")),
            Cell::Number(number) => Ok(number.to_string()),
            Cell::Missing => Err(self.bad(column, "nothing", "a label or a name in every row")),
        }
    }

    /// Appends the numbers of some cells; what is missing and to become a mean is not a number.
    pub fn numbers(&self, cells: Cells<'_>, out: &mut Vec<f32>) -> Result<(), BadFile> {
        let Cells { rows: range, columns, missing } = cells;
        for start in range.clone().step_by(ROWS) {
            let piece = start..(start + ROWS).min(range.end);
            let begin = out.len();
            out.resize(begin + piece.len() * columns.len(), 0.0);
            for (place, (cells, &column)) in self.cells(piece, columns)?.into_iter().zip(columns).enumerate()
            {
                for (row, cell) in cells.into_iter().enumerate() {
                    out[begin + row * columns.len() + place] =
                        self.number(start + row, column, cell, missing)?;
                }
            }
        }
        Ok(())
    }

    fn number(&self, row: usize, column: usize, cell: Cell, missing: Missing) -> Result<f32, BadFile> {
        let bad =
            |found: &dyn fmt::Display, expected| self.bad(column, &format!("{found} in row {row}"), expected);
        match cell {
            Cell::Text(text) => Err(bad(&format_args!("{text:?}"), NUMBERS)),
            Cell::Number(number) if !number.is_nan() => {
                let single = number as f32;
                let expected = "a finite number in the range of single precision";
                if single.is_finite() { Ok(single) } else { Err(bad(&number, expected)) }
            }
            Cell::Number(_) | Cell::Missing => match missing {
                Missing::Mean => Ok(f32::NAN),
                Missing::Zero => Ok(0.0),
                Missing::Refuse => Err(bad(&"nothing", Missing::HINT)),
            },
        }
    }

    /// The cells of some columns in a range of the rows, column by column.
    fn cells(&self, range: Range<usize>, columns: &[usize]) -> Result<Vec<Vec<Cell>>, BadFile> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = place.take().filter(|place| place.row <= range.start && place.columns == columns);
        let mut now = taken.unwrap_or_else(|| Place {
            row: 0,
            columns: columns.to_vec(),
            group: 0,
            end: 0,
            readers: Vec::new(),
        });
        let mut cells: Vec<Vec<Cell>> = columns.iter().map(|_| Vec::new()).collect();
        while now.row < range.end {
            if now.row == now.end {
                self.open_group(&mut now)?;
            }
            let until = if now.row < range.start { range.start } else { range.end };
            let count = until.min(now.end) - now.row;
            let wanted = now.row >= range.start;
            for ((reader, &column), cells) in now.readers.iter_mut().zip(columns).zip(&mut cells) {
                let read = answer(&self.path, || self.read(column, reader, count))?;
                if read.len() != count {
                    return Err(self.bad(
                        column,
                        &format!("{} values in place of {count}", read.len()),
                        "all of them",
                    ));
                }
                if wanted {
                    cells.extend(read);
                }
            }
            now.row += count;
        }
        *place = Some(now);
        Ok(cells)
    }

    /// Goes on with the group of rows after the one that was read.
    fn open_group(&self, place: &mut Place) -> Result<(), BadFile> {
        if place.end > 0 || !place.readers.is_empty() {
            place.group += 1;
        }
        let group = answer(&self.path, || self.reader.get_row_group(place.group))?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        place.end += rows;
        let readers = place.columns.iter().map(|&column| group.get_column_reader(column));
        place.readers = answer(&self.path, || readers.collect())?;
        Ok(())
    }

    fn read(
        &self,
        column: usize,
        reader: &mut ColumnReader,
        count: usize,
    ) -> Result<Vec<Cell>, ParquetError> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let column = &*schema.column(column);
        if column.max_rep_level() > 0 {
            return Err(ParquetError::General(format!("lists in column {}", column.path().string())));
        }
        let unsigned = matches!(column.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64);
        let number = |number: f64| Cell::Number(number);
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                values(column, reader, count, |value| number(f64::from(u8::from(value))))
            }
            ColumnReader::Int32ColumnReader(reader) if is_plain(column) => {
                values(column, reader, count, |value| {
                    number(if unsigned { f64::from(value as u32) } else { f64::from(value) })
                })
            }
            ColumnReader::Int64ColumnReader(reader) if is_plain(column) => {
                values(column, reader, count, |value| {
                    number(if unsigned { value as u64 as f64 } else { value as f64 })
                })
            }
            ColumnReader::FloatColumnReader(reader) => {
                values(column, reader, count, |value| number(value.into()))
            }
            ColumnReader::DoubleColumnReader(reader) => values(column, reader, count, number),
            ColumnReader::ByteArrayColumnReader(reader) => values(column, reader, count, |bytes| {
                Cell::Text(String::from_utf8_lossy(bytes.data()).into_owned())
            }),
            _ => {
                let found = format!("{:?} in column {}", column.converted_type(), column.path().string());
                Err(ParquetError::General(found))
            }
        }
    }

    fn bad(&self, column: usize, found: &str, expected: &str) -> BadFile {
        BadFile::new(&self.path, format_args!("{found}, column {}", self.columns[column]), expected)
    }
}

/// Whether whole numbers stand for nothing else, such as dates.
fn is_plain(column: &ColumnDescriptor) -> bool {
    use ConvertedType::{INT_8, INT_16, INT_32, INT_64, NONE, UINT_8, UINT_16, UINT_32, UINT_64};
    matches!(
        column.converted_type(),
        NONE | INT_8 | INT_16 | INT_32 | INT_64 | UINT_8 | UINT_16 | UINT_32 | UINT_64
    )
}

/// The next values of a column.
fn values<T: DataType>(
    column: &ColumnDescriptor,
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    cell: impl Fn(T::T) -> Cell,
) -> Result<Vec<Cell>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    reader.read_records(count, Some(&mut levels), None, &mut values)?;
    let present = column.max_def_level();
    if present == 0 {
        return Ok(values.into_iter().map(cell).collect());
    }
    let mut values = values.into_iter();
    let cells = levels.into_iter().map(|level| {
        if level < present { Cell::Missing } else { values.next().map_or(Cell::Missing, &cell) }
    });
    Ok(cells.collect())
}

/// What the library says of a file. Some of what it reads it asserts and does not check: where that is not so, the file is refused.
fn answer<T>(path: &Path, ask: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, BadFile> {
    match caught(ask) {
        Some(answer) => answer.map_err(|cause| refused(path, &cause)),
        None => Err(BadFile::new(path, "pages that contradict themselves", EXPECTED)),
    }
}

fn refused(path: &Path, cause: &ParquetError) -> BadFile {
    let found = match cause {
        ParquetError::General(found) => found.clone(),
        other => other.to_string(),
    };
    BadFile::new(path, found.split_whitespace().collect::<Vec<_>>().join(" "), EXPECTED)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use parquet::basic::{Compression, GzipLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use tempfile::TempDir;

    use super::*;

    /// Groups of rows of a number, a number that may be missing, and a text.
    fn written(groups: &[&[(i64, Option<f64>, &str)]], compression: Compression) -> (TempDir, PathBuf) {
        let schema =
            "message table { required int64 count; optional double size; required binary kind (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
        for rows in groups {
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let counts: Vec<i64> = rows.iter().map(|row| row.0).collect();
            column.typed::<Int64Type>().write_batch(&counts, None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let sizes: Vec<f64> = rows.iter().filter_map(|row| row.1).collect();
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.1.is_some())).collect();
            column.typed::<DoubleType>().write_batch(&sizes, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let kinds: Vec<ByteArray> = rows.iter().map(|row| row.2.into()).collect();
            column.typed::<ByteArrayType>().write_batch(&kinds, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        (dir, path)
    }

    fn numbers(file: &ParquetFile, range: Range<usize>, missing: Missing) -> Result<Vec<f32>, String> {
        let mut out = Vec::new();
        file.numbers(Cells { rows: range, columns: &[1, 0], missing }, &mut out)
            .map_err(|error| error.to_string())?;
        Ok(out)
    }

    const GROUPS: [&[(i64, Option<f64>, &str)]; 2] =
        [&[(1, Some(0.5), "a"), (2, None, "b")], &[(3, Some(1.5), "b"), (4, Some(2.5), "a")]];

    #[test]
    fn any_rows_are_read_across_groups() {
        for compression in
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default())]
        {
            let (_dir, path) = written(&GROUPS, compression);
            let file = ParquetFile::open(&path).unwrap();
            assert_eq!(file.columns(), ["count", "size", "kind"]);
            let Survey { rows, texts, .. } = file.survey(&[2, 0], false).unwrap();
            assert_eq!(
                (rows, texts),
                (
                    4,
                    vec![
                        ["a", "b", "b", "a"].map(str::to_owned).to_vec(),
                        ["1", "2", "3", "4"].map(str::to_owned).to_vec()
                    ]
                )
            );
            assert_eq!(
                numbers(&file, 0..4, Missing::Zero).unwrap(),
                [0.5, 1.0, 0.0, 2.0, 1.5, 3.0, 2.5, 4.0]
            );
            assert_eq!(numbers(&file, 1..3, Missing::Zero).unwrap(), [0.0, 2.0, 1.5, 3.0]);
            assert_eq!(numbers(&file, 3..4, Missing::Zero).unwrap(), [2.5, 4.0]);
            assert!(numbers(&file, 1..2, Missing::Mean).unwrap()[0].is_nan());
        }
    }

    #[test]
    fn missing_values_texts_and_broken_files_are_refused() {
        let (dir, path) = written(&GROUPS, Compression::SNAPPY);
        let file = ParquetFile::open(&path).unwrap();
        let error = numbers(&file, 0..4, Missing::Refuse).unwrap_err();
        assert!(
            error.contains("a.parquet: found nothing in row 1, column size, expected a number"),
            "{error}"
        );
        let cells = Cells { rows: 0..1, columns: &[2], missing: Missing::Refuse };
        let error = file.numbers(cells, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("found \"a\" in row 0, column kind, expected numbers"), "{error}");
        let whole = fs::read(&path).unwrap();
        for bytes in [&b""[..], b"PAR1", &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
            let path = dir.path().join("broken.parquet");
            fs::write(&path, bytes).unwrap();
            let error = ParquetFile::open(&path).unwrap_err().to_string();
            assert!(error.contains("broken.parquet: found") && error.lines().count() == 1, "{error}");
        }
    }

    /// Opens a file of these bytes and reads all that is in it.
    fn all(path: &Path, bytes: &[u8]) -> Result<usize, BadFile> {
        fs::write(path, bytes).unwrap();
        let file = ParquetFile::open(path)?;
        let columns: Vec<usize> = (0..file.columns().len()).collect();
        let rows = file.survey(&columns, false)?.rows;
        let rows_read = 0..rows.min(1 << 20);
        let cells = Cells { rows: rows_read, columns: &columns[..1], missing: Missing::Zero };
        file.numbers(cells, &mut Vec::new())?;
        Ok(rows)
    }

    #[test]
    fn whatever_bytes_of_a_file_are_others_it_is_read_or_refused_with_its_name() {
        let compressions =
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default())];
        for compression in compressions {
            let (dir, path) = written(&GROUPS, compression);
            let whole = fs::read(&path).unwrap();
            let broken = dir.path().join("broken.parquet");
            for place in 0..whole.len() {
                for byte in [0, 0x7f, 0xff, whole[place] ^ 1] {
                    let mut bytes = whole.clone();
                    bytes[place] = byte;
                    if let Err(error) = all(&broken, &bytes) {
                        let error = error.to_string();
                        assert!(
                            error.contains("broken.parquet: found") && error.lines().count() == 1,
                            "{error}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn pages_that_are_cut_out_or_of_another_column_are_refused() {
        let (dir, path) = written(&GROUPS, Compression::SNAPPY);
        let whole = fs::read(&path).unwrap();
        let broken = dir.path().join("broken.parquet");
        let metadata = ParquetFile::open(&path).unwrap().reader.metadata().clone();
        let pages = metadata.row_groups()[0].columns();
        let ranges: Vec<_> = pages
            .iter()
            .map(|column| {
                let (start, length) = column.byte_range();
                start as usize..(start + length) as usize
            })
            .collect();
        for range in &ranges {
            let mut zeros = whole.clone();
            zeros[range.clone()].fill(0);
            let error = all(&broken, &zeros).unwrap_err().to_string();
            assert!(error.contains("broken.parquet: found") && error.lines().count() == 1, "{error}");
        }
        let mut swapped = whole.clone();
        let first = ranges[0].start..ranges[0].start + ranges[0].len().min(ranges[1].len());
        swapped.copy_within(first, ranges[1].start);
        assert!(all(&broken, &swapped).is_err());
    }
}
