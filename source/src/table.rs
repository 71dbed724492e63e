//! A user's tables: columns of numbers, one of labels, and perhaps one of names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::bad_file::BadFile;
use super::classes::{self, CLASSES};
use super::error::DataError;
use super::input::{InputKind, InputSpec, NumberInput};
use super::names::Names;
use super::opened::{Input, Reader};
use super::shape::Shape;
use super::survey::Survey;
use super::table_file::TableFile;
use super::table_options::TableOptions;
use super::table_samples::TableSamples;

/// The column of labels where none is configured.
const LABEL: &str = "label";

/// What the rows of a table are: numbers of all of its columns but those that have another purpose.
pub fn kind(path: &Path, options: &TableOptions) -> Result<InputKind, DataError> {
    let file = TableFile::open(path, options.header)?;
    check_unique(&file)?;
    let TableOptions { label, name, ignore, .. } = options;
    let mut purposes = Purposes::find(&file, options);
    for named in [label, name].into_iter().flatten().chain(ignore) {
        purposes.others.push(found(&file, named)?);
    }
    let columns: Vec<String> = purposes.numbers().map(|column| file.columns()[column].clone()).collect();
    if columns.is_empty() {
        let expected = "a column of numbers besides those of labels and names";
        return Err(
            BadFile::new(path, format_args!("the columns {}", file.columns().join(", ")), expected).into()
        );
    }
    let shape = Shape { height: 1, width: 1, channels: columns.len() };
    Ok(InputKind::Numbers(NumberInput { shape, moments: None, columns, table: Some(options.clone()) }))
}

/// Rows of a table for a model of `input`, whose columns are looked for by their names; in a table for a model of arrays, which have
/// no names, by their order. Where rows that are broken are skipped, they are samples that nothing becomes of.
pub fn open(path: &Path, input: &NumberInput, skip_broken: bool) -> Result<Input, DataError> {
    let options = input.table.clone().unwrap_or_default();
    let file = TableFile::open(path, options.header)?;
    check_unique(&file)?;
    let purposes = Purposes::find(&file, &options);
    let columns: Vec<usize> = if input.columns.is_empty() {
        purposes.numbers().collect()
    } else {
        input.columns.iter().map(|name| found(&file, name)).collect::<Result<_, _>>()?
    };
    if columns.len() != input.shape.len() {
        let expected = format!("{}, as the model reads", input.shape.len());
        return Err(BadFile::new(path, format_args!("{} columns of numbers", columns.len()), expected).into());
    }
    let texts: Vec<usize> = [purposes.label, purposes.name].into_iter().flatten().collect();
    let Survey { rows, mut texts, broken } = file.survey(&texts, skip_broken)?;
    stand_in(&mut texts, &broken);
    if rows == 0 || rows > u32::MAX as usize {
        return Err(BadFile::new(path, format_args!("{rows} rows"), format_args!("1 to {}", u32::MAX)).into());
    }
    let names: Option<Names> = purposes.name.and_then(|_| texts.pop()).map(Names::from_iter);
    let (labels, classes) = match texts.pop() {
        Some(texts) => classes::counted(&texts)
            .map_err(|found| BadFile::new(path, found, format_args!("at most {CLASSES}")))?,
        None => (Vec::new(), Vec::new()),
    };
    let kind = InputKind::Numbers(input.clone());
    let input = Arc::new(InputSpec { kind, classes: Vec::new() });
    let samples = TableSamples { file, rows, columns: columns.into(), input, broken: broken.into() };
    Ok(Input::new(Reader::Table(samples), names, labels, classes))
}

/// Puts what another row has into those that are broken, so that they make no class of their own.
fn stand_in(texts: &mut [Vec<String>], broken: &[(usize, BadFile)]) {
    let is_broken = |row: usize| broken.binary_search_by_key(&row, |(row, _)| *row).is_ok();
    for texts in texts {
        let other = (0..texts.len()).find(|row| !is_broken(*row)).map(|row| texts[row].clone());
        if let Some(other) = other {
            for (row, _) in broken {
                texts[*row].clone_from(&other);
            }
        }
    }
}

/// What the columns of a table are for.
struct Purposes {
    label: Option<usize>,
    name: Option<usize>,
    /// Columns that are not read.
    others: Vec<usize>,
    all: usize,
}

impl Purposes {
    /// As far as the table has such columns.
    fn find(file: &TableFile, options: &TableOptions) -> Self {
        let column = |name: &str| file.columns().iter().position(|column| column == name);
        let label = column(options.label.as_deref().unwrap_or(LABEL));
        let name = match &options.name {
            Some(name) => column(name),
            None => (file.columns()[0].is_empty()).then_some(0),
        };
        Self { label, name, others: Vec::new(), all: file.columns().len() }
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        let other = |column: &usize| {
            self.label == Some(*column) || self.name == Some(*column) || self.others.contains(column)
        };
        (0..self.all).filter(move |column| !other(column))
    }
}

fn found(file: &TableFile, name: &str) -> Result<usize, BadFile> {
    let place = file.columns().iter().position(|column| column == name);
    place.ok_or_else(|| {
        let columns: Vec<&str> = file.columns().iter().take(20).map(String::as_str).collect();
        let more = if file.columns().len() > columns.len() { ", ..." } else { "" };
        let found = format!("the columns {}{more}", columns.join(", "));
        BadFile::new(file.path(), found, format_args!("one called {name}"))
    })
}

fn check_unique(file: &TableFile) -> Result<(), BadFile> {
    let mut seen = BTreeSet::new();
    match file.columns().iter().find(|column| !seen.insert(*column)) {
        Some(twice) => {
            Err(BadFile::new(file.path(), format_args!("two columns called {twice:?}"), "names that differ"))
        }
        None => Ok(()),
    }
}
