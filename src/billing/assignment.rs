//! Assignments: which plan a brand has from which day, and which periods follow from that.
//!
//! A [`Timeline`] is computed from all assignments and all plan versions at once. Its terms are apart
//! from each other and in order, and the period of a day is computed from the term that the day is in;
//! so each day is in one period or in none, and no period depends on the one before it.
//!
//! A change (another assignment, or a later version of its plan) waits for the end of the period that
//! is running, unless it is a split, which ends that period on its day. An end takes effect on its day,
//! so an assignment that took over from nobody is laid out as a split.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::period::{Anchor, Cadence, Change, Grid, Period, Slot};

pub use placement::{
    Limits, Refusal, Stretch, Taken, check_end, check_later_days, check_new, check_priced,
    check_waiver,
};

mod placement;

/// A brand has a plan from a day on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its number in the records.
    pub no: i64,
    pub plan: String,
    pub anchor: Anchor,
    /// How it takes over from an assignment that goes before it without a day between.
    pub change: Change,
    pub from: NaiveDate,
    /// The first day on which it no longer holds. On or before `from`: it never held (it was
    /// withdrawn).
    pub until: Option<NaiveDate>,
}

/// A version of a plan, as far as periods depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: i32,
    pub effective_from: NaiveDate,
    pub cadence: Cadence,
}

/// The versions of each plan, by its name.
pub type Versions = BTreeMap<String, Vec<Version>>;

/// A stretch of days with one plan version and one grid of periods; its first period begins with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    from: NaiveDate,
    /// The first day after it.
    until: Option<NaiveDate>,
    /// Index of the assignment.
    assignment: usize,
    version: i32,
    grid: Grid,
}

/// A period with the plan version that prices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned<'a> {
    pub slot: Slot,
    pub assignment: &'a Assignment,
    pub version: i32,
}

/// Days that one version of a plan prices without a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign<'a> {
    pub from: NaiveDate,
    /// The first day after it.
    pub until: Option<NaiveDate>,
    pub assignment: &'a Assignment,
    pub version: i32,
}

/// Why there is no timeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("plan {plan} was never applied: `prooftally plans apply` does it")]
    PlanUnknown { plan: String },
    #[error("no version of plan {plan} is in force on {day}: the first takes effect on {first}")]
    VersionMissing { plan: String, day: NaiveDate, first: NaiveDate },
    #[error("{0} is outside the years 1970 to 9999")]
    DayOutOfRange(NaiveDate),
    #[error("assignments {earlier} and {later} hold on the same days")]
    Overlap { earlier: i64, later: i64 },
}

impl Error {
    /// The error's name for machines; it never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Error::PlanUnknown { .. } => "plan_unknown",
            Error::VersionMissing { .. } => "version_missing",
            Error::DayOutOfRange(_) => "day_out_of_range",
            Error::Overlap { .. } => "overlap",
        }
    }
}

/// All periods of a brand, past and to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    assignments: Vec<Assignment>,
    /// Apart from each other, in order.
    terms: Vec<Term>,
}

impl Timeline {
    /// Lays out `assignments`, in any order; those that were withdrawn are left out.
    ///
    /// # Errors
    /// If two overlap, or one has a plan without a version in force on its first day.
    pub fn new(mut assignments: Vec<Assignment>, versions: &Versions) -> Result<Self, Error> {
        assignments.retain(|one| one.until.is_none_or(|until| until > one.from));
        assignments.sort_by_key(|one| one.from);
        for pair in assignments.windows(2) {
            let [earlier, later] = pair else { continue };
            if earlier.until.is_none_or(|until| until > later.from) {
                return Err(Error::Overlap { earlier: earlier.no, later: later.no });
            }
        }
        let mut terms: Vec<Term> = Vec::new();
        for (index, assignment) in assignments.iter().enumerate() {
            let follows = index
                .checked_sub(1)
                .and_then(|before| assignments.get(before))
                .is_some_and(|before| before.until == Some(assignment.from));
            if !follows {
                end_run(&mut terms, index, &assignments);
            }
            add(&mut terms, index, assignment, versions, follows)?;
        }
        end_run(&mut terms, assignments.len(), &assignments);
        Ok(Self { assignments, terms })
    }

    /// The periods of one plan by the calendar, whatever is assigned: from the first whole period, as
    /// its first version has them, that begins when that version is in force. Without a version there are none.
    ///
    /// # Errors
    /// If a day is outside 1970 to 9999.
    pub fn of_plan(plan: &str, versions: &Versions) -> Result<Self, Error> {
        let all = versions.get(plan).map_or(&[] as &[Version], Vec::as_slice);
        let Some(first) = all.iter().min_by_key(|version| version.effective_from) else {
            return Ok(Self::default());
        };
        let (anchor, day) = (Anchor::Calendar, first.effective_from);
        let grid = Grid { cadence: first.cadence, anchor };
        let from = grid.first_start(day).ok_or(Error::DayOutOfRange(day))?;
        let plan = plan.to_owned();
        let one = Assignment { no: 0, plan, anchor, change: Change::Split, from, until: None };
        Self::new(vec![one], versions)
    }

