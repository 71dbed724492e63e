//! Apache Parquet: text columns, columns of single-precision numbers, and lists of as many numbers in every row.
//!
//! Parquet knows no lists of one size; the schema of Arrow, which a file carries beside its own, does, and whoever reads files
//! with Arrow finds columns that are matrices. Rows are kept until they are a group of some
//! megabytes, so what is in memory does not grow with their number.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::anyhow;
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{PrimitiveTypeBuilder, Type, TypePtr};

use super::column::{Column, ColumnKind, Values};
use crate::part_file::PartFile;

/// Bytes of a group of rows, at least, but of the last.
const GROUP_BYTES: usize = 16 << 20;

/// A Parquet file that grows.
pub struct ParquetFile {
    writer: SerializedFileWriter<Lent>,
    columns: Vec<Column>,
    /// What is in each column of the rows that are not written yet.
    waiting: Vec<Waiting>,
    bytes: usize,
}

/// A file until it is taken back. The library gives back what it writes to only in a way that hides why its end could not be written.
struct Lent(Option<PartFile>);

impl Write for Lent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().expect("it is lent").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().expect("it is lent").flush()
    }
}

/// What is in a column of the rows that are not written yet.
enum Waiting {
    Texts(Vec<ByteArray>),
    Numbers(Vec<f32>),
}

impl ParquetFile {
    /// Begins a file of these columns.
    pub fn begin(part: PartFile, columns: Vec<Column>) -> anyhow::Result<Self> {
        let schema = schema(&columns).map_err(cause)?;
        // Numbers repeat rarely.
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("Strata version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .build();
        let arrow = Schema::new(columns.iter().map(arrow_field).collect::<Vec<_>>());
        add_encoded_arrow_schema_to_metadata(&arrow, &mut properties);
        let part = Lent(Some(part));
        let writer = SerializedFileWriter::new(part, schema.into(), properties.into()).map_err(cause)?;
        let waiting = columns.iter().map(nothing).collect();
        Ok(Self { writer, columns, waiting, bytes: 0 })
    }

    /// Adds rows: what stands in each column.
    pub fn append(&mut self, values: &[Values<'_>]) -> anyhow::Result<()> {
        for (waiting, values) in self.waiting.iter_mut().zip(values) {
            match (waiting, values) {
                (Waiting::Texts(waiting), Values::Text(texts)) => {
                    waiting.extend(texts.iter().map(|text| ByteArray::from(&**text)));
                    self.bytes += texts.iter().map(|text| text.len()).sum::<usize>();
                }
                (Waiting::Numbers(waiting), Values::Numbers(numbers)) => {
                    waiting.extend(numbers);
                    self.bytes += numbers.len() * size_of::<f32>();
                }
                _ => panic!("values of the columns that there are"),
            }
        }
        if self.bytes >= GROUP_BYTES { self.write_group().map_err(cause) } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for (column, waiting) in self.columns.iter().zip(&mut self.waiting) {
            let mut writer = group.next_column()?.expect("a writer for each column");
            write_column(&mut writer, column, waiting)?;
            writer.close()?;
            *waiting = nothing(column);
        }
        group.close()?;
        self.bytes = 0;
        Ok(())
    }

    /// All rows are there.
    pub fn finish(mut self) -> anyhow::Result<()> {
        if self.bytes > 0 {
            self.write_group().map_err(cause)?;
        }
        self.writer.finish().map_err(cause)?;
        self.writer.inner_mut().0.take().expect("it is lent").keep()
    }
}

/// The error of the file, which names it, or else the library's.
fn cause(error: ParquetError) -> anyhow::Error {
    match error {
        ParquetError::External(cause) => anyhow!(cause),
        other => other.into(),
    }
}

fn nothing(column: &Column) -> Waiting {
    match column.kind {
        ColumnKind::Text => Waiting::Texts(Vec::new()),
        ColumnKind::Number | ColumnKind::Numbers(_) => Waiting::Numbers(Vec::new()),
    }
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    waiting: &Waiting,
) -> Result<(), ParquetError> {
    match (waiting, column.kind) {
        (Waiting::Texts(texts), _) => writer.typed::<ByteArrayType>().write_batch(texts, None, None)?,
        (Waiting::Numbers(numbers), ColumnKind::Numbers(count)) => {
            // All are there; every list begins anew with its first number.
            let defined = vec![1; numbers.len()];
            let repeated: Vec<i16> = (0..numbers.len()).map(|place| i16::from(place % count != 0)).collect();
            writer.typed::<FloatType>().write_batch(numbers, Some(&defined), Some(&repeated))?
        }
        (Waiting::Numbers(numbers), _) => writer.typed::<FloatType>().write_batch(numbers, None, None)?,
    };
    Ok(())
}

/// A column, or a part of one, that has a value in every row.
fn required(name: &str, physical: Physical) -> PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, physical).with_repetition(Repetition::REQUIRED)
}

