//! Unbilled revenue: what periods owe for the usage up to a day, less what the documents that were issued by
//! that day have charged. Net amounts, and nothing is written.
//!
//! A period that runs on that day owes what it would owe if it ended there: its usage so far, and the share
//! of fixed fee, minimum and maximum of the days that have passed.

use std::collections::BTreeMap;

use billing::billed;
use billing::currency::Currency;
use billing::document::Charged;
use billing::draft::{self, Input};
use billing::line::LineKey;
use billing::money::Money;
use billing::period::{Period, Slot};
use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection};

use super::brands::{self, Brand};
use super::catalog::{self, Catalog};
use super::{Error, assignments, period_usage};

/// What a brand owes in a currency and was not charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbilled {
    pub brand: String,
    /// For periods that have ended and have no invoice.
    pub ended: Money,
    /// For periods with an invoice whose usage is another one by now; below zero if they owe less.
    pub late: Money,
    /// For the period that runs.
    pub running: Money,
    /// Receipts of these periods that no charge of their plan takes, so that they are in no amount.
    pub unpriced: u64,
}

impl Unbilled {
    /// The sum of the three.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn total(&self) -> Result<Money, Error> {
        plus(plus(self.ended, self.late)?, self.running)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ended,
    Late,
    Running,
}

/// A period that may owe something.
struct Case<'a> {
    brand: &'a Brand,
    kind: Kind,
    slot: Slot,
    plan: String,
    version: i32,
}

/// A period with an invoice that stood on the day.
#[derive(FromRow)]
struct Invoiced {
    brand_no: i32,
    period_start: NaiveDate,
    period_end: NaiveDate,
    whole_start: NaiveDate,
    whole_end: NaiveDate,
    plan_name: String,
    plan_version: i32,
    has_changed: bool,
}

/// Documents that stood on the day $1: a voided one is as if it had never been, a cancelled one stood until
/// its credit note.
const STOOD: &str = "(select d.document_no, d.currency from document d where d.issue_date <= $1 \
    and not exists (select from document_event e left join document c on c.document_no = e.by_document \
        where e.document_no = d.document_no and (e.kind = 'voided' or (e.kind = 'cancelled' \
            and coalesce(c.issue_date, e.made_at::date) <= $1))))";

/// What is unbilled as of the end of a day, by brand and currency: of all brands, or of one.
///
/// # Errors
/// If the database is away, what it holds cannot be read, or amounts do not fit.
pub async fn as_of(
    snapshot: &mut PgConnection,
    day: NaiveDate,
    brand_no: Option<i32>,
) -> Result<Vec<Unbilled>, Error> {
    let mut brands = brands::all(&mut *snapshot).await?;
    brands.retain(|brand| brand_no.is_none_or(|only| brand.no == only));
    brands.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    let catalog = catalog::read(&mut *snapshot).await?;
    let cases = cases(snapshot, &catalog, &brands, day, brand_no).await?;
    let charged = charged(snapshot, day, brand_no).await?;
    let wanted: Vec<_> = cases.iter().map(|case| (case.brand.no, case.slot.period)).collect();
    let usage = period_usage::read_many(snapshot, &wanted).await?;
    let mut found: BTreeMap<(&str, &str), Unbilled> = BTreeMap::new();
    for (case, rows) in cases.iter().zip(usage) {
        let before = charged.get(&(case.brand.no, case.slot.period.start()));
        let before = before.map_or(&[][..], Vec::as_slice);
        let (owed, unpriced) = owed(snapshot, &catalog, case, rows, before).await?;
        let currency = owed.currency();
        let key = (case.brand.id.as_str(), currency.code());
        let sum = found.entry(key).or_insert_with(|| Unbilled {
            brand: case.brand.id.as_str().to_owned(),
            ended: Money::zero(currency),
            late: Money::zero(currency),
            running: Money::zero(currency),
            unpriced: 0,
        });
        let of_kind = match case.kind {
            Kind::Ended => &mut sum.ended,
            Kind::Late => &mut sum.late,
            Kind::Running => &mut sum.running,
        };
        *of_kind = plus(*of_kind, owed)?;
        sum.unpriced += unpriced;
    }
    let is_something = |one: &Unbilled| {
        one.unpriced > 0 || [one.ended, one.late, one.running].iter().any(|sum| !sum.is_zero())
    };
    Ok(found.into_values().filter(is_something).collect())
}

fn plus(one: Money, other: Money) -> Result<Money, Error> {
    one.plus(other).map_err(|error| Error::Corrupt(format!("unbilled revenue: {error}")))
}

/// Every period that may owe something.
async fn cases<'a>(
    snapshot: &mut PgConnection,
    catalog: &Catalog,
    brands: &'a [Brand],
    day: NaiveDate,
    brand_no: Option<i32>,
) -> Result<Vec<Case<'a>>, Error> {
    let after = day.checked_add_days(Days::new(1)).unwrap_or(day);
    let timelines = assignments::timelines(&mut *snapshot, catalog, brand_no).await?;
    let mut invoiced: BTreeMap<i32, Vec<Invoiced>> = BTreeMap::new();
    for one in self::invoiced(snapshot, day, brand_no).await? {
        invoiced.entry(one.brand_no).or_default().push(one);
    }
    let mut found = Vec::new();
    for brand in brands {
        let of_brand = invoiced.get(&brand.no).map_or(&[][..], Vec::as_slice);
        for one in of_brand.iter().filter(|one| one.has_changed) {
            let (plan, version) = (one.plan_name.clone(), one.plan_version);
            found.push(Case { brand, kind: Kind::Late, slot: one.slot()?, plan, version });
        }
        let periods =
            timelines.get(&brand.no).into_iter().flat_map(|one| one.periods_before(after));
        for assigned in periods {
            let Slot { period, whole } = assigned.slot;
            if of_brand.iter().any(|one| one.period_start == period.start()) {
                continue;
            }
            let runs = period.end() > after;
            let kind = if runs { Kind::Running } else { Kind::Ended };
            let passed = Period::new(period.start(), period.end().min(after));
            let Some(period) = passed else { continue };
            let (plan, version) = (assigned.assignment.plan.clone(), assigned.version);
            found.push(Case { brand, kind, slot: Slot { period, whole }, plan, version });
        }
    }
    Ok(found)
}

