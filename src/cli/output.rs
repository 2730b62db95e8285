//! How data is printed: a table for people, JSON and CSV for machines. Data goes to stdout, all else
//! to stderr.

use std::io::{ErrorKind, StdoutLock, Write};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::sheet::{self, Field};

/// Stdout, which stays quiet once nobody reads it any more (`… | head`): what a command did is not
/// undone by that, and its exit code says what it did.
pub fn stdout() -> Stdout {
    Stdout(std::io::stdout().lock())
}

pub struct Stdout(StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            answer => answer,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            answer => answer,
        }
    }
}

/// Prints a text as it is.
///
/// # Errors
/// If stdout cannot be written, for example because the disk is full.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
    Csv,
}

/// A value in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Text(String),
    Integer(i64),
    /// A decimal, which stays text so that no reader turns it into a float.
    Decimal(String),
    Boolean(bool),
    Nothing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<chrono::NaiveDate> for Cell {
    fn from(date: chrono::NaiveDate) -> Self {
        Self::Text(date.to_string())
    }
}

impl From<chrono::DateTime<chrono::Utc>> for Cell {
    fn from(at: chrono::DateTime<chrono::Utc>) -> Self {
        Self::Text(at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Integer(number) => number.to_string(),
            Cell::Decimal(number) => number.clone(),
            Cell::Boolean(value) => value.to_string(),
            Cell::Nothing => String::new(),
        }
    }

    /// As it stands in CSV. Numbers are not texts: a negative amount must stay one.
    pub fn field(&self) -> Field {
        match self {
            Cell::Text(text) => Field::text(text),
            cell => Field::Plain(cell.shown()),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Cell::Integer(_) | Cell::Decimal(_))
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Text(text) | Cell::Decimal(text) => serializer.serialize_str(text),
            Cell::Integer(number) => serializer.serialize_i64(*number),
            Cell::Boolean(value) => serializer.serialize_bool(*value),
            Cell::Nothing => serializer.serialize_none(),
        }
    }
}

/// Rows under named columns.
#[derive(Clone, Debug)]
pub struct Listing {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
}

pub struct Object<'a>(pub &'a [&'static str], pub &'a [Cell]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            map.serialize_entry(column, cell)?;
        }
        map.end()
    }
}

impl Listing {
    pub fn new(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Prints to stdout.
    ///
    /// # Errors
    /// If stdout cannot be written, for example because the disk is full.
    pub fn print(&self, output: Output) -> anyhow::Result<()> {
        let mut stdout = stdout();
        match output {
            Output::Table => writeln!(stdout, "{}", self.table())?,
            Output::Json => {
                let objects: Vec<Object<'_>> =
                    self.rows.iter().map(|row| Object(&self.columns, row)).collect();
                serde_json::to_writer_pretty(&mut stdout, &objects)?;
                writeln!(stdout)?;
            }
            Output::Csv => {
                stdout.write_all(&sheet::head(self.columns.iter().copied()))?;
                for row in &self.rows {
                    stdout.write_all(&sheet::row(row.iter().map(Cell::field)))?;
                }
            }
        }
        stdout.flush()?;
        Ok(())
    }

    /// The rows as a table for people; numbers stand to the right.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_header(self.columns.iter().map(|column| column.replace('_', " ")));
        for (index, _) in self.columns.iter().enumerate() {
            if self.rows.iter().any(|row| row[index].is_number())
                && let Some(column) = table.column_mut(index)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| harmless(&cell.shown())));
        }
        table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

/// Texts come from outside; a terminal would obey control characters among them.
fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_disarmed_and_numbers_are_not() {
        let row = [Cell::from("-1e5"), Cell::Decimal("-5.00".to_owned()), Cell::from("acme")];
        assert_eq!(sheet::row(row.iter().map(Cell::field)), b"'-1e5,-5.00,acme\r\n");
    }

    #[test]
    fn objects_keep_the_order_of_the_columns() {
        let object = Object(&["b", "a"], &[Cell::Integer(1), Cell::Nothing]);
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"b":1,"a":null}"#);
    }
}
