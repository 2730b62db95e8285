//! The bytes of a leaf: one ledger row, all its columns, as a canonical JSON array (RFC 8785).
//!
//! ```text
//! ["leaf/1",entry,epoch,sequence,source,brand,receipt id,predicate,supplier,product,result,
//!  verified at,expires at,usage day,of entry]
//! ```
//!
//! The first member names the encoding and its version; another order or another column is another
//! version. Numbers are whole, times are UTC with six decimals and `Z`, days are ISO dates, and what
//! a row does not have is `null`, never an empty string. So two rows have the same bytes only if
//! they are equal, and an auditor can type a leaf and hash it.
#![deny(clippy::arithmetic_side_effects)]

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use serde_json::Value;

use crate::canonical;
use crate::ids::{self, BrandId, Predicate};

/// Name and version of the encoding.
pub const FORMAT: &str = "leaf/1";

/// How a row came into the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Stream,
    /// A rejection that was retried.
    Retry,
    /// A parked event.
    Unpark,
    /// A conflict that was resolved.
    Resolution,
    /// Takes back the receipt of another entry.
    Void,
}

impl Source {
    pub const ALL: [Source; 5] =
        [Source::Stream, Source::Retry, Source::Unpark, Source::Resolution, Source::Void];

    pub fn as_str(self) -> &'static str {
        match self {
            Source::Stream => "stream",
            Source::Retry => "retry",
            Source::Unpark => "unpark",
            Source::Resolution => "resolution",
            Source::Void => "void",
        }
    }

    /// Finds a source by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

/// A row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// From 1 to 2^53 - 1, as is `sequence`.
    pub entry: u64,
    pub epoch: u32,
    pub sequence: u64,
    pub source: Source,
    pub brand: &'a str,
    pub receipt_id: &'a str,
    pub predicate: Predicate<'a>,
    pub supplier: Option<&'a str>,
    pub product: Option<&'a str>,
    /// What the event said; `None` if it did not.
    pub result: Option<bool>,
    /// In whole microseconds, as the ledger keeps it.
    pub verified_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub usage_day: NaiveDate,
    /// The entry that a void takes back, or that a resolution takes the place of.
    pub of_entry: Option<u64>,
}

