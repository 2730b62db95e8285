use chrono::{DateTime, TimeDelta, Utc};
use expect_test::{Expect, expect};

use super::{Limits, failure, names, receipt};

const FLAT: &str = r#"{"receiptId":"r-1","predicateId":"CERT_VALID@V1","brandId":"acme",
    "supplierId":"mill","productRef":"shirt","result":true,"verifiedAt":"2026-09-20T10:00:00Z",
    "expiresAt":"2027-09-20T10:00:00Z","somethingNew":{"a":[1]}}"#;

const ENVELOPE: &str = r#"{"eventId":"e-1","eventType":"proofs.verified",
    "timestamp":"2026-09-20T10:00:00.5Z","payload":{"receiptId":"r-1",
    "predicateId":{"name":"CERT_VALID","version":"V1"},"supplierId":"mill","requesterId":"acme",
    "productBinding":"shirt","result":false,"commitmentRoot":"00"},
    "metadata":{"gatewayId":"g","correlationId":"c","traceId":"t"}}"#;

const LIMITS: Limits = Limits { payload_bytes_max: 2_000, future_max: TimeDelta::minutes(5) };

fn received_at() -> DateTime<Utc> {
    "2026-09-20T12:00:00Z".parse().unwrap()
}

fn check(payload: impl AsRef<[u8]>, expected: Expect) {
    let answer = receipt(payload.as_ref(), received_at(), &LIMITS, |receipt| {
        format!(
            "{} {} of {} by {:?} on {:?} {:?} at {} until {:?}",
            receipt.receipt_id,
            receipt.predicate,
            receipt.brand,
            receipt.supplier,
            receipt.product,
            receipt.result,
            receipt.verified_at.to_rfc3339(),
            receipt.expires_at.map(|at| at.to_rfc3339()),
        )
    })
    .unwrap_or_else(|refusal| format!("{}: {}", refusal.reason.as_str(), refusal.detail));
    expected.assert_eq(&answer);
}

#[test]
fn both_shapes_are_read() {
    check(
        FLAT,
        expect![[
            r#"r-1 CERT_VALID@V1 of acme by Some("mill") on Some("shirt") Some(true) at 2026-09-20T10:00:00+00:00 until Some("2027-09-20T10:00:00+00:00")"#
        ]],
    );
    check(
        ENVELOPE,
        expect![[
            r#"r-1 CERT_VALID@V1 of acme by Some("mill") on Some("shirt") Some(false) at 2026-09-20T10:00:00.500+00:00 until None"#
        ]],
    );
}

#[test]
fn optional_fields_may_be_absent_or_null() {
    check(
        r#"{"receiptId":"r-1","predicateId":"CERT_VALID@V1","brandId":"acme","supplierId":null,
            "verifiedAt":"2026-09-20T10:00:00Z"}"#,
        expect![
            "r-1 CERT_VALID@V1 of acme by None on None None at 2026-09-20T10:00:00+00:00 until None"
        ],
    );
}

#[test]
fn an_escape_is_read_as_what_it_stands_for() {
    check(
        FLAT.replace("shirt", r"sh\u0069rt \u2603"),
        expect![[
            r#"r-1 CERT_VALID@V1 of acme by Some("mill") on Some("shirt ☃") Some(true) at 2026-09-20T10:00:00+00:00 until Some("2027-09-20T10:00:00+00:00")"#
        ]],
    );
}

#[test]
fn every_way_of_not_being_an_event_has_its_reason() {
    check("", expect!["empty: the event has no bytes"]);
    check("  ", expect!["json_syntax: not JSON at line 1 column 2"]);
    check("hello", expect!["json_syntax: not JSON at line 1 column 1"]);
    check(&FLAT[..40], expect!["json_syntax: not JSON at line 1 column 40"]);
    check("\u{feff}{}", expect!["json_syntax: not JSON at line 1 column 1"]);
    check(FLAT.replace("mill", r"\ud800"), expect!["json_syntax: not JSON at line 2 column 25"]);
    check(b"{\"receiptId\":\"\xff\"}", expect!["utf8: the event is not UTF-8"]);
    check(format!("{FLAT}{FLAT}"), expect!["trailing_data: there is more after the object"]);
    check("[1]", expect!["not_object: the event is not a JSON object"]);
    check(
        r#"["r-1","CERT_VALID@V1","acme","mill","shirt",true,"2026-01-01T00:00:00Z"]"#,
        expect!["not_object: the event is not a JSON object"],
    );
    check("null", expect!["not_object: the event is not a JSON object"]);
    check("42", expect!["not_object: the event is not a JSON object"]);
    check("\"text\"", expect!["not_object: the event is not a JSON object"]);
    check(
        FLAT.replace("\"brandId\"", "\"receiptId\""),
        expect!["duplicate_key: a field is given twice, at line 1 column 60"],
    );
    check(
        FLAT.replace("\"r-1\"", "7"),
        expect!["field_type: a field has another type, at line 1 column 14"],
    );
    check(
        FLAT.replace(":true", ":\"true\""),
        expect!["field_type: a field has another type, at line 2 column 60"],
    );
    check("{}", expect!["missing_field: receiptId"]);
    check(ENVELOPE.replace("requesterId", "other"), expect!["missing_field: brand"]);
    check(ENVELOPE.replace("timestamp", "other"), expect!["missing_field: verifiedAt"]);
    check(
        ENVELOPE.replace("\"acme\"", "\"unknown\""),
        expect!["brand_missing: the gateway did not know the brand"],
    );
    check(FLAT.replace("r-1", r"r\u0000"), expect!["nul: receiptId"]);
    check([0x1f, 0x8b, 8, 0], expect!["encoding: the event is compressed"]);
    check("[".repeat(1_500), expect!["too_deep: objects are nested too deep"]);
    check(" ".repeat(2_001), expect!["too_large: 2001 bytes, more than 2000"]);
}

#[test]
fn a_rejected_event_is_named_as_far_as_it_says() {
    let check = |payload: String, brand: Option<&str>, receipt_id: Option<&str>| {
        let (found_brand, found_id) = names(payload.as_bytes(), &LIMITS);
        assert_eq!((found_brand.as_deref(), found_id.as_deref()), (brand, receipt_id), "{payload}");
    };
    check(FLAT.replace("CERT_VALID@V1", "?"), Some("acme"), Some("r-1"));
    check(FLAT.replace("acme", "../x"), None, Some("r-1"));
    check("{".to_owned(), None, None);
}

#[test]
fn a_failed_proof_is_tallied_by_what_it_says() {
    let check = |payload: &str, expected: &str| {
        let key = failure(payload.as_bytes(), received_at(), &LIMITS);
        let found = format!("{} {} {}", key.failed_on, key.predicate, key.error_code);
        assert_eq!(found, expected, "{payload}");
    };
    check(
        r#"{"predicateId":"CERT_VALID@V1","errorCode":"PROOF_INVALID","failedAt":"2026-09-19T23:00:00Z"}"#,
        "2026-09-19 CERT_VALID@V1 PROOF_INVALID",
    );
    check(
        r#"{"timestamp":"2026-09-19T23:00:00-02:00","payload":{"predicateId":{"name":"CERT_VALID","version":"V1"},"errorCode":"E"}}"#,
        "2026-09-20 CERT_VALID@V1 E",
    );
    check("not json", "2026-09-20 unknown unknown");
    check(r#"{"errorCode":"<script>"}"#, "2026-09-20 unknown unknown");
}
