//! Reads rows whose fields may be NULL, or of any length, out of a COPY TO stream.

use super::{SIGNATURE, next};
use crate::store::Error;

/// Takes a COPY TO stream as it comes and gives its rows.
#[derive(Default)]
pub struct Rows {
    /// What was not a whole row yet. Empty most of the time: PostgreSQL sends a message a row.
    pending: Vec<u8>,
    header_is_read: bool,
}

impl Rows {
    /// Takes `bytes` and hands each complete row to `row`, field by field.
    ///
    /// # Errors
    /// The first error of `row`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut row: impl FnMut(Fields<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.pending.is_empty() {
            let taken = self.take(bytes, &mut row)?;
            self.pending.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let taken = self.take(&pending, &mut row)?;
        pending.drain(..taken);
        self.pending = pending;
        Ok(())
    }

    /// Hands over the rows that `bytes` begin with, and returns how many bytes they had.
    fn take(
        &mut self,
        bytes: &[u8],
        row: &mut impl FnMut(Fields<'_>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut at = 0;
        if !self.header_is_read {
            if bytes.len() < SIGNATURE.len() + 8 {
                return Ok(0);
            }
            at = SIGNATURE.len() + 8;
            self.header_is_read = true;
        }
        while let Some((fields, length)) = row_in(&bytes[at..]) {
            row(Fields { rest: fields })?;
            at += length;
        }
        Ok(at)
    }
}

/// The fields of the row that `bytes` begin with, and its length; `None` if it is not whole.
fn row_in(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (count, fields) = bytes.split_first_chunk::<2>()?;
    // What stands after the last row counts -1 fields.
    let Ok(count) = usize::try_from(i16::from_be_bytes(*count)) else {
        return Some((&[], bytes.len()));
    };
    let mut rest = fields;
    for _ in 0..count {
        let (length, value) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        rest = value.get(length..)?;
    }
    let length = fields.len() - rest.len();
    (count > 0).then(|| (&fields[..length], 2 + length))
}

/// The fields of one row, taken from left to right.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// True for what stands after the last row.
    pub fn is_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field, `None` if it is NULL.
    ///
    /// # Errors
    /// If there is none.
    pub fn field(&mut self) -> Result<Option<&'a [u8]>, Error> {
        let missing = || Error::Corrupt("a row that was read has too few fields".to_owned());
        let (length, rest) = self.rest.split_first_chunk::<4>().ok_or_else(missing)?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = rest;
            return Ok(None);
        };
        let (value, rest) = rest.split_at_checked(length).ok_or_else(missing)?;
        self.rest = rest;
        Ok(Some(value))
    }

    /// The next field, of `N` bytes, `None` if it is NULL.
    ///
    /// # Errors
    /// If it has another length.
    pub fn nullable<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Error> {
        let Some(mut value) = self.field()? else { return Ok(None) };
        if value.len() == N {
            return Ok(Some(next(&mut value)));
        }
        let text = format!("a field that was read has {} bytes and not {N}", value.len());
        Err(Error::Corrupt(text))
    }

    /// The next field, of `N` bytes.
    ///
    /// # Errors
    /// If it is NULL or has another length.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.nullable()?.ok_or_else(|| Error::Corrupt("a field that was read is NULL".to_owned()))
    }

    /// The next field, a text, `None` if it is NULL.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&mut self) -> Result<Option<&'a str>, Error> {
        let not_utf8 = |_| Error::Corrupt("a text that was read is not UTF-8".to_owned());
        self.field()?.map(|value| std::str::from_utf8(value).map_err(not_utf8)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Row, TRAILER, header};
    use super::*;

    #[test]
    fn rows_are_taken_across_any_cut() {
        let mut bytes = header();
        for value in 0..3 {
            let mut row = Row::start(&mut bytes, 3);
            row.int4(value).text(&"x".repeat(usize::try_from(value).unwrap()));
            row.nullable((value == 1).then_some(true), |row, value| row.boolean(value));
        }
        bytes.extend_from_slice(&TRAILER);
        for cut in 1..=bytes.len() {
            let (mut rows, mut found, mut ends) = (Rows::default(), Vec::new(), 0);
            for part in bytes.chunks(cut) {
                rows.push(part, |mut fields| {
                    if fields.is_end() {
                        ends += 1;
                        return Ok(());
                    }
                    let number = i32::from_be_bytes(fields.fixed()?);
                    found.push((
                        number,
                        fields.text()?.map(str::to_owned),
                        fields.nullable::<1>()?,
                    ));
                    assert!(fields.field().is_err() && fields.is_end());
                    Ok(())
                })
                .unwrap();
            }
            let text = |text: &str| Some(text.to_owned());
            let expected = [(0, text(""), None), (1, text("x"), Some([1])), (2, text("xx"), None)];
            assert_eq!((found.as_slice(), ends), (expected.as_slice(), 1), "parts of {cut}");
        }
    }

    #[test]
    fn a_field_of_another_width_is_refused() {
        let mut bytes = header();
        Row::start(&mut bytes, 1).int4(7);
        let refused = Rows::default().push(&bytes, |mut fields| fields.fixed::<8>().map(|_| ()));
        assert!(refused.is_err());
    }
}
