//! Usage that no charge of the plan in force takes.

use std::collections::BTreeMap;

use billing::assignment::{self, Reign, Timeline};
use billing::ids::Predicate;
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;
use sqlx::{FromRow, PgConnection};

use super::brands::{self, NumberedPredicate};
use super::plan_file::folder::{self, PriceLists};
use super::{Error, assignments, catalog};

/// A kind of usage. Where `has_product` or `has_supplier` matters to the plan, the ledger is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    predicate_no: i32,
    /// The billed result.
    result: bool,
    /// Only receipts with (or without) a product and a supplier; all if `None`.
    carries: Option<Carries>,
}

/// What receipts carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carries {
    product: bool,
    supplier: bool,
}

/// Receipts of one kind and brand.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Row {
    pub brand: String,
    pub predicate: String,
    pub result: bool,
    pub receipts: i64,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is no plan {0}: none was applied, and it has no file")]
    NoPlan(String),
    #[error(transparent)]
    Timeline(#[from] assignment::Error),
    #[error(transparent)]
    File(#[from] folder::Error),
}

/// The usage that no charge takes, by brand, predicate and result. Brands with assignments are put to the
/// plans of their periods. The others, and all if a plan is `name`d, are put to one plan by the calendar:
/// each usage day to the version that prices its month, and days before the first version to the plan's
/// file.
///
/// # Errors
/// If the database is away; the inner error says why it cannot be said.
pub async fn find(
    connection: &mut PgConnection,
    lists: &PriceLists,
    name: Option<&str>,
) -> Result<Result<Vec<Row>, Refused>, Error> {
    let predicates = brands::predicates(&mut *connection).await?;
    let mut found = Found::new();
    let mut without_plan: Option<Vec<i32>> = None;
    if name.is_none() {
        let assigned = by_assignment(connection, &predicates, &mut found).await?;
        let all = brands::all(&mut *connection).await?.into_iter().map(|brand| brand.no);
        without_plan = Some(all.filter(|no| !assigned.contains(no)).collect());
    }
    if without_plan.as_ref().is_none_or(|brands| !brands.is_empty()) {
        let name = name.unwrap_or(&lists.default_plan);
        let file = match lists.find(name) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error.into())),
        };
        let by = Calendar { name, file, brands: without_plan.as_deref() };
        if let Err(refused) = by.collect(connection, &predicates, &mut found).await? {
            return Ok(Err(refused));
        }
    }
    let row = |((brand, predicate, result), (receipts, first_day, last_day))| Row {
        brand,
        predicate,
        result,
        receipts,
        first_day,
        last_day,
    };
    Ok(Ok(found.into_iter().map(row).collect()))
}

/// Collects what the plans of the brands' own periods do not price; returns those brands.
async fn by_assignment(
    connection: &mut PgConnection,
    predicates: &[NumberedPredicate],
    found: &mut Found,
) -> Result<Vec<i32>, Error> {
    let catalog = catalog::read(&mut *connection).await?;
    let timelines = assignments::timelines(&mut *connection, &catalog, None).await?;
    for (brand_no, timeline) in &timelines {
        for Reign { from, until, assignment, version } in timeline.reigns() {
            let kinds = kinds(catalog.plan(&assignment.plan, version), predicates)?;
            let brands = Some(std::slice::from_ref(brand_no));
            collect(found, usage(&mut *connection, &kinds, brands, Some(from), until).await?);
        }
    }
    Ok(timelines.into_keys().collect())
}

/// One plan, by the calendar, for some brands or all.
struct Calendar<'a> {
    name: &'a str,
    file: Option<Plan>,
    brands: Option<&'a [i32]>,
}

impl Calendar<'_> {
    /// Collects what its versions do not price.
    async fn collect(
        &self,
        connection: &mut PgConnection,
        predicates: &[NumberedPredicate],
        found: &mut Found,
    ) -> Result<Result<(), Refused>, Error> {
        let Self { name, file, brands } = self;
        let catalog = catalog::read(&mut *connection).await?;
        let timeline = match Timeline::of_plan(name, &catalog.versions) {
            Ok(timeline) => timeline,
            Err(error) => return Ok(Err(error.into())),
        };
        let first = timeline.first_day();
        if file.is_none() && first.is_none() {
            return Ok(Err(Refused::NoPlan(name.chars().take(64).collect())));
        }
        // Days before the first version have the file's plan; without one all of their usage counts.
        let before = kinds(file.as_ref(), predicates)?;
        collect(found, usage(&mut *connection, &before, *brands, None, first).await?);
        for Reign { from, until, version, .. } in timeline.reigns() {
            let kinds = kinds(catalog.plan(name, version), predicates)?;
            collect(found, usage(&mut *connection, &kinds, *brands, Some(from), until).await?);
        }
        Ok(Ok(()))
    }
}

/// By brand, predicate and result: receipts, first and last usage day.
type Found = BTreeMap<(String, String, bool), (i64, NaiveDate, NaiveDate)>;

