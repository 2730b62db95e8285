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
use chrono::{NaiveDate, Utc};
use clap::{ArgGroup, Args};
use sqlx::PgConnection;

use super::output::Output;
use super::plans::versions;
use super::{Problem, invoices};
use crate::config::Config;
use crate::store::brands::{self, Brand};
use crate::store::catalog::{self, Catalog};
use crate::store::period_usage::{self, PeriodUsage};
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
    /// A day of the period, or its month as YYYY-MM; that of --at, or today, if it is left out
    #[arg(long, visible_alias = "month", value_parser = day)]
    period: Option<NaiveDate>,
    /// Only usage up to the end of this day, in the brand's zone
    #[arg(long, value_name = "DATE")]
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

/// Reads `YYYY-MM-DD`, or `YYYY-MM` as the first of the month.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    text.parse()
        .or_else(|_| format!("{text}-01").parse())
        .map_err(|_| "write a day as YYYY-MM-DD or a month as YYYY-MM".to_owned())
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
        let mut cases = Vec::new();
        for brand in brands {
            let Some(priced) = self.priced(config, store, &known, &brand).await? else { continue };
            let counted = candidate.as_ref().map(|one| one.plan(&known.catalog, &priced));
            let other = counted.transpose()?.flatten();
            cases.push(self.case(&mut snapshot, &known, brand, priced, other).await?);
        }
        snapshot.rollback().await?;
        cases.sort_by(|one, next| one.brand.id.cmp(&next.brand.id));
        if self.diff {
            return candidate::print(&cases, self.all, output);
        }
        match (self.all, cases.as_slice()) {
            (false, [case]) => show::one(case, output),
            _ => show::all(&cases, output),
        }
    }

    /// The day that says which period is meant, in the brand's zone.
    fn day(&self, brand: &Brand) -> NaiveDate {
        let today = || billing::usage::usage_day(Utc::now(), brand.zone);
        self.period.or(self.at).unwrap_or_else(today)
    }

    /// The period and its plan. `None` for a brand without one, if all are asked for.
    async fn priced(
        &self,
        config: &Config,
        store: &Store,
        known: &Known,
        brand: &Brand,
    ) -> anyhow::Result<Option<Priced>> {
        let day = self.day(brand);
        if let Some(name) = &self.plan {
            let (plan, version) = any_plan(config, store, name, day).await?;
            let grid = Grid { cadence: plan.terms().cadence, anchor: Anchor::Calendar };
            let whole = grid.whole_period(day).context("the period is beyond the calendar")?;
            let slot = Slot::whole(whole);
            return Ok(Some(Priced { plan, version, assignment: None, slot }));
        }
        let timeline = known.timelines.get(&brand.no);
        let Some(found) = timeline.and_then(|timeline| timeline.period_of(day)) else {
            if self.all {
                return Ok(None);
            }
            return Err(Problem::NotFound(without_plan(&brand.id, timeline.is_some(), day)).into());
        };
        let name = &found.assignment.plan;
        let plan = known.catalog.plan(name, found.version).context("a version is gone")?.clone();
        let (version, assignment) = (Some(found.version), Some(found.assignment.no));
        Ok(Some(Priced { plan, version, assignment, slot: found.slot }))
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
        let passed_at = self.at.unwrap_or(today).min(period.last_day());
        let passed = Passed::of(period, if self.projected { passed_at } else { until });
        let passed = passed.ok_or_else(|| {
            let text = format!("the period of {}, {period}, has not begun by then", brand.id);
            Problem::Refused(text)
        })?;
        let day_after = until.succ_opt().context("the period is beyond the calendar")?;
        let days = Period::new(period.start(), day_after).context("the period has begun")?;
        let seen = |usage: PeriodUsage| {
            if self.projected { usage.projected(passed) } else { Ok(usage) }
        };
        let usage = seen(period_usage::read(snapshot, &brand, days, &plan).await?)?;
        let other = match other {
            None => None,
            Some(other) => {
                let usage = seen(period_usage::read(snapshot, &brand, days, &other).await?)?;
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

fn without_plan(brand: &BrandId, has_assignments: bool, day: NaiveDate) -> String {
    let whole = if has_assignments {
        format!("{brand} has no assignment on {day}")
    } else {
        format!("{brand} has no plan")
    };
    format!(
        "{whole}: give it one with `prooftally assignments create --brand {brand} --plan NAME --from \
         DATE`, or preview any plan with --plan NAME"
    )
}

/// The version of the plan `name` that prices the calendar period of `day`, or its file if none was
/// applied by then.
async fn any_plan(
    config: &Config,
    store: &Store,
    name: &str,
    day: NaiveDate,
) -> anyhow::Result<(Plan, Option<i32>)> {
    let reigns = versions::reigns(store, name).await?;
    if let Some(reign) = versions::of_day(&reigns, day) {
        return Ok((reign.plan.clone(), Some(reign.version)));
    }
    if !ids::is_name(name, ids::NAME_BYTES_MAX) {
        return Err(Problem::NotFound(format!("there is no plan {name}")).into());
    }
    match invoices::plan_of_file(config, name) {
        Ok(plan) => Ok((plan, None)),
        Err(error) => {
            let text = format!("plan {name} has no version in force on {day}, and {error:#}");
            Err(Problem::NotFound(text).into())
        }
    }
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
        period: Some(day),
        at: None,
        projected: false,
        plan: None,
        diff: false,
        plan_file: None,
    };
    preview.run(config, store, Output::Table).await
}
