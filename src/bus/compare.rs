//! Compares what the stream says of a position with what the database says became of it. The closed
//! list of differences stands here.

use std::collections::BTreeMap;

use billing::receipt::{Reason, ReceiptKey};
use billing::usage::usage_day;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::actors::chunk::{Candidate, Rejected};
use crate::store;
use crate::store::positions::{CountedPosition, Disposed, Positions};

/// How a position can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It is at or before the cursor and nothing became of it.
    Missing,
    /// It is counted and has a disposition too, or is counted twice.
    Twice,
    /// Another brand's receipt, or another receipt, stands for it.
    OtherReceipt,
    /// The receipt is counted with another predicate, supplier, product or result.
    OtherContent,
    /// The receipt is counted with another time.
    OtherTime,
    /// Its usage day is not that of the brand's zone.
    OtherDay,
    /// Something else became of it than becomes of such an event.
    OtherDisposition,
    /// It is rejected for another reason, or its rejection is not kept.
    OtherReason,
    /// The rejection keeps other bytes.
    OtherBytes,
}

impl Difference {
    pub const ALL: [Difference; 9] = [
        Difference::Missing,
        Difference::Twice,
        Difference::OtherReceipt,
        Difference::OtherContent,
        Difference::OtherTime,
        Difference::OtherDay,
        Difference::OtherDisposition,
        Difference::OtherReason,
        Difference::OtherBytes,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Twice => "twice",
            Difference::OtherReceipt => "other_receipt",
            Difference::OtherContent => "other_content",
            Difference::OtherTime => "other_time",
            Difference::OtherDay => "other_day",
            Difference::OtherDisposition => "other_disposition",
            Difference::OtherReason => "other_reason",
            Difference::OtherBytes => "other_bytes",
        }
    }
}

/// A position that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub sequence: i64,
    pub difference: Difference,
    pub what: String,
}

/// What an event of the stream calls for.
pub(super) enum Expected<'a> {
    Receipt {
        candidate: &'a Candidate,
        brand_no: i32,
        zone: Tz,
    },
    /// A receipt of a brand or a predicate that the database does not know.
    Unnamed,
    Refused(&'a Rejected),
    Ignored,
}

/// What a comparison came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Positions that agree, by what became of them.
    pub agree: BTreeMap<String, u64>,
    /// All differences by name, and the first of them one by one.
    pub differences: BTreeMap<Difference, u64>,
    pub findings: Vec<Finding>,
    /// Positions of the database that the stream no longer has: nothing can be said of them.
    pub gone: u64,
    /// Messages behind the cursor's position, which is progress and no difference.
    pub not_metered: u64,
}

/// At most so many differences are told one by one.
const FINDINGS_MAX: usize = 1_000;

impl Report {
    /// How many positions differ.
    pub fn differing(&self) -> u64 {
        self.differences.values().sum()
    }

    /// How many positions were compared.
    pub fn compared(&self) -> u64 {
        self.agree.values().sum::<u64>() + self.differing()
    }

    /// Compares the position `sequence`, which must rise from call to call.
    pub(super) async fn compare(
        &mut self,
        sequence: i64,
        expected: &Expected<'_>,
        positions: &mut Positions<'_>,
    ) -> Result<(), store::Error> {
        pass(sequence, positions).await?;
        let counted = positions.counted().await?.filter(|row| row.sequence == sequence);
        let disposed = positions.disposed().await?.filter(|run| run.first <= sequence);
        let verdict = match (counted, disposed) {
            (Some(row), None) => of_counted(expected, &row).map(|()| "counted".to_owned()),
            (None, Some(run)) => of_disposed(expected, run).map(|()| run.kind.clone()),
            (Some(row), Some(run)) => Err((
                Difference::Twice,
                format!("it is entry {} and it is {} too", row.entry, run.kind),
            )),
            (None, None) => Err((
                Difference::Missing,
                format!("{}, and nothing became of it", describe(expected)),
            )),
        };
        match verdict {
            Ok(kind) => *self.agree.entry(kind).or_default() += 1,
            Err((difference, what)) => self.differ(sequence, difference, what),
        }
        if counted.is_some() {
            positions.take_counted();
            if let Some(row) = positions.counted().await?
                && row.sequence == sequence
            {
                let what = format!("it is counted again as entry {}", row.entry);
                self.differ(sequence, Difference::Twice, what);
                positions.take_counted();
            }
        }
        Ok(())
    }

    fn differ(&mut self, sequence: i64, difference: Difference, what: String) {
        *self.differences.entry(difference).or_default() += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { sequence, difference, what });
        }
    }
}

