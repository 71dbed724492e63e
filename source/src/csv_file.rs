//! A table of texts: CSV, or with tabs, semicolons or bars in place of commas; gzipped or not.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Trim};

use super::bad_file::BadFile;
use super::cells::Cells;
use super::survey::Survey;
use super::table_options::Missing;
use super::unpack;

/// How much of a file is looked at to find out how it is written.
const LOOK: u64 = 1 << 16;
/// Rows of it.
const ROWS: usize = 50;
/// Columns, at most.
const COLUMNS: usize = 1 << 20;
/// What may stand between cells.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

const EXPECTED: &str = "a table of comma-separated values";

type Rows = Reader<Box<dyn Read + Send>>;

/// A table whose first rows were looked at.
#[derive(Clone, Debug)]
pub struct CsvFile {
    path: PathBuf,
    delimiter: u8,
    header: bool,
    columns: Vec<String>,
    place: Arc<Mutex<Option<Place>>>,
}

/// How far rows were read.
struct Place {
    row: usize,
    rows: Rows,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at row {}", self.row)
    }
}

impl CsvFile {
    /// Looks at the table at `path`; `header` says whether it has names of columns, if that is known.
    pub fn open(path: &Path, header: Option<bool>) -> Result<Self, BadFile> {
        let bad = |found: &dyn fmt::Display| BadFile::new(path, found, EXPECTED);
        let (_, reader) = unpack::open(path).map_err(|cause| bad(&cause))?;
        let mut begin = Vec::new();
        reader.take(LOOK).read_to_end(&mut begin).map_err(|cause| bad(&cause))?;
        let delimiter = delimiter(path, &begin);
        let mut rows = builder(delimiter).flexible(true).has_headers(false).from_reader(&begin[..]);
        let mut first: Vec<ByteRecord> = rows.byte_records().take(ROWS).map_while(Result::ok).collect();
        if first.len() > 1 && begin.len() as u64 == LOOK {
            // It may have been cut off.
            first.pop();
        }
        let Some(top) = first.first() else { return Err(bad(&"no rows")) };
        if top.len() > COLUMNS {
            return Err(bad(&format_args!("{} columns", top.len())));
        }
        let header = header.unwrap_or_else(|| has_header(&first));
        let columns = if header {
            let name = |cell| std::str::from_utf8(cell).map(str::to_owned);
            top.iter()
                .map(name)
                .collect::<Result<_, _>>()
                .map_err(|_| bad(&"names of columns that are no UTF-8"))?
        } else {
            (0..top.len()).map(|column| column.to_string()).collect()
        };
        Ok(Self { path: path.to_owned(), delimiter, header, columns, place: Arc::default() })
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
        let (mut rows, mut record) = (self.rows()?, ByteRecord::new());
        let mut survey = Survey::of_columns(columns.len());
        while let Some(row) = self.next(&mut rows, &mut record)? {
            let texts = || columns.iter().map(|&column| self.text(&record, column)).collect();
            survey.take(row.and_then(|()| texts()), skip_broken)?;
        }
        Ok(survey)
    }

    /// A cell that is a label or a name.
    fn text(&self, record: &ByteRecord, column: usize) -> Result<String, BadFile> {
        let text = std::str::from_utf8(&record[column]);
        let text = text.map_err(|_| self.bad(record, column, "a text that is no UTF-8", "UTF-8"))?;
        if is_missing(text) {
            return Err(self.bad(record, column, "nothing", "a label or a name in every row"));
        }
        Ok(text.to_owned())
    }

    /// Appends the numbers of some cells; what is missing and to become a mean is not a number.
    pub fn numbers(&self, cells: Cells<'_>, out: &mut Vec<f32>) -> Result<(), BadFile> {
        let Cells { rows: range, columns, missing } = cells;
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = place.take().filter(|place| place.row <= range.start);
        let now = place.insert(match taken {
            Some(place) => place,
            None => Place { row: 0, rows: self.rows()? },
        });
        let mut record = ByteRecord::new();
        while now.row < range.end {
            let Some(row) = self.next(&mut now.rows, &mut record)? else {
                let found = format!("{} rows, fewer than before", now.row);
                return Err(BadFile::new(&self.path, found, "a file that nobody changes while it is read"));
            };
            now.row += 1;
            if now.row > range.start {
                row?;
                for &column in columns {
                    out.push(self.number(&record, column, missing)?);
                }
            }
        }
        Ok(())
    }

