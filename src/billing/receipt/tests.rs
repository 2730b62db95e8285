use chrono::{DateTime, TimeDelta, Utc};
use expect_test::{Expect, expect};

use super::{Claim, Content, PredicateText, ReceiptKey, UsageReceipt};
use crate::ids::Predicate;

fn received_at() -> DateTime<Utc> {
    "2026-09-20T12:00:00Z".parse().unwrap()
}

fn good() -> Claim<'static> {
    Claim {
        receipt_id: Some("r-1"),
        predicate: Some(PredicateText::Joined("RECYCLED_CONTENT_GTE@V1")),
        brand: Some("acme"),
        supplier: Some("mill-7"),
        product: Some("shirt-1"),
        result: Some(true),
        verified_at: Some("2026-09-20T11:59:59.123Z"),
        expires_at: None,
    }
}

fn check(claim: Claim<'_>, expected: Expect) {
    let answer = match UsageReceipt::new(claim, received_at(), TimeDelta::minutes(5)) {
        Ok(receipt) => format!("{} {}", receipt.verified_at.to_rfc3339(), receipt.predicate),
        Err(refusal) => format!("{}: {}", refusal.reason.as_str(), refusal.detail),
    };
    expected.assert_eq(&answer);
}

#[test]
fn every_field_is_checked() {
    check(good(), expect!["2026-09-20T11:59:59.123+00:00 RECYCLED_CONTENT_GTE@V1"]);
    check(Claim { receipt_id: None, ..good() }, expect!["missing_field: receiptId"]);
    check(
        Claim { receipt_id: Some(""), ..good() },
        expect!["receipt_id_length: receiptId has 0 bytes, not 1 to 128"],
    );
    check(Claim { receipt_id: Some("a\0b"), ..good() }, expect!["nul: receiptId"]);
    check(Claim { predicate: None, ..good() }, expect!["missing_field: predicateId"]);
    check(
        Claim { predicate: Some(PredicateText::Joined("NO_VERSION")), ..good() },
        expect!["charset: predicateId"],
    );
    check(
        Claim {
            predicate: Some(PredicateText::Split { name: Some("CERT_VALID"), version: None }),
            ..good()
        },
        expect!["missing_field: predicateId.version"],
    );
    check(Claim { brand: None, ..good() }, expect!["missing_field: brand"]);
    check(
        Claim { brand: Some("unknown"), ..good() },
        expect!["brand_missing: the gateway did not know the brand"],
    );
    check(Claim { brand: Some("../../etc"), ..good() }, expect!["charset: brand"]);
    check(Claim { brand: Some("=HYPERLINK(1)"), ..good() }, expect!["charset: brand"]);
    check(
        Claim { verified_at: Some("2026-02-30T00:00:00Z"), ..good() },
        expect!["timestamp: verifiedAt is not an RFC 3339 time"],
    );
    check(
        Claim { verified_at: Some("2026-09-20T11:59:59"), ..good() },
        expect!["timestamp: verifiedAt is not an RFC 3339 time"],
    );
    check(
        Claim { verified_at: Some("1969-12-31T23:59:59Z"), ..good() },
        expect!["timestamp: verifiedAt is not an RFC 3339 time"],
    );
    check(
        Claim { verified_at: Some("2026-09-20T12:05:00.001Z"), ..good() },
        expect!["future: verifiedAt is after the event was received"],
    );
    check(
        Claim { verified_at: Some("2026-09-20T12:05:00Z"), ..good() },
        expect!["2026-09-20T12:05:00+00:00 RECYCLED_CONTENT_GTE@V1"],
    );
    check(
        Claim { expires_at: Some("2026-09-20T11:59:59Z"), ..good() },
        expect!["expiry_order: expiresAt is before verifiedAt"],
    );
}

#[test]
fn a_leap_second_is_the_last_instant_of_its_minute() {
    check(
        Claim { verified_at: Some("2016-12-31T23:59:60Z"), ..good() },
        expect!["2016-12-31T23:59:59.999999+00:00 RECYCLED_CONTENT_GTE@V1"],
    );
}

#[test]
fn an_offset_is_the_same_instant() {
    check(
        Claim { verified_at: Some("2026-09-20T01:30:00+02:00"), ..good() },
        expect!["2026-09-19T23:30:00+00:00 RECYCLED_CONTENT_GTE@V1"],
    );
}

fn content(supplier: Option<&'static str>, result: Option<bool>) -> Content<'static> {
    let predicate = Predicate::parse("CERT_VALID@V1").unwrap();
    Content { predicate, supplier, product: None, result }
}

#[test]
fn an_absent_field_equals_anything() {
    assert!(content(None, Some(true)).agrees(&content(Some("mill"), None)));
    assert!(content(Some("mill"), None).agrees(&content(Some("mill"), Some(false))));
    assert_eq!(
        content(Some("mill"), Some(true)).differences(&content(Some("loom"), Some(false))),
        ["supplier", "result"]
    );
}

#[test]
fn a_digest_tells_absent_from_empty() {
    assert_ne!(content(None, None).digest(), content(Some(""), None).digest());
    assert_ne!(content(None, None).digest(), content(None, Some(true)).digest());
    assert_eq!(content(Some("a"), None).digest(), content(Some("a"), None).digest());
}

/// The keys are stored: another key for the same id would count every old receipt again.
#[test]
fn the_key_of_an_id_never_changes() {
    expect!["fc4bdf39fadfab7006cbe55ea1a60ad6"]
        .assert_eq(&format!("{:032x}", ReceiptKey::of("r-1").0));
}
