//! Numbers and dates of documents.
//!
//! Numbers are gapless within a series: issuer, what the document is to accounting, and the year of
//! its issue date. The store keeps one counter for each series and takes the number last; here is
//! how a number is written, and which dates a document bears.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::document::Kind;
use crate::usage;

/// Longest terms of payment, in days.
pub const TERMS_DAYS_MAX: u16 = 365;

/// What one counter numbers, for one issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    pub prefix: Prefix,
    /// Of the issue date.
    pub year: i32,
}

/// Invoices and adjustments share their numbers, for both are invoices to accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    Invoice,
    CreditNote,
}

impl Prefix {
    /// As numbers begin: `INV`, `CN`. It is also the series' kind in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Prefix::Invoice => "INV",
            Prefix::CreditNote => "CN",
        }
    }

    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Invoice | Kind::Adjustment => Prefix::Invoice,
            Kind::CreditNote => Prefix::CreditNote,
        }
    }
}

/// A document's number, written `INV-2026-000042`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    pub series: Series,
    /// From 1.
    pub sequence: u64,
}

impl Series {
    pub fn of(kind: Kind, issue_date: NaiveDate) -> Self {
        Self { prefix: Prefix::of(kind), year: issue_date.year() }
    }

    /// The number after `last`, the counter of the series; 0 if it has no number yet. `None` after
    /// the last number there is.
    pub fn next(self, last: u64) -> Option<Number> {
        Some(Number { series: self, sequence: last.checked_add(1)? })
    }
}

impl Number {
    /// Reads what `Display` writes and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let (series, sequence) = text.rsplit_once('-')?;
        let (prefix, year) = series.split_once('-')?;
        let prefix = [Prefix::Invoice, Prefix::CreditNote]
            .into_iter()
            .find(|known| known.as_str() == prefix)?;
        let series = Series { prefix, year: year.parse::<u16>().ok()?.into() };
        let number = Self { series, sequence: sequence.parse().ok()? };
        (number.sequence > 0 && number.to_string() == text).then_some(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Series { prefix, year } = self.series;
        write!(f, "{}-{year:04}-{:06}", prefix.as_str(), self.sequence)
    }
}

/// The day on which a document is issued: that of its finalization in the issuer's zone, but never
/// before `last`, the latest issue date of the same issuer and prefix in any year, so that numbers
/// and dates rise together whatever clocks and zones do.
pub fn issue_date(finalized_at: DateTime<Utc>, zone: Tz, last: Option<NaiveDate>) -> NaiveDate {
    let day = usage::usage_day(finalized_at, zone);
    last.map_or(day, |last| day.max(last))
}

/// The day on which a document's supplies are made: the last day of its latest period, of which
/// `ends` are the days after. `None` without periods; a credit has the tax point of what it credits.
pub fn tax_point(ends: impl IntoIterator<Item = NaiveDate>) -> Option<NaiveDate> {
    ends.into_iter().max()?.pred_opt()
}

/// The day by which to pay; `None` if the terms are above [`TERMS_DAYS_MAX`].
pub fn due_date(issue_date: NaiveDate, terms_days: u16) -> Option<NaiveDate> {
    let terms = (terms_days <= TERMS_DAYS_MAX).then(|| Days::new(terms_days.into()))?;
    issue_date.checked_add_days(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_is_read_as_it_is_written() {
        let table = [
            (Kind::Invoice, "2026-10-01", 0, "INV-2026-000001"),
            (Kind::Adjustment, "2026-12-31", 41, "INV-2026-000042"),
            (Kind::CreditNote, "2027-01-01", 998, "CN-2027-000999"),
            (Kind::Invoice, "2027-01-01", 999_998, "INV-2027-999999"),
            (Kind::Invoice, "2027-01-01", 999_999, "INV-2027-1000000"),
        ];
        for (kind, issued, last, expected) in table {
            let number = Series::of(kind, day(issued)).next(last).unwrap();
            assert_eq!(number.to_string(), expected);
            assert_eq!(Number::parse(expected), Some(number));
        }
        for wrong in [
            "",
            "INV-2026-",
            "INV-2026-1",
            "INV-2026-000000",
            "INV-2026-0000001",
            "INV-2026-+00001",
            "INV-26-000001",
            "inv-2026-000001",
            "CRN-2026-000001",
            "INV--2026-000001",
            "INV-2026-000001 ",
        ] {
            assert_eq!(Number::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Series::of(Kind::Invoice, day("2026-10-01")).next(u64::MAX), None);
    }

    #[test]
    fn the_issue_date_is_the_issuers_day_and_never_goes_back() {
        let table = [
            ("2026-10-03T21:59:59Z", "Europe/Berlin", None, "2026-10-03"),
            ("2026-10-03T22:00:00Z", "Europe/Berlin", None, "2026-10-04"),
            ("2026-10-03T22:00:00Z", "America/New_York", None, "2026-10-03"),
            ("2026-12-31T23:30:00Z", "Europe/Berlin", None, "2027-01-01"),
            ("2026-10-03T12:00:00Z", "UTC", Some("2026-10-02"), "2026-10-03"),
            ("2026-10-03T12:00:00Z", "UTC", Some("2026-10-05"), "2026-10-05"),
            // A clock that was a day ahead at new year: the series of 2027 goes on.
            ("2026-12-31T12:00:00Z", "UTC", Some("2027-01-01"), "2027-01-01"),
        ];
        for (at, zone, last, expected) in table {
            let at = DateTime::parse_from_rfc3339(at).unwrap().with_timezone(&Utc);
            let issued = issue_date(at, zone.parse().unwrap(), last.map(day));
            assert_eq!(issued, day(expected), "{at} {zone} {last:?}");
        }
    }

    #[test]
    fn tax_point_and_due_date() {
        assert_eq!(tax_point([]), None);
        let ends = [day("2026-09-01"), day("2026-11-01"), day("2026-10-01")];
        assert_eq!(tax_point(ends), Some(day("2026-10-31")));
        assert_eq!(due_date(day("2026-10-04"), 30), Some(day("2026-11-03")));
        assert_eq!(due_date(day("2026-10-04"), 0), Some(day("2026-10-04")));
        assert_eq!(due_date(day("2027-10-04"), 365), Some(day("2028-10-03")));
        assert_eq!(due_date(day("2026-10-04"), 366), None);
    }
}
