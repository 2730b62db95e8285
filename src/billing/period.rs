//! Periods: `[start, end)` of whole usage days, computed from the anchor and never from the
//! previous period.
//!
//! Boundary number `k` of a cadence is `anchor + k` cadences, its day cut to the length of its month,
//! so an anchor of 31 January gives 28 February and then 31 March. Periods of one [`Schedule`] tile
//! every day from its first on by construction: they are whole periods cut at the days on which
//! something changes.
//!
//! A usage day is a date in the brand's zone (see [`crate::usage::usage_day`]), so each instant has
//! one day, whatever the clocks of the zone do, and each day one period.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use chrono::{Datelike, Months, NaiveDate, TimeDelta};

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

/// A period and the whole period that it is cut from; the two are equal unless it is a stub.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    pub period: Period,
    pub whole: Period,
}

impl Slot {
    /// A period that is a whole one.
    pub fn whole(period: Period) -> Self {
        Self { period, whole: period }
    }

    /// True if the period is shorter than its cadence, so that fixed fee, minimum and maximum are
    /// prorated: days of the period / days of the whole period.
    pub fn is_stub(self) -> bool {
        self.period != self.whole
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} days", self.period, self.period.days(), self.whole.days())
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

/// Why a schedule cannot be changed like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0} is outside the years 1970 to 9999")]
    DayOutOfRange(NaiveDate),
    #[error("a change from {day} does not lie after {since}, when the last one takes effect")]
    ChangeNotLater { day: NaiveDate, since: NaiveDate },
    #[error("{0} lies after the end of the schedule")]
    AfterEnd(NaiveDate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    from: NaiveDate,
    grid: Grid,
}

/// The periods of a brand: from the day of its first assignment on, without gap or overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Never empty; `from` rises strictly.
    terms: Vec<Term>,
    /// The day after the last, if the assignments end.
    end: Option<NaiveDate>,
}

impl Schedule {
    /// Periods from `first_day` on, for as long as nothing changes.
    ///
    /// # Errors
    /// If a day is outside 1970 to 9999.
    pub fn new(first_day: NaiveDate, grid: Grid) -> Result<Self, Error> {
        in_range(first_day)?;
        in_range(grid.anchor.day())?;
        Ok(Self { terms: vec![Term { from: first_day, grid }], end: None })
    }

    /// Changes the grid (or, with [`Change::Split`] and the same grid, only cuts the period) from
    /// `day` on. Of a change of cadence comes at most one stub: from the day it takes effect to the
    /// next boundary of the new grid.
    ///
    /// # Errors
    /// If `day` does not lie after the change before it, or after the schedule's end.
    pub fn change(mut self, day: NaiveDate, grid: Grid, change: Change) -> Result<Self, Error> {
        in_range(day)?;
        in_range(grid.anchor.day())?;
        let since = self.last_term().from;
        if day <= since {
            return Err(Error::ChangeNotLater { day, since });
        }
        let running = self.slot_of(day).ok_or(Error::AfterEnd(day))?.period;
        let from =
            if change == Change::Split || running.start() == day { day } else { running.end() };
        in_range(from)?;
        self.terms.push(Term { from, grid });
        Ok(self)
    }

    /// Ends the schedule: `end` is the first day that is in no period.
    ///
    /// # Errors
    /// If `end` does not lie after the last change.
    pub fn until(mut self, end: NaiveDate) -> Result<Self, Error> {
        let since = self.last_term().from;
        if end <= since {
            return Err(Error::ChangeNotLater { day: end, since });
        }
        self.end = Some(end);
        Ok(self)
    }

    pub fn first_day(&self) -> NaiveDate {
        self.terms.first().expect("a schedule has a term from the start").from
    }

    /// The period that `day` is in, with its whole period; `None` before the first day, after the
    /// end, and outside 1970 to 9999.
    pub fn slot_of(&self, day: NaiveDate) -> Option<Slot> {
        if self.end.is_some_and(|end| day >= end) {
            return None;
        }
        let later = self.terms.partition_point(|term| term.from <= day);
        let term = self.terms.get(later.checked_sub(1)?)?;
        let whole = term.grid.whole_period(day)?;
        let cut = self.terms.get(later).map(|next| next.from).or(self.end);
        let start = whole.start().max(term.from);
        let end = cut.map_or(whole.end(), |cut| cut.min(whole.end()));
        Some(Slot { period: Period::new(start, end)?, whole })
    }

    /// The periods in order, from the first; endless (to the year 9999) if the schedule has no end.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        std::iter::successors(self.slot_of(self.first_day()), |slot| {
            self.slot_of(slot.period.end())
        })
    }

    fn last_term(&self) -> &Term {
        self.terms.last().expect("a schedule has a term from the start")
    }
}

fn in_range(day: NaiveDate) -> Result<(), Error> {
    if YEARS.contains(&day.year()) { Ok(()) } else { Err(Error::DayOutOfRange(day)) }
}

#[cfg(test)]
mod tests;
