//! PostgreSQL's binary COPY format, written field by field into one buffer.
//!
//! Source: the PostgreSQL manual, COPY, "Binary Format". All numbers are big-endian.

use chrono::{DateTime, NaiveDate, Utc};

pub use fields::{Fields, Rows};

mod fields;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's own epoch.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;
/// Days from 0001-01-01, which chrono counts as day 1, to 2000-01-01.
const DAY_2000: i32 = 730_120;
const NULL: i32 = -1;

/// What stands before the first row: signature, no flags, no header extension.
pub fn header() -> Vec<u8> {
    let mut bytes = Vec::from(SIGNATURE);
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

/// What stands after the last row.
pub const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// Appends fields to `bytes`. The caller starts each row with [`Row::start`] and then writes as many
/// fields as it said.
pub struct Row<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Row<'a> {
    pub fn start(bytes: &'a mut Vec<u8>, fields: i16) -> Self {
        bytes.extend_from_slice(&fields.to_be_bytes());
        Self { bytes }
    }

    pub fn int8(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn int4(&mut self, value: i32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn int2(&mut self, value: i16) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn uuid(&mut self, value: u128) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    pub fn timestamptz(&mut self, value: DateTime<Utc>) -> &mut Self {
        self.int8(value.timestamp_micros() - EPOCH_2000_MICROS)
    }

    pub fn date(&mut self, value: NaiveDate) -> &mut Self {
        self.field(&date_bytes(value))
    }

    /// Writes `value` with `write`, or NULL.
    pub fn nullable<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        if let Some(value) = value {
            return write(self, value);
        }
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
        self
    }

    fn field(&mut self, value: &[u8]) -> &mut Self {
        let length = i32::try_from(value.len()).expect("a field is far below 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
        self
    }
}

/// A date as PostgreSQL sends it: days since 2000-01-01.
pub fn date_bytes(date: NaiveDate) -> [u8; 4] {
    (chrono::Datelike::num_days_from_ce(&date) - DAY_2000).to_be_bytes()
}

/// The date that PostgreSQL sends as these bytes. One that chrono cannot hold is the first that it can:
/// no such date is ever written.
pub fn date(bytes: [u8; 4]) -> NaiveDate {
    let days = i32::from_be_bytes(bytes).saturating_add(DAY_2000);
    NaiveDate::from_num_days_from_ce_opt(days).unwrap_or(NaiveDate::MIN)
}

/// The time that PostgreSQL sends as these bytes, with the same exception.
pub fn timestamptz(bytes: [u8; 8]) -> DateTime<Utc> {
    let micros = i64::from_be_bytes(bytes).saturating_add(EPOCH_2000_MICROS);
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Takes the next field, of `N` bytes, off a row as [`Reader`] hands it over.
///
/// # Panics
/// If fewer bytes are left: the caller names the fields that it asked for.
pub fn next<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk::<N>().expect("the row has its width");
    *rest = tail;
    *head
}

/// Reads a COPY TO stream of rows of fixed-width fields.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    header_is_read: bool,
}

impl Reader {
    /// Takes `bytes` and hands each complete row to `row` as its fields one after the other, without
    /// their lengths. `width` is the bytes of a row's fields, none of which may be NULL.
    pub fn push(&mut self, bytes: &[u8], fields: usize, width: usize, mut row: impl FnMut(&[u8])) {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        if !self.header_is_read {
            if self.pending.len() < SIGNATURE.len() + 8 {
                return;
            }
            at = SIGNATURE.len() + 8;
            self.header_is_read = true;
        }
        let row_bytes = 2 + fields * 4 + width;
        let mut values = Vec::with_capacity(width);
        while self.pending.len() - at >= row_bytes {
            values.clear();
            let mut field = at + 2;
            for _ in 0..fields {
                let (length, rest) = self.pending[field..].split_at(4);
                let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
                let length = usize::try_from(length).expect("no field of these rows is NULL");
                values.extend_from_slice(&rest[..length]);
                field += 4 + length;
            }
            row(&values);
            at += row_bytes;
        }
        self.pending.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_field_count_then_lengths_and_values() {
        let mut bytes = Vec::new();
        Row::start(&mut bytes, 4)
            .int4(7)
            .text("ab")
            .nullable(None::<bool>, |row, value| row.boolean(value))
            .date(NaiveDate::from_ymd_opt(2000, 1, 2).unwrap());
        assert_eq!(
            bytes,
            [
                0, 4, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255, 0, 0, 0,
                4, 0, 0, 0, 1
            ]
        );
    }

    #[test]
    fn timestamps_count_from_2000() {
        let mut bytes = Vec::new();
        Row::start(&mut bytes, 1).timestamptz("2000-01-01T00:00:01Z".parse().unwrap());
        assert_eq!(bytes[6..], 1_000_000i64.to_be_bytes());
    }

    #[test]
    fn dates_and_times_are_read_back() {
        let day = NaiveDate::from_ymd_opt(1999, 12, 31).unwrap();
        assert_eq!(date(date_bytes(day)), day);
        let at: DateTime<Utc> = "2026-03-01T10:00:00.123456Z".parse().unwrap();
        let mut bytes = Vec::new();
        Row::start(&mut bytes, 1).timestamptz(at);
        assert_eq!(timestamptz(bytes[6..].try_into().unwrap()), at);
    }

    #[test]
    fn a_reader_takes_rows_across_any_cut() {
        let mut bytes = header();
        for value in 0..3 {
            Row::start(&mut bytes, 2).int4(value).int8(i64::from(value) * 10);
        }
        bytes.extend_from_slice(&TRAILER);
        for cut in 1..bytes.len() {
            let mut rows = Vec::new();
            let mut reader = Reader::default();
            for part in bytes.chunks(cut) {
                reader.push(part, 2, 12, |row| rows.push(row.to_vec()));
            }
            assert_eq!(rows.len(), 3, "cut into parts of {cut}");
            assert_eq!(rows[2], [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 20]);
        }
    }
}