/// Why a row has no leaf, or a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{column} {value} of entry {entry} cannot be in a leaf; the ledger never wrote it")]
    Column { entry: u64, column: &'static str, value: String },
    #[error("the leaf is not an array of 15 that begins with \"{FORMAT}\"")]
    Format,
    #[error("the leaf's {0} is missing, of another type or not possible")]
    Member(&'static str),
}

impl<'a> Leaf<'a> {
    /// Appends the leaf's bytes to `text`, which a caller of many leaves clears and keeps.
    ///
    /// # Errors
    /// If a number or time is outside what a ledger row can have.
    pub fn write(&self, text: &mut Vec<u8>) -> Result<(), Error> {
        let wrong = |column, value| Error::Column { entry: self.entry, column, value };
        let numbers = [("entry", Some(self.entry)), ("sequence", Some(self.sequence))];
        for (column, number) in numbers.into_iter().chain([("of entry", self.of_entry)]) {
            if number.is_some_and(|number| number > canonical::INTEGER_MAX || number == 0) {
                return Err(wrong(column, format!("{}", number.unwrap_or_default())));
            }
        }
        let corrects = matches!(self.source, Source::Void | Source::Resolution);
        if self.of_entry.is_some() != corrects {
            let value = format!("{:?} with source {}", self.of_entry, self.source.as_str());
            return Err(wrong("of entry", value));
        }
        text.extend_from_slice(b"[\"leaf/1\",");
        for number in [self.entry, u64::from(self.epoch), self.sequence] {
            digits(text, number, 1);
            text.push(b',');
        }
        canonical::string(text, self.source.as_str());
        for value in [self.brand, self.receipt_id] {
            text.push(b',');
            canonical::string(text, value);
        }
        // Neither name nor version has a character that is escaped, nor an `@`.
        text.extend_from_slice(b",\"");
        text.extend_from_slice(self.predicate.name.as_bytes());
        text.push(b'@');
        text.extend_from_slice(self.predicate.version.as_bytes());
        text.push(b'"');
        for value in [self.supplier, self.product] {
            text.push(b',');
            or_null(text, value, |text, value| {
                canonical::string(text, value);
                Some(())
            });
        }
        text.extend_from_slice(match self.result {
            None => &b",null,"[..],
            Some(true) => b",true,",
            Some(false) => b",false,",
        });
        let bad_time = |column, at: DateTime<Utc>| wrong(column, format!("{at:?}"));
        time(text, self.verified_at).ok_or_else(|| bad_time("verified at", self.verified_at))?;
        text.push(b',');
        or_null(text, self.expires_at, time)
            .ok_or_else(|| bad_time("expires at", self.expires_at.unwrap_or_default()))?;
        text.extend_from_slice(b",\"");
        day(text, self.usage_day).ok_or_else(|| wrong("usage day", self.usage_day.to_string()))?;
        text.extend_from_slice(b"\",");
        or_null(text, self.of_entry, |text, entry| {
            digits(text, entry, 1);
            Some(())
        });
        text.push(b']');
        Ok(())
    }

    /// The leaf's bytes.
    ///
    /// # Errors
    /// As [`Leaf::write`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::with_capacity(256);
        self.write(&mut text)?;
        Ok(text)
    }

    /// Takes a leaf from its array. Writing it again gives the array's canonical bytes, or it was
    /// not one.
    ///
    /// # Errors
    /// If a member is not what a ledger row can have.
    pub fn from_value(value: &'a Value) -> Result<Self, Error> {
        let members =
            value.as_array().filter(|members| members.len() == 15).ok_or(Error::Format)?;
        if members.first().and_then(Value::as_str) != Some(FORMAT) {
            return Err(Error::Format);
        }
        let text =
            |at: usize, name| members.get(at).and_then(Value::as_str).ok_or(Error::Member(name));
        let number =
            |at: usize, name| members.get(at).and_then(Value::as_u64).ok_or(Error::Member(name));
        let present = |at: usize| members.get(at).is_some_and(|member| !member.is_null());
        let time = |at, name| read_time(text(at, name)?).ok_or(Error::Member(name));
        let epoch = u32::try_from(number(2, "epoch")?).map_err(|_| Error::Member("epoch"))?;
        let source = Source::from_name(text(4, "source")?).ok_or(Error::Member("source"))?;
        let brand = text(5, "brand")?;
        let receipt_id = text(6, "receipt id")?;
        if BrandId::new(brand).is_none() {
            return Err(Error::Member("brand"));
        }
        if !(1..=ids::RECEIPT_ID_BYTES_MAX).contains(&receipt_id.len()) {
            return Err(Error::Member("receipt id"));
        }
        let result = members.get(10).filter(|result| !result.is_null());
        let leaf = Self {
            entry: number(1, "entry")?,
            epoch,
            sequence: number(3, "sequence")?,
            source,
            brand,
            receipt_id,
            predicate: Predicate::parse(text(7, "predicate")?).ok_or(Error::Member("predicate"))?,
            supplier: present(8).then(|| text(8, "supplier")).transpose()?,
            product: present(9).then(|| text(9, "product")).transpose()?,
            result: result
                .map(|result| result.as_bool().ok_or(Error::Member("result")))
                .transpose()?,
            verified_at: time(11, "verified at")?,
            expires_at: present(12).then(|| time(12, "expires at")).transpose()?,
            usage_day: text(13, "usage day")?.parse().map_err(|_| Error::Member("usage day"))?,
            of_entry: present(14).then(|| number(14, "of entry")).transpose()?,
        };
        Ok(leaf)
    }
}

fn read_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

fn or_null<T>(
    text: &mut Vec<u8>,
    value: Option<T>,
    write: impl Fn(&mut Vec<u8>, T) -> Option<()>,
) -> Option<()> {
    if let Some(value) = value {
        return write(text, value);
    }
    text.extend_from_slice(b"null");
    Some(())
}

/// `"2026-10-01T09:30:00.250000Z"`; nothing for a time that has no such text.
fn time(text: &mut Vec<u8>, at: DateTime<Utc>) -> Option<()> {
    let nanos = at.nanosecond();
    // A leap second has a billion nanoseconds or more.
    if !nanos.is_multiple_of(1000) || nanos >= 1_000_000_000 {
        return None;
    }
    text.push(b'"');
    day(text, at.date_naive())?;
    for (before, value) in [(b'T', at.hour()), (b':', at.minute()), (b':', at.second())] {
        text.push(before);
        digits(text, value.into(), 2);
    }
    text.push(b'.');
    digits(text, (nanos / 1000).into(), 6);
    text.extend_from_slice(b"Z\"");
    Some(())
}

fn day(text: &mut Vec<u8>, day: NaiveDate) -> Option<()> {
    let year = u64::try_from(day.year()).ok().filter(|year| (1970..=9999).contains(year))?;
    digits(text, year, 4);
    for value in [day.month(), day.day()] {
        text.push(b'-');
        digits(text, value.into(), 2);
    }
    Some(())
}

/// A number in at least `least` digits, of which there are at most 20.
fn digits(text: &mut Vec<u8>, mut number: u64, least: usize) {
    let mut written = [b'0'; 20];
    let mut first = written.len();
    for (place, digit) in written.iter_mut().enumerate().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0'.wrapping_add(u8::try_from(number % 10).expect("a rest of 10 is below 10"));
        number /= 10;
        first = place;
    }
    let first = first.min(written.len().saturating_sub(least));
    text.extend_from_slice(written.get(first..).expect("it is at most the length"));
}

#[cfg(test)]
mod tests;
