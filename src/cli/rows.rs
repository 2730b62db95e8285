//! Rows that are printed as they come, however many there are.

use std::io::Write as _;

use super::output::{Cell, Listing, Object, Output, Stdout, stdout};
use crate::sheet;

/// So many rows of a table are laid out together: columns are as wide as these need.
const LAID_OUT: usize = 1000;

/// Prints rows under named columns, in no more memory the more there are. JSON and CSV are those of
/// [`Listing::print`]; a table of more than a thousand rows is printed as one after the other.
pub struct Rows {
    stdout: Stdout,
    output: Output,
    /// The columns, and rows of a table that are still to be laid out.
    waiting: Listing,
    is_begun: bool,
}

impl Rows {
    pub fn new(columns: impl IntoIterator<Item = &'static str>, output: Output) -> Self {
        Self { stdout: stdout(), output, waiting: Listing::new(columns), is_begun: false }
    }

    /// Prints a row, in a table at last with the thousandth.
    ///
    /// # Errors
    /// If stdout cannot be written, for example because the disk is full.
    pub fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        match self.output {
            Output::Table => {
                self.waiting.row(cells);
                if self.waiting.rows.len() == LAID_OUT {
                    self.lay_out()?;
                }
            }
            Output::Json => {
                let before = if self.is_begun { ",\n" } else { "[\n" };
                let object = Object(&self.waiting.columns, &cells);
                // Each line of the object stands deeper, as it does in a whole list.
                let text = serde_json::to_string_pretty(&object)?.replace('\n', "\n  ");
                write!(self.stdout, "{before}  {text}")?;
            }
            Output::Csv => {
                self.head()?;
                self.stdout.write_all(&sheet::row(cells.iter().map(Cell::field)))?;
            }
        }
        self.is_begun = true;
        Ok(())
    }

    /// Prints what is left.
    ///
    /// # Errors
    /// As [`Self::row`].
    pub fn end(mut self) -> anyhow::Result<()> {
        match self.output {
            Output::Table if self.is_begun && self.waiting.rows.is_empty() => {}
            Output::Table => self.lay_out()?,
            Output::Json if self.is_begun => writeln!(self.stdout, "\n]")?,
            Output::Json => writeln!(self.stdout, "[]")?,
            Output::Csv => self.head()?,
        }
        self.stdout.flush()?;
        Ok(())
    }

    fn lay_out(&mut self) -> anyhow::Result<()> {
        writeln!(self.stdout, "{}", self.waiting.table())?;
        self.waiting.rows.clear();
        Ok(())
    }

    /// The columns of CSV, once.
    fn head(&mut self) -> anyhow::Result<()> {
        if !self.is_begun {
            self.stdout.write_all(&sheet::head(self.waiting.columns.iter().copied()))?;
        }
        Ok(())
    }
}
