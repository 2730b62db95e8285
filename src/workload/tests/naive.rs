//! The truth against a meter that shares nothing with the generator.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use serde_json::Value;

use super::*;

/// A meter that is as slow and plain as can be.
#[derive(Default)]
struct NaiveMeter {
    first: HashMap<(String, String), [Option<Value>; 4]>,
    totals: Totals,
    usage: BTreeMap<(String, NaiveDate, String, bool), (u64, u64)>,
    failed: BTreeMap<(NaiveDate, String, String), u64>,
}

impl NaiveMeter {
    fn take(&mut self, event: &OwnedEvent) {
        self.totals.events += 1;
        if matches!(event.kind, Kind::Malformed(_)) {
            self.totals.rejected += 1;
            return;
        }
        let event_json: Value = serde_json::from_slice(&event.payload).unwrap();
        let flat = flatten(&event_json);
        let text = |key: &str| flat[key].as_str().unwrap().to_owned();
        let at: DateTime<chrono::FixedOffset> = text("at").parse().unwrap();
        if event.subject == "proofs.failed" {
            self.totals.failed += 1;
            let key = (at.to_utc().date_naive(), text("predicate"), text("error"));
            *self.failed.entry(key).or_default() += 1;
            return;
        }
        let content =
            ["predicate", "supplier", "product", "result"].map(|key| flat.get(key).cloned());
        let result = flat.get("result").is_none_or(|result| result.as_bool().unwrap());
        let day = at.with_timezone(&Tz::Europe__Berlin).date_naive();
        let row = self.usage.entry((text("brand"), day, text("predicate"), result));
        match self.first.get(&(text("brand"), text("id"))) {
            None => {
                self.totals.counted += 1;
                row.or_default().0 += 1;
                self.first.insert((text("brand"), text("id")), content);
            }
            Some(first) if agree(first, &content) => {
                self.totals.duplicates += 1;
                row.or_default().1 += 1;
            }
            Some(_) => self.totals.conflicts += 1,
        }
    }
}

fn agree(one: &[Option<Value>; 4], other: &[Option<Value>; 4]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.is_none() || other.is_none() || one == other)
}

/// Both shapes in the same words.
pub fn flatten(event: &Value) -> BTreeMap<&'static str, Value> {
    let mut flat = BTreeMap::new();
    let mut take = |name, value: Option<&Value>| {
        if let Some(value) = value {
            assert!(flat.insert(name, value.clone()).is_none(), "{name} twice in {event}");
        }
    };
    let inner = event.get("payload").unwrap_or(event);
    take("id", inner.get("receiptId"));
    take("supplier", inner.get("supplierId"));
    take("result", inner.get("result"));
    take("error", inner.get("errorCode"));
    let predicate = inner.get("predicateId").unwrap();
    if let Some(name) = predicate.get("name") {
        let joined =
            format!("{}@{}", name.as_str().unwrap(), predicate["version"].as_str().unwrap());
        take("predicate", Some(&Value::String(joined)));
        assert!(event["metadata"]["traceId"].is_string() && event["eventId"].is_string());
        take("brand", inner.get("requesterId"));
        take("product", inner.get("productBinding"));
        take("at", event.get("timestamp"));
    } else {
        take("predicate", Some(predicate));
        take("brand", inner.get("brandId"));
        take("product", inner.get("productRef"));
        take("at", event.get("verifiedAt").or(event.get("failedAt")));
    }
    flat
}

#[test]
fn the_truth_is_what_a_naive_meter_counts() {
    let (events, truth) = generate(&rough());
    let mut meter = NaiveMeter::default();
    for event in events {
        meter.take(&event);
    }
    assert_eq!(truth.totals, meter.totals);
    let usage = meter.usage.into_iter().map(|((brand, usage_day, predicate, result), counts)| {
        let (receipts, duplicates) = counts;
        UsageRow { brand, usage_day, predicate, result, receipts, duplicates }
    });
    // Conflicts leave empty rows in the naive meter.
    let usage: Vec<_> = usage.filter(|row| row.receipts + row.duplicates > 0).collect();
    assert_eq!(truth.usage, usage);
    let failed = meter.failed.into_iter().map(|((failed_on, predicate, error_code), failures)| {
        FailedRow { failed_on, predicate, error_code, failures }
    });
    assert_eq!(truth.failed, failed.collect::<Vec<_>>());
    assert_eq!(truth.rejected.values().sum::<u64>(), truth.totals.rejected);
}
