//! The forms of what people write into bodies, and the state that they say they have seen.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use crate::store::forms;

/// A day of the years 1970 to 9999.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, format = Date, example = "2026-09-01")]
#[serde(try_from = "String")]
pub struct Day(pub NaiveDate);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        forms::day(&text).map(Self)
    }
}

/// A day in a path; what is none names nothing.
pub fn day(text: &str) -> Option<NaiveDate> {
    // One day has one address.
    forms::day(text).ok().filter(|day| day.to_string() == text)
}

/// Why something is done. It is kept, and may stand on documents.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 1000, example = "the quantity was wrong")]
#[serde(try_from = "String")]
pub struct Reason(pub String);

impl Reason {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        forms::reason(&text).map(Self)
    }
}

/// Why something is done, and nothing else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WithReason)]
pub struct Because {
    pub because: Reason,
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
        forms::reference(&text).map(Self)
    }
}

/// A rate in percent, exact: digits with at most one point.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Percent(pub Decimal);

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && text.starts_with(|first: char| first.is_ascii_digit())
            && !text.ends_with('.');
        let exact = Decimal::from_str_exact(&text).ok().filter(|_| is_plain);
        exact.map(Self).ok_or_else(|| "write the rate in percent, for example \"19\"".to_owned())
    }
}

/// Refuses what is not on a closed list, which a typing error would make an empty answer, and says what is on it.
///
/// # Errors
/// If there is a value, and it is none of them.
pub fn one_of(name: &str, value: Option<&str>, list: &[&str]) -> Result<(), String> {
    if value.is_none_or(|value| list.contains(&value)) {
        return Ok(());
    }
    Err(format!("{name} is one of {}", list.join(", ")))
}

/// The `ETag` in `If-Match`, without its quotes; `None` without the header.
///
/// # Errors
/// If it is not one strong `ETag`.
pub fn if_match(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let tag = value.to_str().ok().map(str::trim);
    let tag = tag.and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    let is_one = headers.get_all(header::IF_MATCH).iter().count() == 1;
    tag.filter(|tag| is_one && !tag.contains('"')).map(Some).ok_or_else(|| {
        let detail = "If-Match is one strong ETag as it was read, in its quotes";
        Problem::new(Kind::InvalidHeader, detail)
    })
}

/// The state that the caller has seen, by the `ETag` in `If-Match`.
pub struct Seen(pub String);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let seen = if_match(&parts.headers)?.map(|tag| Self(tag.to_owned()));
        seen.ok_or_else(|| {
            let detail = "send If-Match with the ETag that you have read";
            Problem::new(Kind::IfMatchRequired, detail)
        })
    }
}

impl Seen {
    /// What was seen is not how it is.
    pub fn moved(what: impl std::fmt::Display) -> Problem {
        Problem::new(Kind::ChangedMeanwhile, format!("{what} has changed since you read it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_address() {
        assert!(day("2026-03-01").is_some() && day("9999-12-31").is_some());
        for bad in ["+2026-03-01", "2026-3-1", "1969-12-31", "adjustment", "-0001-01-01"] {
            assert_eq!(day(bad), None, "{bad}");
        }
    }

    #[test]
    fn if_match_is_one_strong_tag() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            if_match(&headers).map(|tag| tag.map(str::to_owned)).map_err(|_| ())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["\"abc\""]), Ok(Some("abc".to_owned())));
        for bad in [&["abc"][..], &["*"], &["W/\"abc\""], &["\"a\", \"b\""], &["\"a\"", "\"a\""]] {
            assert_eq!(of(bad), Err(()), "{bad:?}");
        }
    }
}
