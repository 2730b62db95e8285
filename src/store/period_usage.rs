//! The usage of one brand in one period, as a plan wants to see it: from the usage rows, and from the
//! ledger only for the predicates of which the plan counts distinct products or suppliers.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing::draft::{Distinct, Usage};
use billing::exact::Overflow;
use billing::ids::Predicate;
use billing::period::Period;
use billing::plan::{Meter, Plan, UsageKind};
use billing::projection::Passed;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::brands::{self, Brand, NumberedPredicate};
use super::{Error, distinct};

/// What a draft is computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodUsage {
    rows: Vec<Row>,
    pub distinct: Vec<Distinct>,
    /// True if the ledger was read.
    pub reads_ledger: bool,
}

/// Receipts of a period that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Shared by all rows of it: a run reads hundreds of thousands.
    predicate: Arc<str>,
    result: bool,
    has_product: bool,
    has_supplier: bool,
    receipts: u64,
}

impl PeriodUsage {
    /// The usage rows.
    ///
    /// # Errors
    /// If a predicate cannot be read.
    pub fn usage(&self) -> Result<Vec<Usage<'_>>, Error> {
        self.rows.iter().map(usage).collect()
    }

    /// The usage that the period would have at its end if its days went on like those that have
    /// passed. Distinct values are projected like receipts, which is too many where they come back, and
    /// never more than the receipts that carry them.
    ///
    /// # Errors
    /// If a number does not fit.
    pub fn projected(mut self, plan: &Plan, passed: Passed) -> Result<Self, Overflow> {
        for row in &mut self.rows {
            row.receipts = passed.project(row.receipts)?;
        }
        for Distinct { charge, values } in &mut self.distinct {
            let takes = |row: &&Row| {
                let kind = (row.result, row.has_product, row.has_supplier);
                taken_by(plan, &row.predicate, kind) == Some(*charge)
            };
            // Each row was rounded by itself, so together they may be fewer than the values.
            let receipts = self.rows.iter().filter(takes).map(|row| row.receipts).sum();
            *values = passed.project(*values)?.min(receipts);
        }
        Ok(self)
    }
}

fn usage(row: &Row) -> Result<Usage<'_>, Error> {
    let Row { predicate, result, has_product, has_supplier, receipts } = row;
    let corrupt = || Error::Corrupt(format!("predicate {predicate:?} cannot be read"));
    let kind = UsageKind {
        predicate: Predicate::parse(predicate).ok_or_else(corrupt)?,
        result: *result,
        has_product: *has_product,
        has_supplier: *has_supplier,
    };
    Ok(Usage { kind, receipts: *receipts })
}

/// Reads the usage of `days`, in the caller's snapshot.
///
/// # Errors
/// If the database is away, or what it holds cannot be read.
pub async fn read(
    snapshot: &mut PgConnection,
    brand: &Brand,
    days: Period,
    plan: &Plan,
) -> Result<PeriodUsage, Error> {
    let rows = read_many(snapshot, &[(brand.no, days)]).await?.pop().unwrap_or_default();
    complete(snapshot, brand, days, plan, rows).await
}

/// Usage of days by brand, predicate and result: of brands with numbers from $3 to $4, or of those of $3. A row for
/// each brand, since what a message costs on both sides is more than what is in it.
macro_rules! usage_of {
    ($brands:literal) => {
        concat!(
            "select brand_no, array_agg(predicate_no), array_agg(result), array_agg(receipts) from ( \
                select brand_no, predicate_no, result, sum(receipts - voided)::bigint as receipts \
                from usage_day where usage_day >= $1 and usage_day < $2 and ",
            $brands,
            " group by 1, 2, 3) u group by 1"
        )
    };
}
const USAGE_OF_RANGE: &str = usage_of!("brand_no between $3 and $4");
const USAGE_OF_SOME: &str = usage_of!("brand_no = any($3)");