    /// The days that an assignment prices: the first, and the first day after them (`None` if there
    /// is no end). They follow each other. `None` if it prices no day, because it never takes effect.
    pub fn priced(&self, no: i64) -> Option<(NaiveDate, Option<NaiveDate>)> {
        let is_its =
            |term: &&Term| self.assignments.get(term.assignment).is_some_and(|one| one.no == no);
        let first = self.terms.iter().find(is_its)?;
        let last = self.terms.iter().rfind(is_its)?;
        Some((first.from, last.until))
    }

    /// Which version prices which days, in order.
    pub fn reigns(&self) -> impl Iterator<Item = Reign<'_>> {
        self.terms.iter().filter_map(|term| {
            let Term { from, until, version, .. } = *term;
            let assignment = self.assignments.get(term.assignment)?;
            Some(Reign { from, until, assignment, version })
        })
    }

    /// The first day on which a period begins.
    pub fn first_day(&self) -> Option<NaiveDate> {
        Some(self.terms.first()?.from)
    }

    /// The period that `day` is in; `None` if no assignment holds then.
    pub fn period_of(&self, day: NaiveDate) -> Option<Assigned<'_>> {
        let later = self.terms.partition_point(|term| term.from <= day);
        let term = self.terms.get(later.checked_sub(1)?)?;
        if term.until.is_some_and(|until| until <= day) {
            return None;
        }
        let whole = term.grid.whole_period(day)?;
        let start = whole.start().max(term.from);
        let end = term.until.map_or(whole.end(), |until| until.min(whole.end()));
        let slot = Slot { period: Period::new(start, end)?, whole };
        let assignment = self.assignments.get(term.assignment)?;
        Some(Assigned { slot, assignment, version: term.version })
    }

    /// The periods that begin before `end`, in order. They are finitely many: each has a day.
    pub fn periods_before(&self, end: NaiveDate) -> impl Iterator<Item = Assigned<'_>> {
        let first = self.first_from(NaiveDate::MIN);
        std::iter::successors(first, |one| {
            let next = one.slot.period.end();
            self.period_of(next).or_else(|| self.first_from(next))
        })
        .take_while(move |one| one.slot.period.start() < end)
    }

    /// The first period of the first term from `day` on.
    fn first_from(&self, day: NaiveDate) -> Option<Assigned<'_>> {
        let next = self.terms.partition_point(|term| term.from < day);
        self.period_of(self.terms.get(next)?.from)
    }
}

/// Adds the terms of an assignment: from its start, and from each later version of its plan on.
fn add(
    terms: &mut Vec<Term>,
    index: usize,
    assignment: &Assignment,
    versions: &Versions,
    follows: bool,
) -> Result<(), Error> {
    let Assignment { plan, from, until, anchor, change, .. } = assignment;
    let all = versions.get(plan).filter(|all| !all.is_empty());
    let all = all.ok_or_else(|| Error::PlanUnknown { plan: plan.clone() })?;
    let term = |version: &Version| {
        let grid = Grid { cadence: version.cadence, anchor: *anchor };
        Term { from: *from, until: None, assignment: index, version: version.number, grid }
    };
    let (in_force, later): (Vec<&Version>, Vec<&Version>) =
        all.iter().partition(|version| version.effective_from <= *from);
    let Some(first) = in_force.into_iter().max_by_key(|version| version.effective_from) else {
        let first = all.iter().map(|version| version.effective_from).min().unwrap_or(*from);
        return Err(Error::VersionMissing { plan: plan.clone(), day: *from, first });
    };
    let change = if follows { *change } else { Change::Split };
    take_over(terms, *from, change, term(first))?;
    let mut later = later;
    later.retain(|version| until.is_none_or(|until| version.effective_from < until));
    later.sort_by_key(|version| version.effective_from);
    for version in later {
        take_over(terms, version.effective_from, Change::NextPeriod, term(version))?;
    }
    Ok(())
}

/// Lets `term` hold from `day` on, or from the end of the period that is running then. What would
/// begin no earlier never holds.
fn take_over(
    terms: &mut Vec<Term>,
    day: NaiveDate,
    change: Change,
    mut term: Term,
) -> Result<(), Error> {
    // Only a grid that has a period of this day can be used.
    term.grid.whole_period(day).ok_or(Error::DayOutOfRange(day))?;
    term.from = match (change, terms.last()) {
        (Change::NextPeriod, Some(last)) if last.from >= day => last.from,
        (Change::NextPeriod, Some(last)) => {
            last.grid.first_start(day).ok_or(Error::DayOutOfRange(day))?
        }
        (Change::Split, _) | (_, None) => day,
    };
    terms.retain(|earlier| earlier.from < term.from);
    if let Some(last) = terms.last_mut()
        && last.until.is_none_or(|until| until > term.from)
    {
        last.until = Some(term.from);
    }
    terms.push(term);
    Ok(())
}

/// Ends the terms on the day on which the assignment before `next` ends; those that were still waiting
/// never hold.
fn end_run(terms: &mut Vec<Term>, next: usize, assignments: &[Assignment]) {
    let last = next.checked_sub(1).and_then(|last| assignments.get(last));
    let Some(end) = last.and_then(|last| last.until) else { return };
    terms.retain(|term| term.from < end);
    if let Some(last) = terms.last_mut()
        && last.until.is_none_or(|until| until > end)
    {
        last.until = Some(end);
    }
}

#[cfg(test)]
mod tests;