/// Passes what the database has before `sequence` and the stream has no longer.
async fn pass(sequence: i64, positions: &mut Positions<'_>) -> Result<(), store::Error> {
    while positions.counted().await?.is_some_and(|row| row.sequence < sequence) {
        positions.take_counted();
    }
    while positions.disposed().await?.is_some_and(|run| run.last < sequence) {
        positions.take_disposed();
    }
    Ok(())
}

type Verdict = Result<(), (Difference, String)>;

fn of_counted(expected: &Expected<'_>, row: &CountedPosition) -> Verdict {
    let entry = row.entry;
    let Expected::Receipt { candidate, brand_no, zone } = *expected else {
        let difference = match expected {
            Expected::Unnamed => Difference::OtherReceipt,
            _ => Difference::OtherDisposition,
        };
        return Err((difference, format!("{}, and is entry {entry}", describe(expected))));
    };
    if (row.brand_no, row.key) != (brand_no, candidate.key) {
        return Err((Difference::OtherReceipt, format!("entry {entry} is of another receipt")));
    }
    if row.digest != candidate.digest {
        return Err((Difference::OtherContent, format!("entry {entry} has another content")));
    }
    let is_same_time = |a: DateTime<Utc>, b: DateTime<Utc>| {
        // The database keeps microseconds.
        a.timestamp_micros() == b.timestamp_micros()
    };
    if !is_same_time(row.verified_at, candidate.verified_at) {
        let what = format!("entry {entry} says {} and the event {}", row.verified_at, {
            candidate.verified_at
        });
        return Err((Difference::OtherTime, what));
    }
    let day = usage_day(candidate.verified_at, zone);
    if row.usage_day != day {
        let what = format!("entry {entry} is billed on {} and belongs to {day}", row.usage_day);
        return Err((Difference::OtherDay, what));
    }
    Ok(())
}

/// Reasons that depend on what the engine knew that day and not on the event alone.
const OF_THE_DAY: [Reason; 4] =
    [Reason::UnknownBrand, Reason::UnknownPredicate, Reason::Poison, Reason::StoreRefused];

fn of_disposed(expected: &Expected<'_>, run: &Disposed) -> Verdict {
    let reason = run.reason.as_deref();
    let is_of_the_day = reason.is_some_and(|r| OF_THE_DAY.iter().any(|of| of.as_str() == r));
    match (expected, run.kind.as_str()) {
        (Expected::Receipt { candidate, brand_no, .. }, "duplicate" | "conflict" | "parked") => {
            of_receipt(run, *brand_no, candidate.key)
        }
        (Expected::Refused(rejected), "rejected") => of_rejection(rejected, run, is_of_the_day),
        (Expected::Ignored, "ignored") => Ok(()),
        (Expected::Receipt { .. } | Expected::Unnamed | Expected::Ignored, "rejected")
            if is_of_the_day =>
        {
            Ok(())
        }
        (_, kind) => {
            let because = reason.map_or_else(String::new, |reason| format!(" as {reason}"));
            let what = format!("{}, and is {kind}{because}", describe(expected));
            Err((Difference::OtherDisposition, what))
        }
    }
}

fn of_receipt(run: &Disposed, brand_no: i32, key: ReceiptKey) -> Verdict {
    if (run.brand_no, run.key()) == (Some(brand_no), Some(key)) {
        return Ok(());
    }
    Err((Difference::OtherReceipt, format!("it is {} of another receipt", run.kind)))
}

fn of_rejection(rejected: &Rejected, run: &Disposed, is_of_the_day: bool) -> Verdict {
    let expected = rejected.reason.as_str();
    match run.reason.as_deref() {
        None => Err((Difference::OtherReason, "its rejection is not kept".to_owned())),
        Some(reason) if reason != expected && !is_of_the_day => {
            Err((Difference::OtherReason, format!("it is rejected as {reason} and is {expected}")))
        }
        Some(_) if run.raw.as_deref() != Some(&rejected.raw) => {
            Err((Difference::OtherBytes, "its rejection keeps other bytes".to_owned()))
        }
        Some(_) => Ok(()),
    }
}

fn describe(expected: &Expected<'_>) -> String {
    match expected {
        Expected::Receipt { .. } => "it is a receipt that can be counted".to_owned(),
        Expected::Unnamed => {
            "it is a receipt of a brand or predicate that the database does not know".to_owned()
        }
        Expected::Refused(rejected) => {
            format!("it cannot be counted ({})", rejected.reason.as_str())
        }
        Expected::Ignored => "it is none of what is metered".to_owned(),
    }
}