/// Reads the usage rows of many periods, each of a brand, with one query for all that have the same days: what
/// [`complete`] needs.
///
/// # Errors
/// If the database is away.
pub async fn read_many(
    snapshot: &mut PgConnection,
    wanted: &[(i32, Period)],
) -> Result<Vec<Vec<Row>>, Error> {
    let mut found = vec![Vec::new(); wanted.len()];
    if wanted.is_empty() {
        return Ok(found);
    }
    let numbered = brands::predicates(&mut *snapshot).await?;
    let names: BTreeMap<i32, Arc<str>> =
        numbered.iter().map(|one| (one.predicate_no, name(one).into())).collect();
    let mut places: BTreeMap<Period, BTreeMap<i32, Vec<usize>>> = BTreeMap::new();
    for (place, (brand, days)) in wanted.iter().enumerate() {
        places.entry(*days).or_default().entry(*brand).or_default().push(place);
    }
    for (days, places) in places {
        let brands: Vec<i32> = places.keys().copied().collect();
        let (first, last) = (brands[0], brands[brands.len() - 1]);
        // Where most brands in a range are wanted, to read the others too costs less than to look for each.
        let is_dense = brands.len() as i64 * 2 > i64::from(last) - i64::from(first);
        let mut query = sqlx::query_as(if is_dense { USAGE_OF_RANGE } else { USAGE_OF_SOME })
            .bind(days.start())
            .bind(days.end());
        query = if is_dense { query.bind(first).bind(last) } else { query.bind(brands) };
        let mut of_brands = query.fetch(&mut *snapshot);
        while let Some(of_brand) = of_brands.try_next().await? {
            let (brand, predicates, results, receipts): (i32, Vec<i32>, Vec<bool>, Vec<i64>) =
                of_brand;
            let Some((place, others)) = places.get(&brand).and_then(|all| all.split_first()) else {
                continue;
            };
            let kinds = predicates.iter().zip(results).zip(receipts);
            let row = |((number, result), receipts): ((&i32, bool), i64)| {
                let predicate = names.get(number).cloned().unwrap_or_default();
                let (has_product, has_supplier) = (true, true);
                let receipts = counted(receipts)?;
                Ok(Row { predicate, result, has_product, has_supplier, receipts })
            };
            let mut rows = kinds.map(row).collect::<Result<Vec<_>, Error>>()?;
            rows.sort_unstable();
            for other in others {
                found[*other].clone_from(&rows);
            }
            found[*place] = rows;
        }
    }
    Ok(found)
}

/// The usage of `days` from their usage rows, and from the ledger where the plan counts distinct values.
///
/// # Errors
/// If the database is away, or what it holds cannot be read.
pub async fn complete(
    snapshot: &mut PgConnection,
    brand: &Brand,
    days: Period,
    plan: &Plan,
    rows: Vec<Row>,
) -> Result<PeriodUsage, Error> {
    let mut found = PeriodUsage { rows, ..PeriodUsage::default() };
    if plan.terms().charges.iter().any(|charge| charge.meter != Meter::Receipts) {
        found.rows.retain(|row| row.receipts > 0);
        count_distinct(snapshot, brand, days, plan, &mut found).await?;
    }
    Ok(found)
}

/// The usage of a period as it was when its cutoff was the last entry, from the ledger alone: `kinds` is
/// what [`distinct::kinds_as_of`] has found for it.
///
/// # Errors
/// As [`read`].
pub async fn as_of(
    snapshot: &mut PgConnection,
    (brand_no, days, cutoff): distinct::AsOf,
    plan: &Plan,
    kinds: &[distinct::Kind],
) -> Result<PeriodUsage, Error> {
    let mut found = PeriodUsage { reads_ledger: true, ..PeriodUsage::default() };
    let numbered = brands::predicates(&mut *snapshot).await?;
    let names = numbered.iter().map(|one| (one.predicate_no, name(one).into())).collect();
    add_kinds(snapshot, (brand_no, days, cutoff), plan, (kinds, &names), &mut found).await?;
    Ok(found)
}

