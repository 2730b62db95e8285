//! Every malformed event is malformed in the way that it says.

use std::collections::HashSet;

use chrono::DateTime;
use serde_json::Value;

use super::*;

#[test]
fn every_fault_is_a_fault() {
    let spec = Spec {
        malformed: Percent::from_basis_points(8_000),
        conflict: Percent::ZERO,
        duplicate: Percent::ZERO,
        reemitted: Percent::ZERO,
        ..rough()
    };
    let (events, truth) = generate(&spec);
    let reasons: HashSet<_> = FAULTS.iter().map(|fault| fault.reason).collect();
    assert_eq!(truth.rejected.len(), reasons.len());
    for event in &events {
        if let Kind::Malformed(reason) = event.kind {
            check_fault(reason, &event.payload);
        }
    }
}

fn check_fault(reason: &str, payload: &[u8]) {
    let shown = String::from_utf8_lossy(payload);
    let parsed = serde_json::from_slice::<Value>(payload);
    let refused = |text: &str| parsed.as_ref().is_err_and(|error| error.to_string().contains(text));
    let inner = parsed.as_ref().ok().map(|event| event.get("payload").unwrap_or(event));
    let field = |flat: &str, gateway: &str| {
        let inner = inner?;
        let outer = parsed.as_ref().ok()?;
        inner.get(flat).or(inner.get(gateway)).or(outer.get(gateway))
    };
    let text = |flat, gateway| field(flat, gateway).and_then(Value::as_str);
    let brand = text("brandId", "requesterId");
    let (id, time) = (text("receiptId", ""), text("verifiedAt", "timestamp"));
    let is_fault = match reason {
        "empty" => payload.is_empty(),
        "encoding" => payload.starts_with(&[0x1f, 0x8b]),
        "utf8" => std::str::from_utf8(payload).is_err(),
        "json_syntax" => std::str::from_utf8(payload).is_ok() && parsed.is_err(),
        "trailing_data" => refused("trailing characters"),
        "not_object" => parsed.as_ref().is_ok_and(|event| !event.is_object()),
        "too_deep" => refused("recursion limit"),
        "duplicate_key" => shown.matches("\"receiptId\"").count() == 2 && id.is_some(),
        "missing_field" => {
            let predicate = field("predicateId", "predicateId");
            let half = predicate.is_some_and(|predicate| {
                predicate.as_str().is_none() && predicate.get("version").is_none()
            });
            id.is_none() || brand.is_none() || time.is_none() || predicate.is_none() || half
        }
        "field_type" => {
            let number = |value: Option<&Value>| value.is_some_and(Value::is_number);
            number(field("receiptId", ""))
                || number(field("predicateId", ""))
                || field("brandId", "requesterId").is_some_and(Value::is_array)
                || text("result", "").is_some()
                || number(field("verifiedAt", "timestamp"))
        }
        "receipt_id_length" => id.is_some_and(|id| !(1..=128).contains(&id.len())),
        "reference_length" => text("productRef", "productBinding").unwrap().len() > 256,
        "nul" => shown.contains("\\u0000") && parsed.is_ok(),
        "charset" => brand.unwrap().contains(|c: char| !c.is_ascii_alphanumeric() && c != '-'),
        "brand_missing" => brand == Some("unknown"),
        "timestamp" => [time, text("expiresAt", "")]
            .into_iter()
            .flatten()
            .any(|time| DateTime::parse_from_rfc3339(time).is_err()),
        "future" => time.is_some_and(|time| time.starts_with("9000-")),
        "expiry_order" => text("expiresAt", "").unwrap() < time.unwrap(),
        _ => false,
    };
    assert!(is_fault, "{reason}: {shown}");
}
