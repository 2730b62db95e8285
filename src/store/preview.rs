//! Previews: what periods of a brand cost by the usage counted so far, or projected, computed in the caller's
//! snapshot. Nothing is written.

use std::collections::BTreeMap;

use billing::assignment::Timeline;
use billing::draft::{self, Input, Usage};
use billing::exact::Overflow;
use billing::ids::BrandId;
use billing::line::Line;
use billing::money::Money;
use billing::period::{Period, Slot};
use billing::plan::Plan;
use billing::projection::Passed;
use billing::tax::{self, Dated, Totals, Treatment};
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use sqlx::PgConnection;

use super::brands::Brand;
use super::catalog::{self, Catalog};
use super::period_usage::{self, PeriodUsage};
use super::{assignments, profiles};

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    WithoutPlan(String),
    #[error("the period of {brand}, {period}, has not begun by then")]
    NotBegun { brand: BrandId, period: Period },
    #[error("the period is beyond the calendar")]
    Calendar,
    #[error("the draft of {brand} in {period}")]
    Draft { brand: BrandId, period: Period, source: draft::Error },
    #[error("the projection of {brand} in {period}")]
    Projection { brand: BrandId, period: Period, source: Overflow },
    #[error(transparent)]
    Store(#[from] super::Error),
}

/// Which periods are meant.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// The one that has this day.
    Day(NaiveDate),
    /// All that have days of this calendar month.
    Month(Period),
}

impl When {
    /// Reads `YYYY-MM-DD` or `YYYY-MM`, of the years that periods have.
    pub fn parse(text: &str) -> Option<Self> {
        let day = |text: &str| {
            text.parse().ok().filter(|day: &NaiveDate| (1970..=9999).contains(&day.year()))
        };
        if let Some(day) = day(text) {
            return Some(When::Day(day));
        }
        let first = day(&format!("{text}-01"))?;
        Period::new(first, first.checked_add_months(Months::new(1))?).map(When::Month)
    }
}

/// What is to be previewed of a brand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The period of `at`, or of today, if it is left out.
    pub period: Option<When>,
    /// Only usage up to the end of this day, in the brand's zone.
    pub at: Option<NaiveDate>,
    /// As if the rest of the period went on like the days up to `at`, or today.
    pub projected: bool,
}

impl Wanted {
    /// The days that say which periods are meant, in the brand's zone.
    ///
    /// # Errors
    /// If there is no day after them.
    pub fn days(&self, brand: &Brand, now: DateTime<Utc>) -> Result<Period, Error> {
        let day = match (self.period, self.at) {
            (Some(When::Month(month)), _) => return Ok(month),
            (Some(When::Day(day)), _) | (None, Some(day)) => day,
            (None, None) => billing::usage::usage_day(now, brand.zone),
        };
        day.succ_opt().and_then(|next| Period::new(day, next)).ok_or(Error::Calendar)
    }
}

/// A period of a brand with all that its draft needs.
pub struct Case {
    pub brand: Brand,
    pub plan: Plan,
    /// `None` for a plan's file that was not applied.
    pub version: Option<i32>,
    pub assignment: Option<i64>,
    pub slot: Slot,
    pub usage: PeriodUsage,
    /// The plan to compare with, and its usage.
    pub other: Option<(Plan, PeriodUsage)>,
    pub tax: Option<Treatment>,
    /// The last day whose usage is in it.
    pub until: NaiveDate,
    pub is_projected: bool,
}

/// A draft that owns what it says.
pub struct Shown {
    pub lines: Vec<Line>,
    pub net_total: Money,
    /// `None` if the brand's tax is not known.
    pub tax: Option<Totals>,
    pub unpriced: Vec<Unpriced>,
    pub receipts: u64,
}

/// Receipts that no charge takes.
pub struct Unpriced {
    pub predicate: String,
    pub result: bool,
    pub receipts: u64,
}

impl Case {
    /// The draft.
    ///
    /// # Errors
    /// If an amount cannot be computed exactly.
    pub fn draft(&self) -> Result<Shown, Error> {
        self.draft_of(&self.plan, &self.usage)
    }

    /// The draft under the plan to compare with; under its own if there is none.
    ///
    /// # Errors
    /// As [`Self::draft`].
    pub fn other_draft(&self) -> Result<Shown, Error> {
        match &self.other {
            Some((plan, usage)) => self.draft_of(plan, usage),
            None => self.draft(),
        }
    }

