//! The forms of what people write into bodies, and the state that they say they have seen.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::problem::{Kind, Problem};
use crate::store::forms;

/// A day of the years 1970 to 9999.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(pub NaiveDate);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        forms::day(&text).map(Self)
    }
}

/// Why something is done, for the record: 1 to 1,000 characters.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Reason(pub String);

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        forms::reason(&text).map(Self)
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

/// The state that the caller has seen: the `ETag` in `If-Match`, without its quotes.
pub struct Seen(pub String);

impl<S: Sync> FromRequestParts<S> for Seen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            let detail = "send If-Match with the ETag that you have read";
            return Err(Problem::new(Kind::IfMatchRequired, detail));
        };
        let tag = value.to_str().ok().map(str::trim);
        let tag = tag.and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
        let tag = tag.filter(|tag| {
            !tag.contains('"') && parts.headers.get_all(header::IF_MATCH).iter().count() == 1
        });
        tag.map(|tag| Self(tag.to_owned())).ok_or_else(|| {
            let detail = "If-Match is one strong ETag as it was read, in its quotes";
            Problem::new(Kind::InvalidHeader, detail)
        })
    }
}

impl Seen {
    /// What was seen is not how it is.
    pub fn moved(what: impl std::fmt::Display) -> Problem {
        Problem::new(Kind::ChangedMeanwhile, format!("{what} has changed since you read it"))
    }
}
