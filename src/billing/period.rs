//! Periods: `[start, end)` of whole usage days, computed from the anchor and never from the
//! previous period.
//!
//! Boundary number `k` of a cadence is `anchor + k` cadences, its day cut to the length of its
//! month, so an anchor of 31 January gives 28 February and then 31 March. Where something changes, a
//! [`crate::assignment::Timeline`] cuts whole periods into [`Slot`]s.
//!
//! A usage day is a date in the brand's zone (see [`crate::usage::usage_day`]), so each instant has
//! one day, whatever the clocks of the zone do, and each day one period.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use chrono::{Datelike, Months, NaiveDate, TimeDelta};

pub use slot::Slot;

mod slot;

/// Days before 1970 or after 9999 are in no period.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// A Monday, and the first day of a month, quarter, half-year and year: the anchor of the calendar.
const CALENDAR_ANCHOR: NaiveDate = match NaiveDate::from_ymd_opt(2001, 1, 1) {
    Some(day) => day,
    None => unreachable!(),
};

/// `[start, end)` of whole usage days; at least one day.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    start: NaiveDate,
    end: NaiveDate,
}

impl Period {
    /// Takes the first day and the day after the last, or `None` if no day lies between them.
    pub fn new(start: NaiveDate, end: NaiveDate) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first day.
    pub fn start(self) -> NaiveDate {
        self.start
    }

    /// The day after the last.
    pub fn end(self) -> NaiveDate {
        self.end
    }

    /// The last day, which is the tax point.
    pub fn last_day(self) -> NaiveDate {
        self.end.pred_opt().expect("a day lies before the end because start does")
    }

    /// How many days it has, at least 1.
    pub fn days(self) -> u32 {
        let days = self.end.signed_duration_since(self.start).num_days();
        u32::try_from(days).expect("all dates of chrono span fewer than 2^32 days, and start < end")
    }

    pub fn contains(self, day: NaiveDate) -> bool {
        self.start <= day && day < self.end
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How long a whole period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cadence {
    Weekly,
    Monthly,
    Quarterly,
    SemiAnnual,
    Annual,
}

impl Cadence {
    pub const ALL: [Cadence; 5] = [
        Cadence::Weekly,
        Cadence::Monthly,
        Cadence::Quarterly,
        Cadence::SemiAnnual,
        Cadence::Annual,
    ];

    /// The name in plan files, tables and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Cadence::Weekly => "weekly",
            Cadence::Monthly => "monthly",
            Cadence::Quarterly => "quarterly",
            Cadence::SemiAnnual => "semi_annual",
            Cadence::Annual => "annual",
        }
    }

    /// Finds a cadence by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cadence| cadence.as_str() == name)
    }

    /// Months of a whole period; `None` for a week.
    fn months(self) -> Option<u32> {
        match self {
            Cadence::Weekly => None,
            Cadence::Monthly => Some(1),
            Cadence::Quarterly => Some(3),
            Cadence::SemiAnnual => Some(6),
            Cadence::Annual => Some(12),
        }
    }
}

/// From which day whole periods are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Anchor {
    /// Mondays; the first day of a month; of January, April, July and October; of January and
    /// July; of January.
    Calendar,
    /// The day's weekday; its day of the month, cut to the month's length.
    Anniversary(NaiveDate),
}

impl Anchor {
    fn day(self) -> NaiveDate {
        match self {
            Anchor::Calendar => CALENDAR_ANCHOR,
            Anchor::Anniversary(day) => day,
        }
    }
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// At the end of the period that is running then.
    NextPeriod,
    /// On its day, which ends the running period there.
    Split,
}

/// The whole periods of a cadence from an anchor, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    pub cadence: Cadence,
    pub anchor: Anchor,
}

impl Grid {
    /// The whole period that `day` is in; `None` if `day` or the anchor is outside 1970 to 9999.
    pub fn whole_period(self, day: NaiveDate) -> Option<Period> {
        if !YEARS.contains(&day.year()) || !YEARS.contains(&self.anchor.day().year()) {
            return None;
        }
        match self.cadence.months() {
            None => self.week(day),
            Some(months) => self.months(day, months),
        }
    }

    /// The first day from `day` on with which a whole period begins.
    pub fn first_start(self, day: NaiveDate) -> Option<NaiveDate> {
        let running = self.whole_period(day)?;
        Some(if running.start() == day { day } else { running.end() })
    }

    fn week(self, day: NaiveDate) -> Option<Period> {
        let into = day.signed_duration_since(self.anchor.day()).num_days().checked_rem_euclid(7)?;
        let start = day.checked_sub_signed(TimeDelta::days(into))?;
        Period::new(start, start.checked_add_signed(TimeDelta::days(7))?)
    }

    fn months(self, day: NaiveDate, months: u32) -> Option<Period> {
        let length = i64::from(months);
        let apart = month_number(day)?.checked_sub(month_number(self.anchor.day())?)?;
        let mut index = apart.checked_div_euclid(length)?;
        // The boundary of that month may still lie ahead of `day` within it.
        if self.boundary(index.checked_mul(length)?)? > day {
            index = index.checked_sub(1)?;
        }
        let start = self.boundary(index.checked_mul(length)?)?;
        let end = self.boundary(index.checked_add(1)?.checked_mul(length)?)?;
        Period::new(start, end)
    }

    /// The anchor moved by `months`, its day cut to the month's length.
    fn boundary(self, months: i64) -> Option<NaiveDate> {
        let distance = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 {
            self.anchor.day().checked_sub_months(distance)
        } else {
            self.anchor.day().checked_add_months(distance)
        }
    }
}

fn month_number(day: NaiveDate) -> Option<i64> {
    i64::from(day.year()).checked_mul(12)?.checked_add(i64::from(day.month0()))
}

#[cfg(test)]
mod tests;
