//! A new version of a plan, from the text that a person brings to the row that is added, with what it
//! changes. A dry run goes the same way and writes nothing.

use billing::plan::Plan;
use chrono::{Months, NaiveDate};
use sqlx::PgPool;

use super::plan_file::changes::{Change, changes};
use super::plans::{self, Next, Version};
use super::{Error, plan_file};

/// How far ahead a version may take effect.
const AHEAD_MAX: Months = Months::new(24);

/// What somebody wants to apply.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Of which plan it must be, if that was said.
    pub name: Option<&'a str>,
    /// The plan's text, as `config/plans/zkdpp-standard.toml` describes it.
    pub source: &'a str,
    /// First day on which it is in force; today if it is left out, but the first version needs one.
    pub effective_from: Option<NaiveDate>,
    /// Only says what would change.
    pub is_dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub name: String,
    pub version: i32,
    pub effective_from: NaiveDate,
    pub outcome: Outcome,
    /// The terms that differ from the version before it.
    pub changes: Vec<Change>,
}

/// Whether a version was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// It was a dry run.
    NotApplied,
    /// The newest version has this very text.
    Same,
}

/// Why a text is not applied.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    File(#[from] plan_file::Error),
    #[error("the text is that of plan {found}, and not of {wanted}")]
    OtherPlan { wanted: String, found: String },
    #[error(
        "the first version of {0} needs effective_from: the first day that it may ever price, which no \
         later version can go before"
    )]
    Undated(String),
    #[error(
        "effective_from {day} is more than two years ahead, and until then no other version of {name} \
         could be applied: give {latest} or earlier"
    )]
    TooFarAhead { name: String, day: NaiveDate, latest: NaiveDate },
    #[error(
        "version {} of {} has this very text and takes effect on {}, which does not change: withdraw it \
         first (`prooftally plans withdraw`), if no document has used it",
        .0.version, .0.plan_name, .0.effective_from
    )]
    SameText(Box<Version>),
    #[error(
        "version {} of {} takes effect on {}, and a new one must do so later: give effective_from a day \
         after it, or withdraw that one first (`prooftally plans withdraw`), if no document has used it",
        .0.version, .0.plan_name, .0.effective_from
    )]
    NotLater(Box<Version>),
    /// What the database's rules refuse, in its words.
    #[error("{0}")]
    Rule(String),
}

impl Refused {
    /// The refusal's name for machines; it never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Refused::File(_) => "plan_unreadable",
            Refused::OtherPlan { .. } => "other_plan",
            Refused::Undated(_) => "first_version_undated",
            Refused::TooFarAhead { .. } => "too_far_ahead",
            Refused::SameText(_) => "same_text",
            Refused::NotLater(_) => "not_later",
            Refused::Rule(_) => "rule",
        }
    }
}

/// Adds a text as a new version of its plan, unless it is the newest one already; `today` is the day in
/// UTC.
///
/// # Errors
/// If the database is away; the inner error says why it is refused.
pub async fn apply(
    pool: &PgPool,
    wanted: &Wanted<'_>,
    today: NaiveDate,
    by: &str,
) -> Result<Result<Applied, Refused>, Error> {
    let Wanted { name, source, effective_from: asked_from, is_dry_run } = *wanted;
    let after = match plan_file::parse(source) {
        Ok(after) => after,
        Err(error) => return Ok(Err(error.into())),
    };
    let found = after.terms().name.clone();
    if let Some(wanted) = name.filter(|wanted| *wanted != found) {
        let wanted = wanted.chars().take(64).collect();
        return Ok(Err(Refused::OtherPlan { wanted, found }));
    }
    let name = found;
    let newest = plans::versions(pool, Some(&name)).await?.pop();
    let effective_from = match in_force_from(&name, newest.is_none(), asked_from, today) {
        Ok(day) => day,
        Err(refused) => return Ok(Err(refused)),
    };
    let next = if is_dry_run {
        let last = plans::last_number(pool, &name).await?;
        Next::after(newest, last, source, effective_from)
    } else {
        match plans::apply(pool, &name, source, effective_from, by).await {
            Ok(next) => next,
            Err(error) => match error.rule() {
                Some(why) => return Ok(Err(Refused::Rule(why))),
                None => return Err(error),
            },
        }
    };
    let (version, before) = match next {
        Next::Version { version, before } => (version, before),
        Next::Same(newest) if asked_from.is_some_and(|from| from != newest.effective_from) => {
            return Ok(Err(Refused::SameText(Box::new(newest))));
        }
        Next::Same(newest) => {
            let Version { version, effective_from, .. } = newest;
            let (outcome, changes) = (Outcome::Same, Vec::new());
            return Ok(Ok(Applied { name, version, effective_from, outcome, changes }));
        }
        Next::NotLater(newest) => return Ok(Err(Refused::NotLater(Box::new(newest)))),
    };
    let before = before.as_ref().map(plan).transpose()?;
    let changes = changes(before.as_ref(), &after);
    let outcome = if is_dry_run { Outcome::NotApplied } else { Outcome::Applied };
    Ok(Ok(Applied { name, version, effective_from, outcome, changes }))
}

/// From when a new version is in force. No later version may take effect before it, so the first one
/// needs a day that somebody chose, and none may lie far ahead by a slip of the pen.
fn in_force_from(
    name: &str,
    is_first: bool,
    asked_from: Option<NaiveDate>,
    today: NaiveDate,
) -> Result<NaiveDate, Refused> {
    let Some(day) = asked_from else {
        return if is_first { Err(Refused::Undated(name.to_owned())) } else { Ok(today) };
    };
    let latest = today.checked_add_months(AHEAD_MAX).unwrap_or(NaiveDate::MAX);
    if day > latest {
        return Err(Refused::TooFarAhead { name: name.to_owned(), day, latest });
    }
    Ok(day)
}

/// The plan of a version that was applied.
///
/// # Errors
/// If it cannot be read any more.
pub fn plan(version: &Version) -> Result<Plan, Error> {
    plan_file::stored(&version.source).map_err(|error| {
        let Version { plan_name, version, .. } = version;
        Error::Corrupt(format!("version {version} of plan {plan_name} cannot be read: {error}"))
    })
}
