//! What must come out of a workload, known while it is made.
//!
//! The file is one JSON object:
//!
//! ```json
//! {
//!   "zone": "Europe/Berlin",
//!   "totals": {"events": 9, "counted": 4, "duplicates": 2, "conflicts": 1, "rejected": 1,
//!              "failed": 1},
//!   "rejected": {"utf8": 1},
//!   "usage": [{"brand": "acme-textiles", "usage_day": "2026-03-01", "predicate": "CERT_VALID@V1",
//!              "result": true, "receipts": 4, "duplicates": 2}],
//!   "failed": [{"failed_on": "2026-03-01", "predicate": "CERT_VALID@V1",
//!               "error_code": "PROOF_EXPIRED", "failures": 1}]
//! }
//! ```
//!
//! `usage` is what `prooftally usage --by brand,day,predicate,result --output json` prints, sorted
//! by these four, false before true. A duplicate stands with the day, predicate and result that its
//! own event says, so that a row may have duplicates alone; conflicts and rejections are not usage.
//! Usage days are days in `zone`, `failed_on` is a day in UTC.

use std::collections::BTreeMap;
use std::fmt::Debug;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Most differences that [`Truth::compare`] lists.
const DIFFERENCES_MAX: usize = 100;

/// The exact result of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// IANA name of the zone of the usage days.
    pub zone: String,
    pub totals: Totals,
    /// Rejected events by reason.
    pub rejected: BTreeMap<String, u64>,
    pub usage: Vec<UsageRow>,
    pub failed: Vec<FailedRow>,
}

/// Events by what becomes of them. `events` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    pub events: u64,
    pub counted: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    pub rejected: u64,
    /// Events on `proofs.failed`: tallied, and otherwise ignored.
    pub failed: u64,
}

/// Usage of one brand, day, predicate and result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageRow {
    pub brand: String,
    pub usage_day: NaiveDate,
    /// `NAME@VERSION`.
    pub predicate: String,
    pub result: bool,
    pub receipts: u64,
    pub duplicates: u64,
}

/// Failed proofs of one UTC day, predicate and error code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRow {
    pub failed_on: NaiveDate,
    /// `NAME@VERSION`.
    pub predicate: String,
    pub error_code: String,
    pub failures: u64,
}

impl Truth {
    /// Where `actual` differs from this truth, a sentence each, at most 100 and a last one that
    /// says how many more there are. Rows may be in any order; those without receipts and duplicates are
    /// the same as absent ones.
    pub fn compare(&self, actual: &Truth) -> Vec<String> {
        let mut found = Differences::default();
        if self.zone != actual.zone {
            found.note(|| format!("zone: expected {}, got {}", self.zone, actual.zone));
        }
        found.maps("totals", &named(self.totals), &named(actual.totals));
        found.maps("rejected", &self.rejected, &actual.rejected);
        found.maps("usage", &usage_map(&self.usage), &usage_map(&actual.usage));
        found.maps("failed", &failed_map(&self.failed), &failed_map(&actual.failed));
        found.finish()
    }

    /// As [`Truth::compare`], for usage alone.
    pub fn compare_usage(&self, actual: &[UsageRow]) -> Vec<String> {
        let mut found = Differences::default();
        found.maps("usage", &usage_map(&self.usage), &usage_map(actual));
        found.finish()
    }
}

#[derive(Default)]
struct Differences {
    listed: Vec<String>,
    more: u64,
}

impl Differences {
    fn note(&mut self, sentence: impl FnOnce() -> String) {
        if self.listed.len() < DIFFERENCES_MAX {
            self.listed.push(sentence());
        } else {
            self.more += 1;
        }
    }

    /// Compares two tables; a key that one lacks counts as `V::default()` there.
    fn maps<K: Ord + Debug, V: PartialEq + Default + Debug>(
        &mut self,
        table: &str,
        expected: &BTreeMap<K, V>,
        actual: &BTreeMap<K, V>,
    ) {
        let none = V::default();
        let unexpected = actual.keys().filter(|key| !expected.contains_key(key));
        for key in expected.keys().chain(unexpected) {
            let want = expected.get(key).unwrap_or(&none);
            let got = actual.get(key).unwrap_or(&none);
            if want != got {
                self.note(|| format!("{table} {key:?}: expected {want:?}, got {got:?}"));
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.listed.push(format!("and {} more differences", self.more));
        }
        self.listed
    }
}

fn named(totals: Totals) -> BTreeMap<&'static str, u64> {
    let Totals { events, counted, duplicates, conflicts, rejected, failed } = totals;
    BTreeMap::from([
        ("events", events),
        ("counted", counted),
        ("duplicates", duplicates),
        ("conflicts", conflicts),
        ("rejected", rejected),
        ("failed", failed),
    ])
}

/// Receipts and duplicates by brand, usage day, predicate and result. Rows of one key add up.
fn usage_map(rows: &[UsageRow]) -> BTreeMap<(&str, NaiveDate, &str, bool), [u64; 2]> {
    let mut map = BTreeMap::<_, [u64; 2]>::new();
    for row in rows {
        let key = (row.brand.as_str(), row.usage_day, row.predicate.as_str(), row.result);
        let [receipts, duplicates] = map.entry(key).or_default();
        *receipts += row.receipts;
        *duplicates += row.duplicates;
    }
    map
}

fn failed_map(rows: &[FailedRow]) -> BTreeMap<(NaiveDate, &str, &str), u64> {
    let mut map = BTreeMap::new();
    for row in rows {
        let key = (row.failed_on, row.predicate.as_str(), row.error_code.as_str());
        *map.entry(key).or_default() += row.failures;
    }
    map
}
