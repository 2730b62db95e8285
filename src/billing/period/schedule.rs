//! The periods of one brand: whole periods cut at the days on which something changes.
//!
//! They tile every day from the first on by construction, because the period of a day is computed
//! from the terms in force on it and never from another period.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use chrono::{Datelike, NaiveDate};

use super::{Grid, Period, YEARS};

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
