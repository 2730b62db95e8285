//! Where an assignment, an end or a waiver may be placed among those that there are.
#![deny(clippy::arithmetic_side_effects)]

use chrono::NaiveDate;

use super::{Assignment, Reign, Timeline};

/// Numbered days that something else holds: `[from, until)`, or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub no: i64,
    pub from: NaiveDate,
    /// The first day after it.
    pub until: Option<NaiveDate>,
}

/// The days of a brand that are taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    pub assignments: &'a [Assignment],
    /// Waivers that were not withdrawn.
    pub waivers: &'a [Stretch],
}

/// What no change may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first usage day, or today for a brand without earlier usage.
    pub earliest: NaiveDate,
    /// The first day after the last finalized period; `None` if nothing is finalized.
    pub open_from: Option<NaiveDate>,
}

/// Why an assignment, an end or a waiver is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{until} is not after {from}: the day given as until is the first that is not in it")]
    Empty { from: NaiveDate, until: NaiveDate },
    #[error(
        "{from} is before {earliest}, the first day with usage to bill (or today, without any): \
         begin on {earliest} or later"
    )]
    BeforeFirstUsage { from: NaiveDate, earliest: NaiveDate },
    #[error(
        "assignment {no} begins on {from}: let this one end there (until {from}), or withdraw that \
         one by ending it on {from}"
    )]
    OverlapsLater { no: i64, from: NaiveDate },
    #[error(
        "assignment {no} holds from {from} until {until}: begin on {until}, or end it earlier first"
    )]
    OverlapsEnded { no: i64, from: NaiveDate, until: NaiveDate },
    #[error(
        "waiver {no} has the days from {from} until {until}: leave them out, or withdraw it first"
    )]
    Waived { no: i64, from: NaiveDate, until: NaiveDate },
    #[error(
        "days before {open_from} are on finalized invoices: choose {open_from} or later, or cancel \
         those invoices first"
    )]
    Finalized { open_from: NaiveDate },
    #[error(
        "it would price no day: it waits for the end of the period that is running on {from}, and ends on \
         {until}, before that: say --split to begin on {from}, or let it end later"
    )]
    PricesNothing { from: NaiveDate, until: NaiveDate },
    #[error(
        "it would price days after its end: assignment {no} follows on {from} and would wait for the end \
         of its period. Withdraw {no} by ending it on {from} and make it again: where it takes over \
         from nobody, it begins on its day"
    )]
    ReachesLater { no: i64, from: NaiveDate },
    #[error("assignment {no} begins on {from} and cannot end before that")]
    EndsBeforeItBegins { no: i64, from: NaiveDate },
    #[error("assignment {no} ends on {until} already")]
    Unchanged { no: i64, until: NaiveDate },
    #[error("there is no assignment {no} of this brand")]
    Unknown { no: i64 },
    #[error(
        "assignment {no} holds on {day}, so its usage is billed and cannot be waived: only days \
         without an assignment can"
    )]
    Assigned { no: i64, day: NaiveDate },
}

impl Refusal {
    /// The refusal's name for machines; it never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::Empty { .. } => "empty",
            Refusal::BeforeFirstUsage { .. } => "before_first_usage",
            Refusal::OverlapsLater { .. } => "overlaps_later",
            Refusal::OverlapsEnded { .. } => "overlaps_ended",
            Refusal::Waived { .. } => "waived",
            Refusal::Finalized { .. } => "finalized",
            Refusal::PricesNothing { .. } => "prices_nothing",
            Refusal::ReachesLater { .. } => "reaches_later",
            Refusal::EndsBeforeItBegins { .. } => "ends_before_it_begins",
            Refusal::Unchanged { .. } => "unchanged",
            Refusal::Unknown { .. } => "unknown_assignment",
            Refusal::Assigned { .. } => "assigned",
        }
    }
}

/// Checks a new assignment of `[from, until)`. The answer is the open assignment that it takes over
/// from, which then ends on `from`.
///
/// # Errors
/// Why it may not be placed there.
pub fn check_new(
    taken: &Taken<'_>,
    from: NaiveDate,
    until: Option<NaiveDate>,
    limits: Limits,
) -> Result<Option<i64>, Refusal> {
    if let Some(until) = until.filter(|until| *until <= from) {
        return Err(Refusal::Empty { from, until });
    }
    if from < limits.earliest {
        return Err(Refusal::BeforeFirstUsage { from, earliest: limits.earliest });
    }
    is_open(from, limits)?;
    not_waived(taken, from, until)?;
    let mut replaced = None;
    for one in held(taken) {
        if one.from >= from {
            if until.is_none_or(|until| one.from < until) {
                return Err(Refusal::OverlapsLater { no: one.no, from: one.from });
            }
            continue;
        }
        match one.until {
            None => replaced = Some(one.no),
            Some(until) if until > from => {
                return Err(Refusal::OverlapsEnded { no: one.no, from: one.from, until });
            }
            Some(_) => {}
        }
    }
    Ok(replaced)
}