    fn number(&self, record: &ByteRecord, column: usize, missing: Missing) -> Result<f32, BadFile> {
        let text = String::from_utf8_lossy(&record[column]);
        match (text.parse::<f64>().ok(), missing) {
            _ if is_missing(&text) => match missing {
                Missing::Mean => Ok(f32::NAN),
                Missing::Zero => Ok(0.0),
                Missing::Refuse => Err(self.bad(record, column, "nothing", Missing::HINT)),
            },
            (Some(number), _) if (number as f32).is_finite() => Ok(number as f32),
            (Some(_), _) => {
                Err(self.bad(record, column, &text, "a finite number in the range of single precision"))
            }
            (None, _) => {
                let expected = "a number; a column of texts can be data.table.label or name, or stand in data.table.ignore";
                Err(self.bad(record, column, &format!("{text:?}"), expected))
            }
        }
    }

    fn bad(&self, record: &ByteRecord, column: usize, found: &str, expected: &str) -> BadFile {
        let line = record.position().map_or(0, csv::Position::line);
        let found = format!("{found} in line {line}, column {}", self.columns[column]);
        BadFile::new(&self.path, found, expected)
    }

    /// All rows, from the first on.
    fn rows(&self) -> Result<Rows, BadFile> {
        let (_, reader) =
            unpack::open(&self.path).map_err(|cause| BadFile::new(&self.path, cause, EXPECTED))?;
        Ok(builder(self.delimiter).has_headers(self.header).from_reader(reader))
    }

    /// Reads the next row, if there is one; it may be broken.
    fn next(&self, rows: &mut Rows, record: &mut ByteRecord) -> Result<Option<Result<(), BadFile>>, BadFile> {
        let bad =
            |found: &dyn fmt::Display, expected: &dyn fmt::Display| BadFile::new(&self.path, found, expected);
        let columns = self.columns.len();
        let of_other_length = |cells: u64, position: Option<&csv::Position>| {
            let line = position.map_or(0, csv::Position::line);
            Ok(Some(Err(bad(&format_args!("{cells} cells in line {line}"), &columns))))
        };
        match rows.read_byte_record(record) {
            Ok(true) if record.len() != columns => of_other_length(record.len() as u64, record.position()),
            Ok(read) => Ok(read.then_some(Ok(()))),
            Err(error) => match error.into_kind() {
                ErrorKind::UnequalLengths { pos, len, .. } => of_other_length(len, pos.as_ref()),
                ErrorKind::Io(cause) => Err(bad(&cause, &EXPECTED)),
                other => Err(bad(&format_args!("{other:?}"), &EXPECTED)),
            },
        }
    }
}

fn builder(delimiter: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).trim(Trim::All).comment(Some(b'#'));
    builder
}

/// What stands between cells: in a file called `*.tsv` tabs, otherwise what the first line has most of.
fn delimiter(path: &Path, begin: &[u8]) -> u8 {
    let gzipped = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let name = if gzipped { path.file_stem().unwrap_or_default().as_ref() } else { path };
    if name.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv")) {
        return b'\t';
    }
    let mut lines = begin.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
    let line = lines.next().unwrap_or_default();
    let count = |delimiter| line.split(|&byte| byte == delimiter).count();
    // Of equals the last is taken.
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| count(delimiter)).expect("there are some")
}

/// Whether the first row says what the columns are called: where it has a text above numbers, or the numbers from 0 on as pandas
/// writes them; or nothing but texts.
fn has_header(rows: &[ByteRecord]) -> bool {
    let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
    let number = |cell: &[u8]| text(cell).parse::<f64>().is_ok();
    let (top, below) = (&rows[0], &rows[1..]);
    let named = |(column, cell): (usize, &[u8])| {
        let cells = || below.iter().filter_map(|row| row.get(column));
        !is_missing(&text(cell)) && !number(cell) && cells().any(number)
    };
    let counted =
        top.len() > 2 && top.iter().enumerate().all(|(column, cell)| text(cell) == column.to_string());
    top.iter().enumerate().any(named) || counted || top.iter().all(|cell| !number(cell))
}

