//! NumPy's `.npy`: a header, then the numbers in rows. How many rows there are is known before the first.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use anyhow::ensure;
use ndarray::ArrayView2;
use npyz::{DType, WriteOptions, WriterBuilder};

use crate::part_file::PartFile;

/// One array of single-precision numbers, (rows, columns), that is filled row by row.
pub struct NpyFile {
    out: BufWriter<PartFile>,
    missing: usize,
}

impl NpyFile {
    /// Begins an array of this shape.
    pub fn begin(part: PartFile, rows: usize, columns: usize) -> anyhow::Result<Self> {
        let mut out = BufWriter::new(part);
        write_header(&mut out, "<f4", &[rows, columns])?;
        Ok(Self { out, missing: rows })
    }

    /// Adds rows.
    pub fn append(&mut self, rows: ArrayView2<'_, f32>) -> anyhow::Result<()> {
        self.missing -= rows.nrows();
        write_rows(&mut self.out, rows)
    }

    /// All rows are there.
    pub fn finish(self) -> anyhow::Result<()> {
        ensure!(self.missing == 0, "{} rows are missing", self.missing);
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.keep()
    }
}

/// The header of an array of numbers or texts of this type, such as `<f4`.
pub fn write_header(out: &mut impl Write, number: &str, shape: &[usize]) -> anyhow::Result<()> {
    let number = DType::new_scalar(number.parse()?);
    let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
    WriteOptions::new_header_only().dtype(number).shape(&shape).writer(out).write_header_only()?;
    Ok(())
}

/// Numbers as `<f4` has them, row by row.
pub fn write_rows(out: &mut impl Write, rows: ArrayView2<'_, f32>) -> anyhow::Result<()> {
    for row in rows.rows() {
        match row.to_slice() {
            Some(row) if cfg!(target_endian = "little") => out.write_all(bytemuck::cast_slice(row))?,
            _ => row.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))?,
        }
    }
    Ok(())
}

/// A whole array of texts of fixed width, as NumPy keeps them: characters of four bytes, filled up with zeros.
pub fn write_texts<'a, I>(out: &mut impl Write, texts: impl Fn() -> I) -> anyhow::Result<()>
where
    I: ExactSizeIterator<Item = Cow<'a, str>>,
{
    let width = texts().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    write_header(out, &format!("<U{width}"), &[texts().len()])?;
    for text in texts() {
        let characters = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
        characters.flat_map(u32::to_le_bytes).try_for_each(|byte| out.write_all(&[byte]))?;
    }
    Ok(())
}
