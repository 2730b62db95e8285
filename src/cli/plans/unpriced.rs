//! `prooftally plans unpriced`: usage that no charge of the plan in force takes.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use billing::ids::{self, Predicate};
use billing::plan::{Plan, UsageKind};
use chrono::NaiveDate;

use super::versions;
use crate::cli::output::{Listing, Output};
use crate::cli::{Problem, invoices};
use crate::config::Config;
use crate::store::brands::{self, NumberedPredicate};
use crate::store::unpriced::{self, Carries, Kind, Row};
use crate::store::{Error, Store};

/// Prints it, by brand, predicate and result. Each usage day is put to the version that prices its
/// period, and days before the first version to the plan's file.
pub async fn unpriced(
    config: &Config,
    store: &Store,
    name: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let name = name.unwrap_or_else(|| config.billing.default_plan.clone());
    let reigns = versions::reigns(store, &name).await?;
    let predicates = brands::predicates(&store.pool).await?;
    let mut found = BTreeMap::new();
    let file = plan_of_file(config, &name)?;
    if file.is_none() && reigns.is_empty() {
        let text = format!("there is no plan {name}: none was applied, and it has no file");
        return Err(Problem::NotFound(text).into());
    }
    // Days before the first version have the file's plan; without one all of their usage counts.
    let until = reigns.iter().map(|reign| reign.first_day).min();
    let before = kinds(file.as_ref(), &predicates)?;
    collect(&mut found, unpriced::usage(&store.pool, &before, None, until).await?);
    for (at, reign) in reigns.iter().enumerate() {
        // A later version that begins no later leaves this one nothing to price.
        let until = reigns[at + 1..].iter().map(|later| later.first_day).min();
        if until.is_some_and(|until| until <= reign.first_day) {
            continue;
        }
        let kinds = kinds(Some(&reign.plan), &predicates)?;
        let rows = unpriced::usage(&store.pool, &kinds, Some(reign.first_day), until).await?;
        collect(&mut found, rows);
    }
    if output == Output::Table && found.is_empty() {
        eprintln!("plan {name} prices all usage");
        return Ok(());
    }
    listing(&found).print(output)
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