fn counted(receipts: i64) -> Result<u64, Error> {
    u64::try_from(receipts).map_err(|_| Error::Corrupt("usage counts below zero".to_owned()))
}

/// Replaces the rows of the predicates that a distinct meter may take by those of the ledger, and
/// counts the values.
async fn count_distinct(
    snapshot: &mut PgConnection,
    brand: &Brand,
    days: Period,
    plan: &Plan,
    found: &mut PeriodUsage,
) -> Result<(), Error> {
    let mut numbered = brands::predicates(&mut *snapshot).await?;
    numbered.retain(|one| {
        let name = name(one);
        found.rows.iter().any(|row| *row.predicate == *name) && is_counted_distinct(plan, &name)
    });
    if numbered.is_empty() {
        return Ok(());
    }
    found.rows.retain(|row| !numbered.iter().any(|one| *name(one) == *row.predicate));
    found.reads_ledger = true;
    let numbers: Vec<i32> = numbered.iter().map(|one| one.predicate_no).collect();
    let names = numbered.iter().map(|one| (one.predicate_no, name(one).into())).collect();
    let kinds = distinct::kinds(&mut *snapshot, brand.no, days, &numbers, i64::MAX).await?;
    add_kinds(snapshot, (brand.no, days, i64::MAX), plan, (&kinds, &names), found).await
}

fn name(one: &NumberedPredicate) -> String {
    format!("{}@{}", one.name, one.version)
}

/// Adds usage by kind, with the values that distinct meters count. `names` has the predicates' names.
async fn add_kinds(
    snapshot: &mut PgConnection,
    (brand_no, days, cutoff): distinct::AsOf,
    plan: &Plan,
    (kinds, names): (&[distinct::Kind], &BTreeMap<i32, Arc<str>>),
    found: &mut PeriodUsage,
) -> Result<(), Error> {
    for kind in kinds {
        found.rows.push(Row {
            predicate: names.get(&kind.predicate_no).cloned().unwrap_or_default(),
            result: kind.result,
            has_product: kind.has_product,
            has_supplier: kind.has_supplier,
            receipts: counted(kind.receipts)?,
        });
    }
    for (number, charge) in plan.numbered_charges() {
        if charge.meter == Meter::Receipts {
            continue;
        }
        let takes = |kind: &&distinct::Kind| {
            let name = names.get(&kind.predicate_no).map_or("", |name| &**name);
            let kind = (kind.result, kind.has_product, kind.has_supplier);
            taken_by(plan, name, kind) == Some(number)
        };
        let taken: Vec<&distinct::Kind> = kinds.iter().filter(takes).collect();
        if !taken.is_empty() {
            let values =
                distinct::values(&mut *snapshot, brand_no, days, charge.meter, &taken, cutoff)
                    .await?;
            found.distinct.push(Distinct { charge: number, values: counted(values)? });
        }
    }
    Ok(())
}

/// The charge that takes receipts of this predicate with this result, product and supplier.
fn taken_by(plan: &Plan, predicate: &str, kind: (bool, bool, bool)) -> Option<u16> {
    let (result, has_product, has_supplier) = kind;
    let predicate = Predicate::parse(predicate)?;
    plan.charge_for(&UsageKind { predicate, result, has_product, has_supplier })
}

/// True if some receipts of the predicate are counted by a distinct meter.
fn is_counted_distinct(plan: &Plan, predicate: &str) -> bool {
    let meter = |number: u16| {
        plan.numbered_charges().find(|(other, _)| *other == number).map(|(_, charge)| charge.meter)
    };
    let both = [true, false];
    both.into_iter().any(|result| {
        // What carries everything goes to the first distinct charge, if it goes to any.
        both.into_iter().any(|product| {
            both.into_iter().any(|supplier| {
                taken_by(plan, predicate, (result, product, supplier))
                    .and_then(meter)
                    .is_some_and(|meter| meter != Meter::Receipts)
            })
        })
    })
}
