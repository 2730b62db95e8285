#![allow(clippy::arithmetic_side_effects)]

use chrono::{SecondsFormat, TimeDelta};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    read_time(text).unwrap()
}

fn counted() -> Leaf<'static> {
    Leaf {
        entry: 42,
        epoch: 1,
        sequence: 1042,
        source: Source::Stream,
        brand: "ACME",
        receipt_id: "r-0001",
        predicate: Predicate::parse("CERT_VALID@V1").unwrap(),
        supplier: Some("SUP-1"),
        product: None,
        result: Some(true),
        verified_at: at("2026-10-01T09:30:00.25Z"),
        expires_at: None,
        usage_day: "2026-10-01".parse().unwrap(),
        of_entry: None,
    }
}

fn text(leaf: &Leaf<'_>) -> String {
    String::from_utf8(leaf.to_bytes().unwrap()).unwrap()
}

/// These bytes are for ever: each document that was issued has hashed such leaves.
#[test]
fn the_bytes_of_a_leaf() {
    assert_eq!(
        text(&counted()),
        r#"["leaf/1",42,1,1042,"stream","ACME","r-0001","CERT_VALID@V1","SUP-1",null,true,"2026-10-01T09:30:00.250000Z",null,"2026-10-01",null]"#
    );
    let void = Leaf {
        entry: canonical::INTEGER_MAX,
        epoch: u32::MAX,
        source: Source::Void,
        receipt_id: "é\"\\\u{1f}\n😀",
        product: Some(""),
        supplier: None,
        result: None,
        verified_at: at("1999-12-31T23:59:59.999999Z"),
        expires_at: Some(at("9999-12-31T00:00:00Z")),
        of_entry: Some(42),
        ..counted()
    };
    assert_eq!(
        text(&void),
        r#"["leaf/1",9007199254740991,4294967295,1042,"void","ACME","é\"\\\u001f\n😀","CERT_VALID@V1",null,"",null,"1999-12-31T23:59:59.999999Z","9999-12-31T00:00:00.000000Z","2026-10-01",42]"#
    );
}

#[test]
fn what_no_ledger_row_has_is_refused() {
    let late = DateTime::<Utc>::MAX_UTC;
    let nanos = counted().verified_at + TimeDelta::nanoseconds(1);
    let wrong = [
        ("entry", Leaf { entry: 0, ..counted() }),
        ("entry", Leaf { entry: canonical::INTEGER_MAX + 1, ..counted() }),
        ("sequence", Leaf { sequence: u64::MAX, ..counted() }),
        ("of entry", Leaf { of_entry: Some(1), ..counted() }),
        ("of entry", Leaf { source: Source::Void, ..counted() }),
        ("of entry", Leaf { source: Source::Resolution, ..counted() }),
        ("of entry", Leaf { source: Source::Void, of_entry: Some(0), ..counted() }),
        ("verified at", Leaf { verified_at: nanos, ..counted() }),
        ("verified at", Leaf { verified_at: late, ..counted() }),
        ("verified at", Leaf { verified_at: at("2016-12-31T23:59:60Z"), ..counted() }),
        ("expires at", Leaf { expires_at: Some(nanos), ..counted() }),
        ("usage day", Leaf { usage_day: NaiveDate::MIN, ..counted() }),
    ];
    for (expected, leaf) in wrong {
        match leaf.to_bytes() {
            Err(Error::Column { column, .. }) => assert_eq!(column, expected, "{leaf:?}"),
            other => panic!("{leaf:?}: {other:?}"),
        }
    }
}

