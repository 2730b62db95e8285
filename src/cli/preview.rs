//! `prooftally invoices preview`: what periods cost, computed in one snapshot; nothing is written.

mod candidate;
mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use billing::assignment::Timeline;
use billing::draft::{self, Input, Usage};
use billing::ids::{self, BrandId};
use billing::line::Line;
use billing::money::Money;
use billing::period::{Anchor, Grid, Period, Slot};
use billing::plan::Plan;
use billing::projection::Passed;
use billing::tax::{self, Dated, Totals, Treatment};
use chrono::{Months, NaiveDate, Utc};
use clap::{ArgGroup, Args};
use sqlx::PgConnection;

use super::output::Output;
use super::{Problem, invoices};
use crate::config::Config;
use crate::store::brands::{self, Brand};
use crate::store::catalog::{self, Catalog};
use crate::store::period_usage::{self, PeriodUsage};
use crate::store::unassigned::{self, Unassigned};
use crate::store::{Store, assignments, profiles};

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

/// Which periods are meant.
#[derive(Clone, Copy, Debug)]
enum When {
    /// The one that has this day.
    Day(NaiveDate),
    /// All that have days of this calendar month.
    Month(Period),
}

/// Reads `YYYY-MM-DD` or `YYYY-MM`.
fn when(text: &str) -> Result<When, String> {
    if text.parse::<NaiveDate>().is_ok() {
        return super::day::day(text).map(When::Day);
    }
    let first = super::day::day(&format!("{text}-01"));
    first
        .ok()
        .and_then(|first| Period::new(first, first.checked_add_months(Months::new(1))?))
        .map(When::Month)
        .ok_or_else(|| "write a day as YYYY-MM-DD or a month as YYYY-MM".to_owned())
}

/// Reads `YYYY-MM-DD`, or `YYYY-MM` as the first of the month.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    when(text).map(|when| match when {
        When::Day(day) => day,
        When::Month(month) => month.start(),
    })
}

/// A period of a brand with all that its draft needs.
struct Case {
    brand: Brand,
    plan: Plan,
    /// `None` for a plan's file that was not applied.
    version: Option<i32>,
    assignment: Option<i64>,
    slot: Slot,
    usage: PeriodUsage,
    /// The plan to compare with, and its usage.
    other: Option<(Plan, PeriodUsage)>,
    tax: Option<Treatment>,
    /// The last day whose usage is in it.
    until: NaiveDate,
    is_projected: bool,
}

/// A draft that owns what it says.
struct Shown {
    lines: Vec<Line>,
    net_total: Money,
    tax: Option<Totals>,
    unpriced: Vec<Unpriced>,
    receipts: u64,
}

/// Receipts that no charge takes.
struct Unpriced {
    predicate: String,
    result: bool,
    receipts: u64,
}

impl Case {
    fn draft(&self) -> anyhow::Result<Shown> {
        self.draft_of(&self.plan, &self.usage)
    }

    /// The draft under the plan to compare with; under its own if there is none.
    fn other_draft(&self) -> anyhow::Result<Shown> {
        match &self.other {
            Some((plan, usage)) => self.draft_of(plan, usage),
            None => self.draft(),
        }
    }

    fn draft_of(&self, plan: &Plan, usage: &PeriodUsage) -> anyhow::Result<Shown> {
        let rows = usage.usage()?;
        let (slot, distinct) = (self.slot, usage.distinct.as_slice());
        let input = Input { plan, slot, usage: &rows, distinct, tax: self.tax.as_ref() };
        let draft = draft::draft(&input)
            .with_context(|| format!("the draft of {} in {}", self.brand.id, slot.period))?;
        let unpriced = |usage: &Usage<'_>| {
            let Usage { kind, receipts } = usage;
            let predicate = kind.predicate.to_string();
            Unpriced { predicate, result: kind.result, receipts: *receipts }
        };
        Ok(Shown {
            unpriced: draft.unpriced.iter().map(unpriced).collect(),
            lines: draft.lines,
            net_total: draft.net_total,
            tax: draft.tax,
            receipts: draft.receipts,
        })
    }
}

/// What all brands have in common.
struct Known {
    catalog: Catalog,
    timelines: BTreeMap<i32, Timeline>,
    taxes: BTreeMap<i32, Vec<Dated>>,
}

/// Which plan prices a period.
struct Priced {
    plan: Plan,
    version: Option<i32>,
    assignment: Option<i64>,
    slot: Slot,
}