/// The columns as Parquet's schema has them.
fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
    Type::group_type_builder("samples").with_fields(fields).build()
}

/// A column as Parquet's schema has it.
fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let Column { name, kind } = column;
    let field = match kind {
        ColumnKind::Text => {
            required(name, Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build()?
        }
        ColumnKind::Number => required(name, Physical::FLOAT).build()?,
        ColumnKind::Numbers(_) => {
            let element = Arc::new(required("element", Physical::FLOAT).build()?);
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![element])
                .build()?;
            Type::group_type_builder(name)
                .with_repetition(Repetition::REQUIRED)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(list)])
                .build()?
        }
    };
    Ok(Arc::new(field))
}

/// The same as Arrow's schema has it.
fn arrow_field(Column { name, kind }: &Column) -> Field {
    let kind = match *kind {
        ColumnKind::Text => DataType::Utf8,
        ColumnKind::Number => DataType::Float32,
        ColumnKind::Numbers(count) => {
            let count = i32::try_from(count).expect("a sample has fewer features");
            DataType::FixedSizeList(Arc::new(Field::new("element", DataType::Float32, false)), count)
        }
    };
    Field::new(name, kind, false)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use ndarray::Array2;
    use parquet::arrow::parquet_to_arrow_schema;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn on_a_full_disk_the_error_names_the_file_and_no_part_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.parquet");
        for rows in [0, 10, 1 << 23] {
            let columns = vec![Column::number("score")];
            let scores = Array2::zeros((rows, 1));
            let mut file = ParquetFile::begin(PartFile::on_a_full_disk(&path), columns).unwrap();
            let written = file.append(&[Values::Numbers(scores.view())]).and_then(|()| file.finish());
            let error = format!("{:#}", written.unwrap_err());
            assert!(error.starts_with(path.to_str().unwrap()), "{rows} rows: {error}");
            assert!(error.contains("out.parquet: No space left on device"), "{rows} rows: {error}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn rows_of_several_groups_are_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.parquet");
        let (width, at_a_time, times) = (1 << 10, 1 << 10, 9);
        let columns = vec![Column::text("name"), Column::number("score"), Column::numbers("features", width)];
        let mut file = ParquetFile::begin(PartFile::create(&path).unwrap(), columns).unwrap();
        let number = |row: usize, column: usize| (row * 31 + column) as f32;
        for first in (0..times).map(|time| time * at_a_time) {
            let scores = Array2::from_shape_fn((at_a_time, 1), |(row, _)| -((first + row) as f32));
            let features =
                Array2::from_shape_fn((at_a_time, width), |(row, column)| number(first + row, column));
            let names = (first..first + at_a_time).map(|row| format!("{row}.png").into()).collect();
            let values =
                [Values::Text(names), Values::Numbers(scores.view()), Values::Numbers(features.view())];
            file.append(&values).unwrap();
        }
        file.finish().unwrap();
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        let metadata = reader.metadata().file_metadata();
        let arrow = parquet_to_arrow_schema(metadata.schema_descr(), metadata.key_value_metadata()).unwrap();
        let DataType::FixedSizeList(element, length) = arrow.field(2).data_type() else {
            panic!("found {arrow}")
        };
        assert_eq!((element.data_type(), *length), (&DataType::Float32, 1 << 10));
        let mut rows = 0;
        for row in reader.get_row_iter(None).unwrap().map(Result::unwrap) {
            assert_eq!(
                (row.get_string(0).unwrap(), row.get_float(1).unwrap()),
                (&format!("{rows}.png"), -(rows as f32))
            );
            let list = row.get_list(2).unwrap().elements();
            assert_eq!(list.len(), width);
            assert_eq!(list[7], parquet::record::Field::Float(number(rows, 7)));
            rows += 1;
        }
        assert_eq!(rows, times * at_a_time);
    }
}
