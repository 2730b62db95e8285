//! What people say in requests, within what is kept: days of the years that periods have, and texts without
//! control characters.

use chrono::{Datelike, NaiveDate};
use serde::Deserialize;
use utoipa::ToSchema;

/// A day of the years 1970 to 9999.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, format = Date, example = "2026-09-01")]
#[serde(try_from = "NaiveDate")]
pub struct Day(pub NaiveDate);

impl TryFrom<NaiveDate> for Day {
    type Error = &'static str;

    fn try_from(day: NaiveDate) -> Result<Self, Self::Error> {
        let is_known = (1970..=9999).contains(&day.year());
        is_known.then_some(Self(day)).ok_or("a day is in the years 1970 to 9999")
    }
}

/// A day in a path; what is none names nothing.
pub fn day(text: &str) -> Option<NaiveDate> {
    let day: NaiveDate = text.parse().ok()?;
    // One day has one address.
    (day.to_string() == text)
        .then_some(day)
        .and_then(|day| Day::try_from(day).ok())
        .map(|day| day.0)
}

/// Why something is done. It is kept, and stands on documents.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 1000, example = "the quantity was wrong")]
#[serde(try_from = "String")]
pub struct Because(String);

impl Because {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Because {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        plain(text, 1_000).map(Self)
    }
}

/// What names a payment at the bank.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 200, example = "2026-09-30/4711")]
#[serde(try_from = "String")]
pub struct Reference(String);

impl Reference {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        plain(text, 200).map(Self)
    }
}

/// A text that says something.
fn plain(text: String, chars_max: usize) -> Result<String, String> {
    let is_long = text.chars().count() > chars_max;
    if is_long || text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(format!(
            "a text has 1 to {chars_max} characters, none of them a control character"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_days_are_what_is_kept() {
        let because = |text: &str| Because::try_from(text.to_owned()).is_ok();
        assert!(because("x") && because(&"ä".repeat(1_000)) && because(" a b "));
        assert!(!because("") && !because("  ") && !because(&"x".repeat(1_001)));
        assert!(!because("a\0b") && !because("a\nb"));
        assert!(day("2026-03-01").is_some() && day("9999-12-31").is_some());
        for bad in ["+2026-03-01", "2026-3-1", "1969-12-31", "adjustment", "-0001-01-01"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }
}