impl Preview {
    /// Prints it.
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        let brands = match &self.brand {
            Some(brand) => vec![super::brands::known(store, brand).await?],
            None => brands::all(&store.pool).await?,
        };
        let candidate = candidate::Candidate::read(self.diff, self.plan_file.as_deref())?;
        let mut snapshot =
            store.pool.begin_with("begin isolation level repeatable read read only").await?;
        let known = Known::read(&mut snapshot, brands.as_slice()).await?;
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
        let mut cases = Vec::new();
        for priced in self.priced(config, known, brand)? {
            let counted = candidate.map(|one| one.plan(&known.catalog, &priced));
            let other = counted.transpose()?.flatten();
            cases.push(self.case(snapshot, known, brand.clone(), priced, other).await?);
        }
        Ok(cases)
    }

    /// The days that say which periods are meant, in the brand's zone.
    fn days(&self, brand: &Brand) -> anyhow::Result<Period> {
        let day = match (self.period, self.at) {
            (Some(When::Month(month)), _) => return Ok(month),
            (Some(When::Day(day)), _) | (None, Some(day)) => day,
            (None, None) => billing::usage::usage_day(Utc::now(), brand.zone),
        };
        day.succ_opt()
            .and_then(|next| Period::new(day, next))
            .context("the period is beyond the calendar")
    }

    /// The periods and their plans. None for a brand without one, if all are asked for.
    fn priced(&self, config: &Config, known: &Known, brand: &Brand) -> anyhow::Result<Vec<Priced>> {
        let days = self.days(brand)?;
        if let Some(name) = &self.plan {
            return by_calendar(config, &known.catalog, name, days);
        }
        let timeline = known.timelines.get(&brand.no);
        let overlaps = |period: Period| period.start() < days.end() && period.end() > days.start();
        let assigned = timeline.into_iter().flat_map(|all| all.periods_before(days.end()));
        let priced = assigned
            .filter(|found| overlaps(found.slot.period))
            .map(|found| {
                let name = &found.assignment.plan;
                let plan = known.catalog.plan(name, found.version).context("a version is gone")?;
                let (version, assignment) = (Some(found.version), Some(found.assignment.no));
                Ok(Priced { plan: plan.clone(), version, assignment, slot: found.slot })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        if priced.is_empty() && !self.all {
            let text = without_plan(&brand.id, timeline.is_some(), days);
            return Err(Problem::NotFound(text).into());
        }
        Ok(priced)
    }

    /// Reads the usage as each of the plans wants to see it.
    async fn case(
        &self,
        snapshot: &mut PgConnection,
        known: &Known,
        brand: Brand,
        priced: Priced,
        other: Option<Plan>,
    ) -> anyhow::Result<Case> {
        let Priced { plan, version, assignment, slot } = priced;
        let period = slot.period;
        let today = billing::usage::usage_day(Utc::now(), brand.zone);
        let until = self.at.map_or(period.last_day(), |at| at.min(period.last_day()));
        // Days to come have no usage yet, and are no ground for an estimate.
        let passed_at = self.at.unwrap_or(today).min(today).min(period.last_day());
        let passed = Passed::of(period, if self.projected { passed_at } else { until });
        let passed = passed.ok_or_else(|| {
            let text = format!("the period of {}, {period}, has not begun by then", brand.id);
            Problem::Refused(text)
        })?;
        let day_after = until.succ_opt().context("the period is beyond the calendar")?;
        let days = Period::new(period.start(), day_after).context("the period has begun")?;
        let seen = |usage: PeriodUsage, plan: &Plan| {
            if self.projected { usage.projected(plan, passed) } else { Ok(usage) }
        };
        let usage = seen(period_usage::read(snapshot, &brand, days, &plan).await?, &plan)?;
        let other = match other {
            None => None,
            Some(other) => {
                let usage = period_usage::read(snapshot, &brand, days, &other).await?;
                let usage = seen(usage, &other)?;
                Some((other, usage))
            }
        };
        let taxes = known.taxes.get(&brand.no).map_or(&[] as &[Dated], Vec::as_slice);
        let tax = tax::in_force(taxes, period.last_day()).cloned();
        let is_projected = self.projected && passed.days < passed.of_days;
        Ok(Case { brand, plan, version, assignment, slot, usage, other, tax, until, is_projected })
    }
}

impl Known {
    async fn read(snapshot: &mut PgConnection, brands: &[Brand]) -> anyhow::Result<Self> {
        let one = match brands {
            [brand] => Some(brand.no),
            _ => None,
        };
        let catalog = catalog::read(&mut *snapshot).await?;
        let timelines = assignments::timelines(&mut *snapshot, &catalog, one).await?;
        let taxes = profiles::taxes(&mut *snapshot, one).await?;
        let dated = |records: Vec<profiles::TaxRecord>| {
            records.into_iter().map(|record| record.dated).collect()
        };
        let taxes = taxes.into_iter().map(|(brand, records)| (brand, dated(records))).collect();
        Ok(Self { catalog, timelines, taxes })
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

fn without_plan(brand: &BrandId, has_assignments: bool, days: Period) -> String {
    let (first, last) = (days.start(), days.last_day());
    let whole = if has_assignments && first == last {
        format!("{brand} has no assignment on {first}")
    } else if has_assignments {
        format!("{brand} has no assignment from {first} to {last}")
    } else {
        format!("{brand} has no plan")
    };
    format!(
        "{whole}: give it one with `prooftally assignments create --brand {brand} --plan NAME --from \
         DATE`, or preview any plan with --plan NAME"
    )
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
