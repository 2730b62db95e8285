//! `prooftally plans unpriced`: usage that no charge of the plan in force takes.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use billing::assignment::{Reign, Timeline};
use billing::ids::{self, Predicate};
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;

use crate::cli::output::{Listing, Output};
use crate::cli::{Problem, invoices};
use crate::config::Config;
use crate::store::brands::{self, NumberedPredicate};
use crate::store::unpriced::{self, Carries, Kind, Row};
use crate::store::{Error, Store, assignments, catalog};

/// Prints it, by brand, predicate and result. Brands with assignments are put to the plans of their
/// periods. The others, and all if a plan is named, are put to one plan by the calendar: each usage day
/// to the version that prices its month, and days before the first version to the plan's file.
pub async fn unpriced(
    config: &Config,
    store: &Store,
    name: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let predicates = brands::predicates(&store.pool).await?;
    let mut found = BTreeMap::new();
    let mut without_plan: Option<Vec<i32>> = None;
    if name.is_none() {
        let assigned = by_assignment(store, &predicates, &mut found).await?;
        let all = brands::all(&store.pool).await?.into_iter().map(|brand| brand.no);
        without_plan = Some(all.filter(|no| !assigned.contains(no)).collect());
    }
    if without_plan.as_ref().is_none_or(|brands| !brands.is_empty()) {
        let name = name.unwrap_or_else(|| config.billing.default_plan.clone());
        by_calendar(config, store, &name, without_plan.as_deref(), &predicates, &mut found).await?;
    }
    if output == Output::Table && found.is_empty() {
        eprintln!("all usage has a price");
        return Ok(());
    }
    listing(&found).print(output)
}

/// Collects what the plans of the brands' own periods do not price; returns those brands.
async fn by_assignment(
    store: &Store,
    predicates: &[NumberedPredicate],
    found: &mut Found,
) -> anyhow::Result<Vec<i32>> {
    let mut connection = store.pool.acquire().await.map_err(Error::from)?;
    let catalog = catalog::read(&mut *connection).await?;
    let timelines = assignments::timelines(&mut connection, &catalog, None).await?;
    for (brand_no, timeline) in &timelines {
        for Reign { from, until, assignment, version } in timeline.reigns() {
            let kinds = kinds(catalog.plan(&assignment.plan, version), predicates)?;
            let brands = Some(std::slice::from_ref(brand_no));
            let usage = unpriced::usage(&store.pool, &kinds, brands, Some(from), until).await?;
            collect(found, usage);
        }
    }
    Ok(timelines.into_keys().collect())
}

/// Collects what the versions of one plan do not price, by the calendar.
async fn by_calendar(
    config: &Config,
    store: &Store,
    name: &str,
    brands: Option<&[i32]>,
    predicates: &[NumberedPredicate],
    found: &mut Found,
) -> anyhow::Result<()> {
    let catalog = catalog::read(&store.pool).await?;
    let timeline = Timeline::of_plan(name, &catalog.versions)?;
    let file = plan_of_file(config, name)?;
    let first = timeline.first_day();
    if file.is_none() && first.is_none() {
        let text = format!("there is no plan {name}: none was applied, and it has no file");
        return Err(Problem::NotFound(text).into());
    }
    // Days before the first version have the file's plan; without one all of their usage counts.
    let before = kinds(file.as_ref(), predicates)?;
    collect(found, unpriced::usage(&store.pool, &before, brands, None, first).await?);
    for Reign { from, until, version, .. } in timeline.reigns() {
        let kinds = kinds(catalog.plan(name, version), predicates)?;
        collect(found, unpriced::usage(&store.pool, &kinds, brands, Some(from), until).await?);
    }
    Ok(())
}

/// The plan in the file of that name; `None` if there is no such file.
fn plan_of_file(config: &Config, name: &str) -> anyhow::Result<Option<Plan>> {
    if !ids::is_name(name, ids::NAME_BYTES_MAX) {
        return Ok(None);
    }
    match invoices::plan_of_file(config, name) {
        Ok(plan) => Ok(Some(plan)),
        Err(error) => {
            let io = error.downcast_ref::<std::io::Error>();
            let is_missing = io.is_some_and(|error| error.kind() == ErrorKind::NotFound);
            if is_missing { Ok(None) } else { Err(error) }
        }
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

fn listing(found: &Found) -> Listing {
    let mut listing =
        Listing::new(["brand", "predicate", "result", "receipts", "first_day", "last_day"]);
    for ((brand, predicate, result), (receipts, first_day, last_day)) in found {
        listing.row([
            brand.as_str().into(),
            predicate.as_str().into(),
            (*result).into(),
            (*receipts).into(),
            (*first_day).into(),
            (*last_day).into(),
        ]);
    }
    listing
}
