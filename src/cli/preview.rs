//! `prooftally invoices preview`: what periods cost, computed in one snapshot; nothing is written.

mod candidate;
mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use billing::assignment::Timeline;
use billing::ids::{self, BrandId};
use billing::period::{Anchor, Grid, Period, Slot};
use billing::plan::Plan;
use chrono::{NaiveDate, Utc};
use clap::{ArgGroup, Args};
use sqlx::PgConnection;

use super::output::Output;
use super::{Problem, invoices};
use crate::config::Config;
use crate::store::Store;
use crate::store::brands::{self, Brand};
use crate::store::catalog::Catalog;
use crate::store::preview::{self, Case, Known, Priced, Shown, Unpriced, Wanted, When};
use crate::store::unassigned::{self, Unassigned};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whose").required(true).args(["brand", "all"]),
    after_help = "The period is the one of the brand's assignment. --diff computes each draft a second \
        time, under the plan of --plan-file, or under the newest version of its plan, and prints both \
        with the difference."
)]
pub struct Preview {
    /// The brand that pays
    #[arg(long)]
    brand: Option<String>,
    /// Every brand, a row each, and the sum
    #[arg(long)]
    all: bool,
    /// A day of the period, or a month as YYYY-MM for every period that has days in it; the period of
    /// --at, or today, if it is left out
    #[arg(long, visible_alias = "month", value_parser = when)]
    period: Option<When>,
    /// Only usage up to the end of this day, in the brand's zone
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    at: Option<NaiveDate>,
    /// As if the rest of the period went on like the days up to --at, or today: an estimate
    #[arg(long)]
    projected: bool,
    /// Any plan, by the calendar, whatever the brand is assigned
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// Compare with another price
    #[arg(long)]
    diff: bool,
    /// The plan to compare with; the newest version of each brand's plan if it is left out
    #[arg(long, value_name = "FILE", requires = "diff")]
    plan_file: Option<PathBuf>,
}

/// Reads `YYYY-MM-DD` or `YYYY-MM`.
fn when(text: &str) -> Result<When, String> {
    if text.parse::<NaiveDate>().is_ok() {
        // Says what is wrong with a day.
        super::day::day(text)?;
    }
    When::parse(text).ok_or_else(|| "write a day as YYYY-MM-DD or a month as YYYY-MM".to_owned())
}

/// Reads `YYYY-MM-DD`, or `YYYY-MM` as the first of the month.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    when(text).map(|when| match when {
        When::Day(day) => day,
        When::Month(month) => month.start(),
    })
}

/// A refusal of a preview with its exit code.
fn refusal(error: preview::Error) -> anyhow::Error {
    match error {
        preview::Error::WithoutPlan(text) => Problem::NotFound(text).into(),
        preview::Error::NotBegun { .. } => Problem::Refused(error.to_string()).into(),
        error => error.into(),
    }
}

