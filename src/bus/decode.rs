//! From an event's bytes to a receipt, or to the reason why it is none.

use billing::ids::{self, Predicate};
use billing::receipt::{PredicateText, Reason, Refusal, UsageReceipt};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use serde_json::error::Category;

use super::wire::Event;
use crate::actors::chunk::FailureKey;

/// Limits of an event.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest event, in bytes; longer ones are rejected unread.
    pub payload_bytes_max: usize,
    /// How far `verifiedAt` may lie after the event's store time.
    pub future_max: TimeDelta,
}

/// How far the time of a failed proof may lie from the event's store time.
const FAILED_AWAY_MAX: TimeDelta = TimeDelta::days(400);

/// Reads an event of `proofs.verified` and hands its receipt to `take`, while its texts are borrowed.
///
/// # Errors
/// Why the event cannot be counted.
pub fn receipt<T>(
    payload: &[u8],
    received_at: DateTime<Utc>,
    limits: &Limits,
    take: impl FnOnce(&UsageReceipt<'_>) -> T,
) -> Result<T, Refusal> {
    let event = parse(payload, limits)?;
    let receipt = UsageReceipt::new(event.claim(), received_at, limits.future_max)?;
    Ok(take(&receipt))
}

/// Brand and receipt id of an event that was rejected, as far as it says and they are harmless, so
/// that a person can find it.
pub fn names(payload: &[u8], limits: &Limits) -> (Option<String>, Option<String>) {
    let Ok(event) = parse(payload, limits) else { return (None, None) };
    let claim = event.claim();
    let brand = claim.brand.filter(|brand| ids::is_name(brand, ids::NAME_BYTES_MAX));
    let receipt_id = claim
        .receipt_id
        .filter(|id| id.len() <= ids::RECEIPT_ID_BYTES_MAX && !id.chars().any(char::is_control));
    (brand.map(str::to_owned), receipt_id.map(str::to_owned))
}

/// What an event of `proofs.failed` is tallied by. Nothing is billed by it, so what it does not say
/// is `unknown` and not a rejection.
pub fn failure(payload: &[u8], received_at: DateTime<Utc>, limits: &Limits) -> FailureKey {
    const UNKNOWN: &str = "unknown";
    let unknown = |failed_on: NaiveDate| FailureKey {
        failed_on,
        predicate: UNKNOWN.to_owned(),
        error_code: UNKNOWN.to_owned(),
    };
    let Ok(event) = parse(payload, limits) else { return unknown(received_at.date_naive()) };
    let (predicate, error_code, failed_at) = event.failure();
    let predicate = match predicate {
        Some(PredicateText::Joined(text)) => Predicate::parse(text),
        Some(PredicateText::Split { name: Some(name), version: Some(version) }) => {
            Predicate::new(name, version)
        }
        _ => None,
    };
    let error_code = error_code.filter(|code| ids::is_name(code, ids::NAME_BYTES_MAX));
    // A time far from the event's own says nothing, and would let the tally grow without bound.
    let failed_at = failed_at
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|at| at.to_utc())
        .filter(|at| at.signed_duration_since(received_at).abs() <= FAILED_AWAY_MAX)
        .unwrap_or(received_at);
    FailureKey {
        failed_on: failed_at.date_naive(),
        predicate: predicate.map_or_else(|| UNKNOWN.to_owned(), |predicate| predicate.to_string()),
        error_code: error_code.unwrap_or(UNKNOWN).to_owned(),
    }
}

fn parse<'a>(payload: &'a [u8], limits: &Limits) -> Result<Event<'a>, Refusal> {
    if payload.len() > limits.payload_bytes_max {
        let text = format!("{} bytes, more than {}", payload.len(), limits.payload_bytes_max);
        return Err(Refusal::new(Reason::TooLarge, text));
    }
    // Checking the whole text once is cheaper than each string by itself.
    let Ok(text) = std::str::from_utf8(payload) else { return Err(diagnose(payload)) };
    if !text.trim_ascii_start().starts_with('{') {
        // serde would read a list too, field by field.
        return Err(diagnose(payload));
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => about_data(text, &error),
        _ => diagnose(payload),
    })
}

/// Why bytes are not a JSON object. Slower than reading a good event, and only done for bad ones.
fn diagnose(payload: &[u8]) -> Refusal {
    if payload.is_empty() {
        return Refusal::new(Reason::Empty, "the event has no bytes");
    }
    if payload.starts_with(&[0x1f, 0x8b]) || payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Refusal::new(Reason::Encoding, "the event is compressed");
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        return Refusal::new(Reason::Utf8, "the event is not UTF-8");
    };
    match serde_json::from_str::<Value>(text) {
        Ok(_) if !text.trim_start().starts_with('{') => {
            Refusal::new(Reason::NotObject, "the event is not a JSON object")
        }
        Ok(_) => Refusal::new(Reason::FieldType, "the event cannot be read"),
        Err(error) if error.to_string().starts_with("recursion limit") => {
            Refusal::new(Reason::TooDeep, "objects are nested too deep")
        }
        Err(error) if error.to_string().starts_with("trailing characters") => {
            Refusal::new(Reason::TrailingData, "there is more after the object")
        }
        Err(error) => Refusal::new(
            Reason::JsonSyntax,
            format!("not JSON at line {} column {}", error.line(), error.column()),
        ),
    }
}

/// Why a JSON text does not have the event's fields. serde tells its reasons apart by text alone;
/// a test holds each of them.
fn about_data(text: &str, error: &serde_json::Error) -> Refusal {
    let place = format!("at line {} column {}", error.line(), error.column());
    if error.to_string().starts_with("duplicate field") {
        return Refusal::new(Reason::DuplicateKey, format!("a field is given twice, {place}"));
    }
    // What follows the field that serde stopped at may be broken too, and that weighs more.
    match diagnose(text.as_bytes()) {
        Refusal { reason: Reason::FieldType, .. } => {
            Refusal::new(Reason::FieldType, format!("a field has another type, {place}"))
        }
        worse => worse,
    }
}

#[cfg(test)]
mod tests;