/// Checks that the new assignment `no` of `[from, until)` prices a day of `after`, which has it among the
/// others. The answer is the first of these days, and the first day after them.
///
/// # Errors
/// [`Refusal::PricesNothing`].
pub fn check_priced(
    after: &Timeline,
    no: i64,
    from: NaiveDate,
    until: Option<NaiveDate>,
) -> Result<(NaiveDate, Option<NaiveDate>), Refusal> {
    let nothing = Refusal::PricesNothing { from, until: until.unwrap_or(from) };
    after.priced(no).ok_or(nothing)
}

/// Checks that a new assignment that takes over from nobody and ends on `until` changes nothing from
/// that day on: what follows must not wait for a period that it begins. `before` and `after` are the
/// timelines without and with it.
///
/// # Errors
/// [`Refusal::ReachesLater`].
pub fn check_later_days(
    before: &Timeline,
    after: &Timeline,
    until: NaiveDate,
) -> Result<(), Refusal> {
    let is_later = |one: &Reign<'_>| one.until.is_none_or(|end| end > until);
    let of = |one: Reign<'_>| (one.from.max(until), one.until, one.assignment.no, one.version);
    let then = before.reigns().filter(is_later).map(of);
    if then.eq(after.reigns().filter(is_later).map(of)) {
        return Ok(());
    }
    let follows = before.period_of(until).map_or(0, |one| one.assignment.no);
    Err(Refusal::ReachesLater { no: follows, from: until })
}

/// Checks that assignment `no` may end on `until` instead of when it does now. On its first day it is
/// withdrawn.
///
/// # Errors
/// Why it may not.
pub fn check_end(
    taken: &Taken<'_>,
    no: i64,
    until: NaiveDate,
    limits: Limits,
) -> Result<(), Refusal> {
    let one = taken.assignments.iter().find(|one| one.no == no).ok_or(Refusal::Unknown { no })?;
    if until < one.from {
        return Err(Refusal::EndsBeforeItBegins { no, from: one.from });
    }
    if one.until == Some(until) {
        return Err(Refusal::Unchanged { no, until });
    }
    is_open(one.until.map_or(until, |before| before.min(until)), limits)?;
    not_waived(taken, one.from, Some(until))?;
    match held(taken).find(|later| later.no != no && later.from >= one.from && later.from < until) {
        Some(later) => Err(Refusal::OverlapsLater { no: later.no, from: later.from }),
        None => Ok(()),
    }
}

/// Checks that the usage of `[from, until)` may be waived.
///
/// # Errors
/// Why it may not.
pub fn check_waiver(taken: &Taken<'_>, from: NaiveDate, until: NaiveDate) -> Result<(), Refusal> {
    if until <= from {
        return Err(Refusal::Empty { from, until });
    }
    not_waived(taken, from, Some(until))?;
    let holds = |one: &&Assignment| one.from < until && one.until.is_none_or(|end| end > from);
    match held(taken).find(holds) {
        Some(one) => Err(Refusal::Assigned { no: one.no, day: one.from.max(from) }),
        None => Ok(()),
    }
}

/// The assignments that were not withdrawn.
fn held<'a>(taken: &Taken<'a>) -> impl Iterator<Item = &'a Assignment> + use<'a> {
    taken.assignments.iter().filter(|one| one.until.is_none_or(|until| until > one.from))
}

fn is_open(day: NaiveDate, limits: Limits) -> Result<(), Refusal> {
    match limits.open_from {
        Some(open_from) if day < open_from => Err(Refusal::Finalized { open_from }),
        _ => Ok(()),
    }
}

fn not_waived(taken: &Taken<'_>, from: NaiveDate, until: Option<NaiveDate>) -> Result<(), Refusal> {
    let meets = |one: &&Stretch| {
        until.is_none_or(|until| one.from < until) && one.until.is_none_or(|end| end > from)
    };
    match taken.waivers.iter().find(meets) {
        Some(one) => {
            let until = one.until.unwrap_or(NaiveDate::MAX);
            Err(Refusal::Waived { no: one.no, from: one.from, until })
        }
        None => Ok(()),
    }
}