/// Whether a cell stands for a value that is missing.
fn is_missing(cell: &str) -> bool {
    cell.is_empty()
        || cell == "?"
        || ["na", "n/a", "nan", "null", "none"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::Range;

    use tempfile::TempDir;

    use super::*;

    fn opened(name: &str, text: &str) -> (TempDir, Result<CsvFile, BadFile>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let file = CsvFile::open(&path, None);
        (dir, file)
    }

    fn numbers(file: &CsvFile, range: Range<usize>, missing: Missing) -> Result<Vec<f32>, String> {
        let columns: Vec<usize> = (0..file.columns().len()).collect();
        let mut out = Vec::new();
        file.numbers(Cells { rows: range, columns: &columns, missing }, &mut out)
            .map_err(|error| error.to_string())?;
        Ok(out)
    }

    #[test]
    fn delimiters_and_names_of_columns_are_found_out() {
        for (name, text, columns) in [
            ("a.csv", "x,y\n1,2\n3,4\n", "x y"),
            ("a.csv", "\u{feff}x;y\n1;2\n3;4\n", "x y"),
            ("a.tsv", "x\ty\n1\t2\n3\t4", "x y"),
            ("a.txt", "# from a camera\n1|2\n3|4\n", "0 1"),
            ("a.csv", "\"x\", y\r\n 1 , 2\r\n3,4\r\n", "x y"),
        ] {
            let (_dir, file) = opened(name, text);
            let file = file.unwrap();
            assert_eq!(file.columns().join(" "), columns, "{text}");
            assert_eq!(numbers(&file, 0..2, Missing::Refuse).unwrap(), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(numbers(&file, 1..2, Missing::Refuse).unwrap(), [3.0, 4.0]);
        }
        for (text, columns) in [
            ("5.1,3.5,setosa\n4.9,3.0,virginica\n", "0 1 2"),
            ("0,1,2\n5.1,3.5,7\n", "0 1 2"),
            (",a,b\n0,1.5,x\n1,2.5,y\n", " a b"),
        ] {
            let (_dir, file) = opened("a.csv", text);
            assert_eq!(file.as_ref().unwrap().columns().join(" "), columns);
            let rows = file.unwrap().survey(&[2], false).unwrap().rows;
            assert_eq!(rows, text.lines().count() - usize::from(!text.starts_with('5')), "{text}");
        }
    }

    #[test]
    fn gzipped_tables_are_read_as_others() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tsv.gz");
        let mut gzip =
            flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
        gzip.write_all(b"x\ty\n1\t2\n").unwrap();
        gzip.finish().unwrap();
        let file = CsvFile::open(&path, None).unwrap();
        assert_eq!(numbers(&file, 0..1, Missing::Refuse).unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn missing_values_are_refused_or_filled() {
        let (_dir, file) = opened("a.csv", "x,y\n1,2\n?,4\n5,NA\n");
        let file = file.unwrap();
        let error = numbers(&file, 0..3, Missing::Refuse).unwrap_err();
        assert!(
            error.contains("a.csv: found nothing in line 3, column x, expected a number; data.table.missing"),
            "{error}"
        );
        assert_eq!(numbers(&file, 0..3, Missing::Zero).unwrap(), [1.0, 2.0, 0.0, 4.0, 5.0, 0.0]);
        let filled = numbers(&file, 0..3, Missing::Mean).unwrap();
        assert!(filled[2].is_nan() && filled[5].is_nan());
    }

    #[test]
    fn what_is_no_table_of_numbers_is_refused_with_line_and_column() {
        for (text, refusal) in [
            ("", "found no rows"),
            ("x,y\n1,2\n3\n", "found 1 cells in line 3, expected 2"),
            ("x,y\n1,2\n3,4,5\n", "found 3 cells in line 3, expected 2"),
            (
                "x,y\n1,2\n3,cat\n",
                "found \"cat\" in line 3, column y, expected a number; a column of texts can be",
            ),
            ("x,y\n1,2\n3,inf\n", "found inf in line 3, column y, expected a finite number"),
            ("x,y\n1,2\n3,1e99\n", "found 1e99 in line 3, column y, expected a finite number"),
        ] {
            let (_dir, file) = opened("a.csv", text);
            let error = file.map_err(|error| error.to_string()).and_then(|file| {
                let rows = file.survey(&[], false).map_err(|error| error.to_string())?.rows;
                numbers(&file, 0..rows, Missing::Refuse)
            });
            let error = error.unwrap_err();
            assert!(error.contains("a.csv: ") && error.contains(refusal), "{text}: {error}");
        }
    }
}