impl Preview {
    /// Prints it.
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        let brands = match &self.brand {
            Some(brand) => vec![super::brands::known(store, brand).await?],
            None => brands::all(&store.pool).await?,
        };
        let candidate = candidate::Candidate::read(self.diff, self.plan_file.as_deref())?;
        let mut snapshot = store.snapshot().await?;
        let one = match brands.as_slice() {
            [brand] => Some(brand.no),
            _ => None,
        };
        let known = Known::read(&mut snapshot, one).await?;
        let mut unassigned = Vec::new();
        if self.all {
            unassigned = unassigned::unassigned(&mut *snapshot, None).await?;
        }
        let (mut cases, mut left_out) = (Vec::new(), Vec::new());
        for brand in brands {
            match self.cases(&mut snapshot, config, &known, &brand, candidate.as_ref()).await {
                Ok(found) => cases.extend(found),
                // One brand's trouble is told at the end, and does not hide the others.
                Err(error) if self.all => left_out.push(format!("{}: {error:#}", brand.id)),
                Err(error) => return Err(error),
            }
        }
        snapshot.rollback().await?;
        cases.sort_by(|one, next| {
            (&one.brand.id, one.slot.period.start())
                .cmp(&(&next.brand.id, next.slot.period.start()))
        });
        self.tell_stubs_ignored(&cases, &known.timelines);
        match (self.diff, self.all, cases.as_slice()) {
            (true, ..) => candidate::print(&cases, self.all, output)?,
            (false, false, [case]) => show::one(case, output)?,
            (false, ..) => show::all(&cases, output)?,
        }
        self.tell_unassigned(&unassigned);
        if left_out.is_empty() {
            return Ok(());
        }
        Err(Problem::Refused(format!("not in this sum: {}", left_out.join("; "))).into())
    }

    /// Says where a plan that was asked for by name prices whole periods, and the brand begins or ends
    /// within them.
    fn tell_stubs_ignored(&self, cases: &[Case], timelines: &BTreeMap<i32, Timeline>) {
        for case in cases.iter().filter(|_| self.plan.is_some()) {
            let period = case.slot.period;
            let own =
                timelines.get(&case.brand.no).and_then(|all| all.period_of(period.last_day()));
            if let Some(own) = own.filter(|own| own.slot.period != period) {
                eprintln!(
                    "--plan prices {} to {} by the calendar; the assignment of {} has the period {} to {}",
                    period.start(),
                    period.last_day(),
                    case.brand.id,
                    own.slot.period.start(),
                    own.slot.period.last_day()
                );
            }
        }
    }

    /// Says which usage of the days in question has no plan, so that a sum is not taken for all.
    fn tell_unassigned(&self, unassigned: &[Unassigned]) {
        let is_meant = |one: &&Unassigned| match (self.period, self.at) {
            (Some(When::Month(month)), _) => {
                one.first_day < month.end() && one.last_day >= month.start()
            }
            (Some(When::Day(day)), _) | (None, Some(day)) => one.last_day >= day,
            (None, None) => true,
        };
        for one in unassigned.iter().filter(is_meant) {
            let Unassigned { brand, first_day, last_day, receipts } = one;
            eprintln!(
                "not in this sum: {receipts} receipts of {brand} from {first_day} to {last_day} have no \
                 plan; see `prooftally assignments unassigned`"
            );
        }
    }

    /// All periods of the brand that are meant.
    async fn cases(
        &self,
        snapshot: &mut PgConnection,
        config: &Config,
        known: &Known,
        brand: &Brand,
        candidate: Option<&candidate::Candidate>,
    ) -> anyhow::Result<Vec<Case>> {
        let (mut cases, now) = (Vec::new(), Utc::now());
        for priced in self.priced(config, known, brand)? {
            let counted = candidate.map(|one| one.plan(&known.catalog, &priced));
            let other = counted.transpose()?.flatten();
            let wanted = self.wanted();
            let case = known.case(snapshot, &wanted, brand.clone(), priced, other, now).await;
            cases.push(case.map_err(refusal)?);
        }
        Ok(cases)
    }

    fn wanted(&self) -> Wanted {
        Wanted { period: self.period, at: self.at, projected: self.projected }
    }

    /// The periods and their plans. None for a brand without one, if all are asked for.
    fn priced(&self, config: &Config, known: &Known, brand: &Brand) -> anyhow::Result<Vec<Priced>> {
        let days = self.wanted().days(brand, Utc::now())?;
        if let Some(name) = &self.plan {
            return by_calendar(config, &known.catalog, name, days);
        }
        let priced = known.assigned(brand, days)?;
        if priced.is_empty() && !self.all {
            return Err(refusal(known.without_plan(brand, days)));
        }
        Ok(priced)
    }
}

/// The calendar periods of a plan that have one of `days`, whatever the brand is assigned. Days before
/// its first version have the plan's file.
fn by_calendar(
    config: &Config,
    catalog: &Catalog,
    name: &str,
    days: Period,
) -> anyhow::Result<Vec<Priced>> {
    let timeline = Timeline::of_plan(name, &catalog.versions)?;
    let mut periods = Vec::new();
    let mut day = days.start();
    while day < days.end() {
        let priced = if let Some(found) = timeline.period_of(day) {
            let plan = catalog.plan(name, found.version).context("a version is gone")?.clone();
            Priced { plan, version: Some(found.version), assignment: None, slot: found.slot }
        } else {
            let plan = plan_of_file(config, name, day)?;
            let grid = Grid { cadence: plan.terms().cadence, anchor: Anchor::Calendar };
            let whole = grid.whole_period(day).context("the period is beyond the calendar")?;
            Priced { plan, version: None, assignment: None, slot: Slot::whole(whole) }
        };
        day = priced.slot.period.end();
        periods.push(priced);
    }
    Ok(periods)
}

/// The plan in the file of that name, for days on which no version is in force.
fn plan_of_file(config: &Config, name: &str, day: NaiveDate) -> anyhow::Result<Plan> {
    if !ids::is_name(name, ids::NAME_BYTES_MAX) {
        return Err(Problem::NotFound(format!("there is no plan {name}")).into());
    }
    invoices::plan_of_file(config, name).map_err(|error| {
        let text = format!("plan {name} has no version in force on {day}, and {error:#}");
        Problem::NotFound(text).into()
    })
}

/// Prints what the period of `day` costs a brand that has a plan.
pub async fn of_brand(
    config: &Config,
    store: &Store,
    brand: &BrandId,
    day: NaiveDate,
) -> anyhow::Result<()> {
    let preview = Preview {
        brand: Some(brand.as_str().to_owned()),
        all: false,
        period: Some(When::Day(day)),
        at: None,
        projected: false,
        plan: None,
        diff: false,
        plan_file: None,
    };
    preview.run(config, store, Output::Table).await
}
