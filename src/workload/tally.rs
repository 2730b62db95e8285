//! Counting what a workload must come to, while its events are made.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::names;
use super::proof::{Failure, Proof, instant};
use super::truth::{FailedRow, Totals, Truth, UsageRow};

/// The truth while it grows: memory goes with brands, days and predicates, not with events.
pub(super) struct Tally {
    zone: Tz,
    totals: Totals,
    usage: HashMap<(u32, NaiveDate, u8, bool), [u64; 2]>,
    rejected: BTreeMap<&'static str, u64>,
    failed: BTreeMap<(NaiveDate, u8, &'static str), u64>,
}

impl Tally {
    pub fn new(zone: Tz) -> Self {
        Self {
            zone,
            totals: Totals::default(),
            usage: HashMap::new(),
            rejected: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// `result` is what the event says, true if it says nothing.
    pub fn counted(&mut self, proof: &Proof, result: bool) {
        self.totals.events += 1;
        self.totals.counted += 1;
        self.row(proof, result)[0] += 1;
    }

    /// As [`Tally::counted`], for a receipt that was counted before.
    pub fn duplicate(&mut self, proof: &Proof, result: bool) {
        self.totals.events += 1;
        self.totals.duplicates += 1;
        self.row(proof, result)[1] += 1;
    }

    pub fn conflict(&mut self) {
        self.totals.events += 1;
        self.totals.conflicts += 1;
    }

    pub fn rejected(&mut self, reason: &'static str) {
        self.totals.events += 1;
        self.totals.rejected += 1;
        *self.rejected.entry(reason).or_default() += 1;
    }

    pub fn failed(&mut self, failure: &Failure) {
        self.totals.events += 1;
        self.totals.failed += 1;
        let failed_on = instant(failure.proof.verified_ms).date_naive();
        let key = (failed_on, failure.proof.predicate, failure.error_code);
        *self.failed.entry(key).or_default() += 1;
    }

    pub fn truth(&self) -> Truth {
        let predicate = |number: u8| names::text(|out| names::predicate(number, out));
        let mut usage = Vec::with_capacity(self.usage.len());
        for (&(brand, usage_day, number, result), &[receipts, duplicates]) in &self.usage {
            let brand = names::text(|out| names::brand(brand, out));
            let predicate = predicate(number);
            usage.push(UsageRow { brand, usage_day, predicate, result, receipts, duplicates });
        }
        usage.sort_unstable();
        let mut failed = Vec::with_capacity(self.failed.len());
        for (&(failed_on, number, error_code), &failures) in &self.failed {
            let (predicate, error_code) = (predicate(number), error_code.to_owned());
            failed.push(FailedRow { failed_on, predicate, error_code, failures });
        }
        failed.sort_unstable();
        let reasons = self.rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count));
        Truth {
            zone: self.zone.name().to_owned(),
            totals: self.totals,
            rejected: reasons.collect(),
            usage,
            failed,
        }
    }

    fn row(&mut self, proof: &Proof, result: bool) -> &mut [u64; 2] {
        let day = instant(proof.verified_ms).with_timezone(&self.zone).date_naive();
        self.usage.entry((proof.brand, day, proof.predicate, result)).or_default()
    }
}
