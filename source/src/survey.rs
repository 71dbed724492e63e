//! What a first look at all rows of a table finds.

use super::bad_file::BadFile;

/// What the rows of a table are called and labelled.
#[derive(Debug)]
pub struct Survey {
    /// How many rows there are.
    pub rows: usize,
    /// The cells of some columns as texts, column by column; of rows that are broken, nothing in them.
    pub texts: Vec<Vec<String>>,
    /// Rows that are broken, where they may be.
    pub broken: Vec<(usize, BadFile)>,
}

impl Survey {
    /// Of no rows yet, and so many columns.
    pub fn of_columns(columns: usize) -> Self {
        Self { rows: 0, texts: vec![Vec::new(); columns], broken: Vec::new() }
    }

    /// Takes the next row; one that is broken is an error, unless such ones are skipped.
    pub fn take(&mut self, row: Result<Vec<String>, BadFile>, skip_broken: bool) -> Result<(), BadFile> {
        let cells = match row {
            Ok(cells) => cells,
            Err(error) if skip_broken => {
                self.broken.push((self.rows, error));
                vec![String::new(); self.texts.len()]
            }
            Err(error) => return Err(error),
        };
        self.rows += 1;
        self.texts.iter_mut().zip(cells).for_each(|(texts, cell)| texts.push(cell));
        Ok(())
    }
}
