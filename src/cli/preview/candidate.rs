//! What another price would make of the same usage: a plan file, or the newest version of the plan.

use std::collections::BTreeMap;
use std::path::Path;

use billing::line::LineKey;
use billing::money::Money;
use billing::plan::Plan;

use super::show::{ALL_BRANDS, count};
use super::{Case, Priced, Shown};
use crate::cli::output::{Cell, Listing, Output};
use crate::cli::{Problem, plans};
use crate::store::catalog::Catalog;
use crate::store::plan_file;

/// What is compared with.
pub(super) enum Candidate {
    File(Box<Plan>),
    Newest,
}

impl Candidate {
    /// `None` if nothing is to be compared.
    pub(super) fn read(diff: bool, file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(file) = file else { return Ok(diff.then_some(Self::Newest)) };
        let plan = plan_file::parse(&plans::read(file)?)
            .map_err(|error| Problem::Refused(format!("{}: {error}", file.display())))?;
        Ok(Some(Self::File(Box::new(plan))))
    }

    /// The plan to compare with; `None` if the file of a plan is previewed that was never applied.
    pub(super) fn plan(&self, catalog: &Catalog, now: &Priced) -> anyhow::Result<Option<Plan>> {
        let (name, other) = (
            &now.plan.terms().name,
            match self {
                Self::File(plan) => Some(plan.as_ref()),
                Self::Newest => {
                    let name = &now.plan.terms().name;
                    catalog.newest(name).and_then(|version| catalog.plan(name, version))
                }
            },
        );
        let Some(other) = other else { return Ok(None) };
        let (one, next) = (now.plan.terms(), other.terms());
        if one.cadence != next.cadence || one.currency != next.currency {
            let text = format!(
                "{name} is {} in {} and the plan to compare with {} in {}: only prices for the same \
                 periods and money can be compared",
                one.cadence.as_str(),
                one.currency,
                next.cadence.as_str(),
                next.currency
            );
            return Err(Problem::Refused(text).into());
        }
        Ok(Some(other.clone()))
    }
}

/// Prints each line of one brand, or each brand, with both amounts.
pub(super) fn print(cases: &[Case], all: bool, output: Output) -> anyhow::Result<()> {
    match (all, cases) {
        (false, [case]) => lines(case).and_then(|rows| rows.print(output)),
        _ => brands(cases).and_then(|rows| rows.print(output)),
    }
}

fn cells(before: Option<Money>, after: Option<Money>) -> anyhow::Result<[Cell; 4]> {
    let currency = before.or(after).map(Money::currency);
    let difference = match (before, after) {
        (Some(before), Some(after)) => Some(after.minus(before)?),
        (Some(before), None) => Some(before.opposite()),
        (None, after) => after,
    };
    let cell = |money: Option<Money>| {
        money.map_or(Cell::Nothing, |money| Cell::Decimal(money.amount().to_string()))
    };
    let code = currency.map(|currency| currency.code().to_owned());
    Ok([cell(before), cell(after), cell(difference), code.into()])
}

fn lines(case: &Case) -> anyhow::Result<Listing> {
    let mut listing = Listing::new(["line", "what", "before", "after", "difference", "currency"]);
    let (before, after) = (case.draft()?, case.other_draft()?);
    let mut both: BTreeMap<LineKey, (String, Option<Money>, Option<Money>)> = BTreeMap::new();
    for line in &before.lines {
        both.insert(line.key, (line.label.clone(), Some(line.amount), None));
    }
    for line in &after.lines {
        let entry = both.entry(line.key).or_insert((line.label.clone(), None, None));
        if entry.0 != line.label {
            entry.0 = format!("{} -> {}", entry.0, line.label);
        }
        entry.2 = Some(line.amount);
    }
    for (key, (label, before, after)) in both {
        let start = [key.to_string().into(), label.into()];
        listing.row(start.into_iter().chain(cells(before, after)?));
    }
    if !before.unpriced.is_empty() || !after.unpriced.is_empty() {
        let [one, next] = [&before, &after].map(|draft| count(unpriced(draft)));
        let start = ["unpriced".into(), "receipts that no charge takes".into()];
        listing.row(start.into_iter().chain([one, next, Cell::Nothing, Cell::Nothing]));
    }
    let total = cells(Some(before.net_total), Some(after.net_total))?;
    let start = ["net_total".into(), "net total, before tax".into()];
    listing.row(start.into_iter().chain(total));
    Ok(listing)
}

fn brands(cases: &[Case]) -> anyhow::Result<Listing> {
    let mut listing = Listing::new([
        "brand",
        "first_day",
        "last_day",
        "plan",
        "version",
        "before",
        "after",
        "difference",
        "currency",
        "unpriced_before",
        "unpriced_after",
    ]);
    let mut sums: BTreeMap<&str, Compared> = BTreeMap::new();
    for case in cases {
        let (now, other) = (case.draft()?, case.other_draft()?);
        let (before, after) = (now.net_total, other.net_total);
        let period = case.slot.period;
        let start = [
            case.brand.id.as_str().into(),
            period.start().into(),
            period.last_day().into(),
            case.plan.terms().name.as_str().into(),
            case.version.map(i64::from).into(),
        ];
        let without = [unpriced(&now), unpriced(&other)];
        let row = cells(Some(before), Some(after))?.into_iter().chain(without.map(count));
        listing.row(start.into_iter().chain(row));
        let zero = Money::zero(before.currency());
        let sum = sums
            .entry(before.currency().code())
            .or_insert(Compared { net_totals: [zero, zero], unpriced: [0, 0] });
        sum.net_totals = [sum.net_totals[0].plus(before)?, sum.net_totals[1].plus(after)?];
        for (sum, receipts) in sum.unpriced.iter_mut().zip(without) {
            *sum = sum.saturating_add(receipts);
        }
    }
    for Compared { net_totals: [before, after], unpriced } in sums.into_values() {
        let start = [ALL_BRANDS.into(), Cell::Nothing, Cell::Nothing, Cell::Nothing, Cell::Nothing];
        let row = cells(Some(before), Some(after))?.into_iter().chain(unpriced.map(count));
        listing.row(start.into_iter().chain(row));
    }
    Ok(listing)
}

/// What the drafts of one currency come to under both prices.
struct Compared {
    net_totals: [Money; 2],
    unpriced: [u64; 2],
}

/// Receipts that no charge takes: a price that leaves some out is not cheaper by that.
fn unpriced(draft: &Shown) -> u64 {
    draft.unpriced.iter().map(|usage| usage.receipts).fold(0, u64::saturating_add)
}