    fn draft_of(&self, plan: &Plan, usage: &PeriodUsage) -> Result<Shown, Error> {
        let rows = usage.usage()?;
        let (slot, distinct) = (self.slot, usage.distinct.as_slice());
        let input = Input { plan, slot, usage: &rows, distinct, tax: self.tax.as_ref() };
        let (brand, period) = (&self.brand.id, slot.period);
        let draft = draft::draft(&input).map_err(|source| Error::Draft {
            brand: brand.clone(),
            period,
            source,
        })?;
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
pub struct Known {
    pub catalog: Catalog,
    pub timelines: BTreeMap<i32, Timeline>,
    taxes: BTreeMap<i32, Vec<Dated>>,
}

/// Which plan prices a period.
pub struct Priced {
    pub plan: Plan,
    pub version: Option<i32>,
    pub assignment: Option<i64>,
    pub slot: Slot,
}

impl Known {
    /// Reads it, of one brand or of all.
    ///
    /// # Errors
    /// If the database is away, or what it holds cannot be read.
    pub async fn read(snapshot: &mut PgConnection, brand_no: Option<i32>) -> Result<Self, Error> {
        let catalog = catalog::read(&mut *snapshot).await?;
        let timelines = assignments::timelines(&mut *snapshot, &catalog, brand_no).await?;
        let taxes = profiles::taxes(&mut *snapshot, brand_no).await?;
        let dated = |records: Vec<profiles::TaxRecord>| {
            records.into_iter().map(|record| record.dated).collect()
        };
        let taxes = taxes.into_iter().map(|(brand, records)| (brand, dated(records))).collect();
        Ok(Self { catalog, timelines, taxes })
    }

    /// The periods of a brand that have one of `days`, by its assignments. None for a brand without a plan.
    ///
    /// # Errors
    /// If a plan's version is gone.
    pub fn assigned(&self, brand: &Brand, days: Period) -> Result<Vec<Priced>, Error> {
        let timeline = self.timelines.get(&brand.no);
        let overlaps = |period: Period| period.start() < days.end() && period.end() > days.start();
        let assigned = timeline.into_iter().flat_map(|all| all.periods_before(days.end()));
        let priced = assigned.filter(|found| overlaps(found.slot.period)).map(|found| {
            let name = &found.assignment.plan;
            let plan = self.catalog.plan(name, found.version).ok_or_else(|| {
                let text = format!("version {} of plan {name} is gone", found.version);
                super::Error::Corrupt(text)
            })?;
            let (version, assignment) = (Some(found.version), Some(found.assignment.no));
            Ok(Priced { plan: plan.clone(), version, assignment, slot: found.slot })
        });
        priced.collect()
    }

    /// Why a brand has no period on these days.
    pub fn without_plan(&self, brand: &Brand, days: Period) -> Error {
        let has_assignments = self.timelines.contains_key(&brand.no);
        Error::WithoutPlan(without_plan(&brand.id, has_assignments, days))
    }

    /// Reads the usage as each of the plans wants to see it.
    ///
    /// # Errors
    /// If the period has not begun by then, or the database is away.
    pub async fn case(
        &self,
        snapshot: &mut PgConnection,
        wanted: &Wanted,
        brand: Brand,
        priced: Priced,
        other: Option<Plan>,
        now: DateTime<Utc>,
    ) -> Result<Case, Error> {
        let Priced { plan, version, assignment, slot } = priced;
        let period = slot.period;
        let today = billing::usage::usage_day(now, brand.zone);
        let until = wanted.at.map_or(period.last_day(), |at| at.min(period.last_day()));
        // Days to come have no usage yet, and are no ground for an estimate.
        let passed_at = wanted.at.unwrap_or(today).min(today).min(period.last_day());
        let passed = Passed::of(period, if wanted.projected { passed_at } else { until });
        let passed = passed.ok_or_else(|| Error::NotBegun { brand: brand.id.clone(), period })?;
        let day_after = until.succ_opt().ok_or(Error::Calendar)?;
        let days = Period::new(period.start(), day_after).ok_or(Error::Calendar)?;
        let seen = |usage: PeriodUsage, plan: &Plan| {
            let failed = |source| Error::Projection { brand: brand.id.clone(), period, source };
            if wanted.projected { usage.projected(plan, passed).map_err(failed) } else { Ok(usage) }
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
        let taxes = self.taxes.get(&brand.no).map_or(&[] as &[Dated], Vec::as_slice);
        let tax = tax::in_force(taxes, period.last_day()).cloned();
        let is_projected = wanted.projected && passed.days < passed.of_days;
        Ok(Case { brand, plan, version, assignment, slot, usage, other, tax, until, is_projected })
    }
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
