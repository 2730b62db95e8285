//! What is to be generated: how many events, from whom, and how many of them are not plain.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;

/// Most brands of a workload, and most suppliers.
pub const BRANDS_MAX: u32 = 1_000_000;
/// Most events of a workload.
pub const COUNT_MAX: u64 = 1 << 40;
/// Largest Zipf exponent.
pub const SKEW_MAX: f64 = 8.0;
/// Years in which a workload may lie. Outside them lie the times of malformed events.
pub const YEARS: std::ops::RangeInclusive<i32> = 1972..=2999;

/// A share in steps of 0.01 %, so that shares add up exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(u32);

impl Percent {
    pub const ZERO: Self = Self(0);
    pub const ALL: Self = Self(10_000);

    /// A share of `points` hundredths of a percent; more than 10,000 are taken as 10,000.
    pub const fn from_basis_points(points: u32) -> Self {
        if points > Self::ALL.0 { Self::ALL } else { Self(points) }
    }

    /// Hundredths of a percent, 0 to 10,000.
    pub const fn basis_points(self) -> u32 {
        self.0
    }

    /// This share of `count`, rounded down.
    pub fn of(self, count: u64) -> u64 {
        let share = u128::from(count) * u128::from(self.0) / u128::from(Self::ALL.0);
        u64::try_from(share).expect("a share of a count is not more than the count")
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} %", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Percent {
    type Err = Error;

    /// Reads `5`, `0.1` or `12.25`, with or without ` %`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Percent(text.to_owned());
        let number = text.trim_end_matches('%').trim_end();
        let (whole, hundredths) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || hundredths.len() > 2 || !digits(whole) || !digits(hundredths) {
            return Err(refuse());
        }
        let points: u32 = format!("{whole}{hundredths:0<2}").parse().map_err(|_| refuse())?;
        if points > Self::ALL.0 { Err(refuse()) } else { Ok(Self(points)) }
    }
}

/// A workload. The same spec gives the same bytes for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub seed: u64,
    /// Events in all, of every kind.
    pub count: u64,
    pub brands: u32,
    pub suppliers: u32,
    /// Zipf exponent over the brands: 0 treats all alike, at 1 the second gets half of the first.
    pub skew: f64,
    /// Events sent again with the same bytes.
    pub duplicate: Percent,
    /// Receipts sent again in a new event: other event id, slightly later, maybe the other shape.
    pub reemitted: Percent,
    /// Receipt ids sent again with another predicate, supplier, product or result.
    pub conflict: Percent,
    /// Events that cannot be counted.
    pub malformed: Percent,
    /// Events on `proofs.failed`.
    pub failed: Percent,
    /// Events in the gateway's envelope; the others have ADR-004's flat shape. Of every kind.
    pub envelope: Percent,
    /// Of the events that repeat an earlier one, how many reach back over the whole history; the
    /// others repeat one of the last 10,000 receipts.
    pub old_duplicate: Percent,
    /// Proofs are verified from here …
    pub from: DateTime<Utc>,
    /// … to before here. An engine refuses what lies in its future.
    pub until: DateTime<Utc>,
    /// The zone in whose days the expected usage is given. It does not change the events.
    pub zone: Tz,
}

impl Default for Spec {
    /// A million events of March 2026, in which most of Europe changes its clocks.
    fn default() -> Self {
        Self {
            seed: 1,
            count: 1_000_000,
            brands: 12,
            suppliers: 60,
            skew: 1.0,
            duplicate: Percent(300),
            reemitted: Percent(200),
            conflict: Percent(10),
            malformed: Percent(20),
            failed: Percent(100),
            envelope: Percent(5_000),
            old_duplicate: Percent(5_000),
            from: midnight(1_772_323_200),
            until: midnight(1_775_001_600),
            zone: Tz::UTC,
        }
    }
}

fn midnight(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("the default's seconds are within chrono's range")
}

/// Why a workload cannot be generated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("a workload needs 1 to {BRANDS_MAX} brands, not {0}")]
    Brands(u32),
    #[error("a workload needs 1 to {BRANDS_MAX} suppliers, not {0}")]
    Suppliers(u32),
    #[error("a workload has at most {COUNT_MAX} events, not {0}")]
    Count(u64),
    #[error("the skew must be 0 to {SKEW_MAX}, not {0}")]
    Skew(f64),
    #[error(
        "duplicate, re-emitted, conflict, malformed and failed events add up to {}.{:02} %; lower \
         them to 100 % or less", .0 / 100, .0 % 100
    )]
    Shares(u32),
    #[error(
        "there are events to repeat but no receipt that they could repeat; lower the share of \
         duplicate, re-emitted and conflict events or raise the count"
    )]
    NothingToRepeat,
    #[error("the time span must begin before it ends; it is {from} to {until}")]
    Span { from: DateTime<Utc>, until: DateTime<Utc> },
    #[error("the time span must lie in the years {first} to {last}, not {year}",
        first = YEARS.start(), last = YEARS.end())]
    Year { year: i32 },
    #[error("`{0}` is not a percentage of 0 to 100 with at most two decimals, such as 0.25")]
    Percent(String),
}

/// Events of each kind, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quotas {
    pub originals: u64,
    pub duplicates: u64,
    pub reemitted: u64,
    pub conflicts: u64,
    pub malformed: u64,
    pub failed: u64,
}

impl Spec {
    /// Checks the spec and says how many events of each kind it means.
    pub(super) fn quotas(&self) -> Result<Quotas, Error> {
        self.check()?;
        let shares = [self.duplicate, self.reemitted, self.conflict, self.malformed, self.failed];
        let sum = shares.iter().map(|share| share.basis_points()).sum();
        if sum > Percent::ALL.basis_points() {
            return Err(Error::Shares(sum));
        }
        let [duplicates, reemitted, conflicts, malformed, failed] =
            shares.map(|share| share.of(self.count));
        let repeats = duplicates + reemitted + conflicts;
        let originals = self.count - repeats - malformed - failed;
        if originals == 0 && repeats > 0 {
            return Err(Error::NothingToRepeat);
        }
        Ok(Quotas { originals, duplicates, reemitted, conflicts, malformed, failed })
    }

    fn check(&self) -> Result<(), Error> {
        if !(1..=BRANDS_MAX).contains(&self.brands) {
            return Err(Error::Brands(self.brands));
        }
        if !(1..=BRANDS_MAX).contains(&self.suppliers) {
            return Err(Error::Suppliers(self.suppliers));
        }
        if self.count > COUNT_MAX {
            return Err(Error::Count(self.count));
        }
        if !(0.0..=SKEW_MAX).contains(&self.skew) {
            return Err(Error::Skew(self.skew));
        }
        if self.from >= self.until {
            return Err(Error::Span { from: self.from, until: self.until });
        }
        for year in [self.from.year(), self.until.year()] {
            if !YEARS.contains(&year) {
                return Err(Error::Year { year });
            }
        }
        Ok(())
    }
}