/// What a period owes beyond what was charged, and its receipts that nothing charges for.
async fn owed(
    snapshot: &mut PgConnection,
    catalog: &Catalog,
    case: &Case<'_>,
    rows: Vec<period_usage::Row>,
    before: &[Charged],
) -> Result<(Money, u64), Error> {
    let (period, brand) = (case.slot.period, case.brand);
    let wrong =
        |error: String| Error::Corrupt(format!("the period {period} of {}: {error}", brand.id));
    let plan = catalog
        .plan(&case.plan, case.version)
        .ok_or_else(|| wrong(format!("version {} of plan {} is gone", case.version, case.plan)))?;
    let usage = period_usage::complete(snapshot, brand, period, plan, rows).await?;
    let rows = usage.usage()?;
    let input = Input { plan, slot: case.slot, usage: &rows, distinct: &usage.distinct, tax: None };
    let draft = draft::draft(&input).map_err(|error| wrong(error.to_string()))?;
    let unpriced = draft.unpriced.iter().map(|usage| usage.receipts).sum();
    let owed = billed::owed(plan, &draft, before).map_err(|error| wrong(error.to_string()))?;
    let mut sum = Money::zero(plan.terms().currency);
    for one in owed {
        sum = plus(sum, one.change.amount)?;
    }
    Ok((sum, unpriced))
}

async fn invoiced(
    snapshot: &mut PgConnection,
    day: NaiveDate,
    brand_no: Option<i32>,
) -> Result<Vec<Invoiced>, Error> {
    // Usage has changed if an entry came after the last one that was seen, or one was taken back.
    let statement = format!(
        "with stood as {STOOD} \
         select p.brand_no, p.period_start, p.period_end, p.whole_start, p.whole_end, p.plan_name, \
            p.plan_version, coalesce(u.last_entry > seen.cutoff, false) \
                or coalesce(u.receipts, 0) <> billed.receipts as has_changed \
         from stood join document_period p using (document_no) \
         cross join lateral (select max(q.cutoff) as cutoff from stood s \
            join document_period q using (document_no) \
            where q.brand_no = p.brand_no and q.period_start = p.period_start) seen \
         cross join lateral (select coalesce(sum(b.receipts), 0) as receipts from stood s \
            join billed b using (document_no) where not b.is_opposite \
                and b.brand_no = p.brand_no and b.period_start = p.period_start) billed \
         cross join lateral (select max(last_entry) as last_entry, sum(receipts - voided) as receipts \
            from usage_day u where u.brand_no = p.brand_no \
                and u.usage_day >= p.period_start and u.usage_day < p.period_end) u \
         where p.is_regular and ($2::int is null or p.brand_no = $2) \
         order by p.brand_no, p.period_start"
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
    Ok(query.bind(day).bind(brand_no).fetch_all(snapshot).await?)
}

impl Invoiced {
    fn slot(&self) -> Result<Slot, Error> {
        let corrupt = || Error::Corrupt(format!("the period from {}", self.period_start));
        Ok(Slot {
            period: Period::new(self.period_start, self.period_end).ok_or_else(corrupt)?,
            whole: Period::new(self.whole_start, self.whole_end).ok_or_else(corrupt)?,
        })
    }
}

/// What documents that stood on the day had charged, by brand and period.
async fn charged(
    snapshot: &mut PgConnection,
    day: NaiveDate,
    brand_no: Option<i32>,
) -> Result<BTreeMap<(i32, NaiveDate), Vec<Charged>>, Error> {
    type Row = (i32, NaiveDate, String, i64, i64, Decimal, String);
    let statement = format!(
        "select b.brand_no, b.period_start, b.line_key, b.quantity, b.receipts, b.amount, s.currency \
         from {STOOD} s join billed b using (document_no) \
         where not b.is_opposite and ($2::int is null or b.brand_no = $2)"
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
    let rows: Vec<Row> = query.bind(day).bind(brand_no).fetch_all(snapshot).await?;
    let mut found: BTreeMap<(i32, NaiveDate), Vec<Charged>> = BTreeMap::new();
    for (brand, period, key, quantity, receipts, amount, currency) in rows {
        let corrupt =
            || Error::Corrupt(format!("billed: {key} of {period} of brand number {brand}"));
        let currency = Currency::from_code(&currency).ok_or_else(corrupt)?;
        let row = Charged {
            period,
            key: LineKey::parse(&key).ok_or_else(corrupt)?,
            quantity,
            receipts,
            amount: Money::new(amount, currency).ok_or_else(corrupt)?,
        };
        found.entry((brand, period)).or_default().push(row);
    }
    Ok(found)
}