fn collect(found: &mut Found, rows: Vec<Row>) {
    for Row { brand, predicate, result, receipts, first_day, last_day } in rows {
        let entry = found.entry((brand, predicate, result)).or_insert((0, first_day, last_day));
        *entry = (entry.0 + receipts, entry.1.min(first_day), entry.2.max(last_day));
    }
}

/// The kinds of usage that no charge of `plan` takes; all of them without a plan.
fn kinds(plan: Option<&Plan>, predicates: &[NumberedPredicate]) -> Result<Vec<Kind>, Error> {
    let mut found = Vec::new();
    for NumberedPredicate { predicate_no, name, version } in predicates {
        let predicate = Predicate::new(name, version)
            .ok_or_else(|| Error::Corrupt(format!("predicate {name}@{version} cannot be read")))?;
        for result in [true, false] {
            found.extend(kinds_of(plan, *predicate_no, predicate, result));
        }
    }
    Ok(found)
}

fn kinds_of(
    plan: Option<&Plan>,
    predicate_no: i32,
    predicate: Predicate<'_>,
    result: bool,
) -> Vec<Kind> {
    let is_unpriced = |carries: &Carries| {
        let Carries { product: has_product, supplier: has_supplier } = *carries;
        let kind = UsageKind { predicate, result, has_product, has_supplier };
        plan.is_none_or(|plan| plan.charge_for(&kind).is_none())
    };
    let all = [(true, true), (true, false), (false, true), (false, false)]
        .map(|(product, supplier)| Carries { product, supplier });
    let unpriced: Vec<Carries> = all.into_iter().filter(is_unpriced).collect();
    if unpriced.len() == all.len() {
        return vec![Kind { predicate_no, result, carries: None }];
    }
    // Distinct meters take only receipts that carry the field, so the others are looked for.
    unpriced
        .into_iter()
        .map(|carries| Kind { predicate_no, result, carries: Some(carries) })
        .collect()
}

/// The usage of `kinds` of all brands, or of those with these numbers, from the usage day `from` on and
/// before `until`.
async fn usage(
    connection: &mut PgConnection,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    let (some, whole): (Vec<Kind>, Vec<Kind>) =
        kinds.iter().partition(|kind| kind.carries.is_some());
    let mut rows = Vec::new();
    if !whole.is_empty() {
        rows.extend(of_usage_days(&mut *connection, &whole, brands, from, until).await?);
    }
    if !some.is_empty() {
        rows.extend(of_ledger(&mut *connection, &some, brands, from, until).await?);
    }
    Ok(rows)
}

async fn of_usage_days(
    connection: &mut PgConnection,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_as(
        "select b.brand_id as brand, p.name || '@' || p.version as predicate, u.result, \
            sum(u.receipts - u.voided)::bigint as receipts, \
            min(u.usage_day) as first_day, max(u.usage_day) as last_day \
         from usage_day u \
         join unnest($1::int[], $2::bool[]) as k (predicate_no, result) \
            using (predicate_no, result) \
         join brand b using (brand_no) join predicate p using (predicate_no) \
         where u.receipts > u.voided and ($3::date is null or u.usage_day >= $3) \
            and ($4::date is null or u.usage_day < $4) \
            and ($5::int[] is null or u.brand_no = any($5)) \
         group by 1, 2, 3",
    )
    .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.result).collect::<Vec<_>>())
    .bind(from)
    .bind(until)
    .bind(brands)
    .fetch_all(connection)
    .await?)
}

async fn of_ledger(
    connection: &mut PgConnection,
    kinds: &[Kind],
    brands: Option<&[i32]>,
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
) -> Result<Vec<Row>, Error> {
    let carries = |what: fn(Carries) -> bool| {
        kinds.iter().map(|kind| kind.carries.map(what)).collect::<Vec<_>>()
    };
    Ok(sqlx::query_as(
        "select b.brand_id as brand, p.name || '@' || p.version as predicate, k.result, \
            sum(case l.source when 4 then -1 else 1 end)::bigint as receipts, \
            min(l.usage_day) as first_day, max(l.usage_day) as last_day \
         from ledger l \
         join unnest($1::int[], $2::bool[], $3::bool[], $4::bool[]) \
            as k (predicate_no, result, has_product, has_supplier) \
            on k.predicate_no = l.predicate_no and k.result = coalesce(l.result, true) \
                and k.has_product = (l.product is not null) \
                and k.has_supplier = (l.supplier is not null) \
         join brand b using (brand_no) join predicate p on p.predicate_no = l.predicate_no \
         where ($5::date is null or l.usage_day >= $5) and ($6::date is null or l.usage_day < $6) \
            and ($7::int[] is null or l.brand_no = any($7)) \
         group by 1, 2, 3 having sum(case l.source when 4 then -1 else 1 end) > 0",
    )
    .bind(kinds.iter().map(|kind| kind.predicate_no).collect::<Vec<_>>())
    .bind(kinds.iter().map(|kind| kind.result).collect::<Vec<_>>())
    .bind(carries(|carries| carries.product))
    .bind(carries(|carries| carries.supplier))
    .bind(from)
    .bind(until)
    .bind(brands)
    .fetch_all(connection)
    .await?)
}