#[test]
fn a_text_that_is_no_leaf_is_refused() {
    let good: Value = serde_json::from_slice(&counted().to_bytes().unwrap()).unwrap();
    assert_eq!(Leaf::from_value(&good), Ok(counted()));
    for value in [json!(null), json!([]), json!(["leaf/1"]), json!(vec![0; 15])] {
        assert_eq!(Leaf::from_value(&value), Err(Error::Format));
    }
    let members = [
        (1, json!("42"), "entry"),
        (1, json!(-1), "entry"),
        (2, json!(u64::MAX), "epoch"),
        (3, json!(null), "sequence"),
        (4, json!("elsewhere"), "source"),
        (5, json!("A CME"), "brand"),
        (6, json!(""), "receipt id"),
        (7, json!("CERT_VALID"), "predicate"),
        (8, json!(1), "supplier"),
        (9, json!(false), "product"),
        (10, json!("true"), "result"),
        (11, json!("yesterday"), "verified at"),
        (12, json!(0), "expires at"),
        (13, json!("2026-13-01"), "usage day"),
        (14, json!("42"), "of entry"),
    ];
    for (at, member, name) in members {
        let mut value = good.clone();
        value[at] = member;
        assert_eq!(Leaf::from_value(&value), Err(Error::Member(name)));
    }
    let mut value = good;
    value[0] = json!("leaf/2");
    assert_eq!(Leaf::from_value(&value), Err(Error::Format));
}

/// All parts of a row that can vary, owned.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    numbers: (u64, u32, u64, Option<u64>),
    brand: String,
    receipt_id: String,
    predicate: (String, String),
    references: (Option<String>, Option<String>),
    result: Option<bool>,
    times: (i64, Option<i64>),
    day: u16,
    source: usize,
}

impl Row {
    fn leaf(&self) -> Leaf<'_> {
        let time = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let of_entry = self.numbers.3;
        Leaf {
            entry: self.numbers.0,
            epoch: self.numbers.1,
            sequence: self.numbers.2,
            source: match (self.source, of_entry) {
                (source, None) => Source::ALL[source],
                (0, Some(_)) => Source::Resolution,
                (_, Some(_)) => Source::Void,
            },
            brand: &self.brand,
            receipt_id: &self.receipt_id,
            predicate: Predicate::new(&self.predicate.0, &self.predicate.1).unwrap(),
            supplier: self.references.0.as_deref(),
            product: self.references.1.as_deref(),
            result: self.result,
            verified_at: time(self.times.0),
            expires_at: self.times.1.map(time),
            usage_day: NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()
                + TimeDelta::days(self.day.into()),
            of_entry,
        }
    }

    /// The second implementation: serde_json and chrono's own formats.
    fn naive(&self) -> String {
        let leaf = self.leaf();
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let members = json!([
            "leaf/1",
            leaf.entry,
            leaf.epoch,
            leaf.sequence,
            leaf.source.as_str(),
            leaf.brand,
            leaf.receipt_id,
            leaf.predicate.to_string(),
            leaf.supplier,
            leaf.product,
            leaf.result,
            time(leaf.verified_at),
            leaf.expires_at.map(time),
            leaf.usage_day.to_string(),
            leaf.of_entry,
        ]);
        members.to_string()
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let entry = || 1..=canonical::INTEGER_MAX;
    // Until the end of the year 9999, in microseconds.
    let time = || 0..253_402_300_800_000_000_i64;
    let numbers = (entry(), any::<u32>(), entry(), proptest::option::of(entry()));
    let texts = ("[A-Z]{1,4}", "\\PC{1,20}", ("[A-Z]{1,4}", "V[0-9.]{1,3}"));
    let references = (proptest::option::of(".{0,6}"), proptest::option::of(".{0,6}"));
    let rest = (any::<Option<bool>>(), (time(), proptest::option::of(time())), any::<u16>());
    (numbers, texts, references, rest, 0..3_usize).prop_map(
        |(numbers, (brand, receipt_id, predicate), references, (result, times, day), source)| Row {
            numbers,
            brand,
            receipt_id,
            predicate,
            references,
            result,
            times,
            day,
            source,
        },
    )
}

proptest! {
    #[test]
    fn a_leaf_is_what_the_second_implementation_writes_and_is_read_back(row in any_row()) {
        let bytes = row.leaf().to_bytes().unwrap();
        prop_assert_eq!(std::str::from_utf8(&bytes).unwrap(), row.naive());
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(Leaf::from_value(&value), Ok(row.leaf()));
    }
}
