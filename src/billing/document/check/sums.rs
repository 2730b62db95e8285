//! Lines, tax groups and totals against each other.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Refusal;
use crate::document::{Cause, Document, TaxGroup};
use crate::money::Money;
use crate::tax::{self, Category, Treatment};

pub(super) fn check(document: &Document, found: &mut Vec<Refusal>) {
    let before = found.len();
    decimals(document, found);
    if found.len() == before && sums_fit(document, found).is_none() {
        found.push(Refusal::TooLarge);
    }
}

/// Every amount has exactly the currency's decimals.
fn decimals(document: &Document, found: &mut Vec<Refusal>) {
    let mut amounts = vec![
        ("net total".to_owned(), document.net_total),
        ("tax total".to_owned(), document.tax_total),
        ("total".to_owned(), document.total),
    ];
    amounts.extend(document.lines.iter().map(|line| (format!("line {}", line.line), line.amount)));
    for group in &document.tax_groups {
        amounts.push((format!("taxable of {}", name(group)), group.taxable));
        amounts.push((format!("tax of {}", name(group)), group.tax));
        if let Some(credited) = &group.credited_before {
            amounts.push((format!("credited taxable of {}", name(group)), credited.taxable));
            amounts.push((format!("credited tax of {}", name(group)), credited.tax));
        }
    }
    let exact = |amount: Decimal| {
        Money::new(amount, document.currency)
            .is_some_and(|money| money.amount().scale() == amount.scale())
    };
    let wrong = amounts.into_iter().filter(|(_, amount)| !exact(*amount));
    found.extend(wrong.map(|(at, amount)| Refusal::Decimals { at, amount }));
}

/// Lines, groups and totals against each other; `None` if a sum does not fit.
fn sums_fit(document: &Document, found: &mut Vec<Refusal>) -> Option<()> {
    let currency = document.currency;
    let money = |amount: Decimal| Money::new(amount, currency);
    let (net, tax) = (money(document.net_total)?, money(document.tax_total)?);
    if net.is_negative() {
        found.push(Refusal::Negative(document.net_total));
    }
    let add = |sum: Money, amount: Decimal| sum.plus(money(amount)?).ok();
    let zero = Money::zero(currency);
    let lines = document.lines.iter().map(|line| line.amount).try_fold(zero, add)?;
    if lines != net {
        found.push(Refusal::NetTotal { stated: document.net_total, sum: lines });
    }
    let groups = document.tax_groups.iter().map(|group| group.tax).try_fold(zero, add)?;
    if groups != tax {
        found.push(Refusal::TaxTotal { stated: document.tax_total, sum: groups });
    }
    let total = net.plus(tax).ok()?;
    if total.amount() != document.total {
        found.push(Refusal::Total { stated: document.total, sum: total });
    }
    groups_fit(document, found)
}

/// The tax groups against the lines.
fn groups_fit(document: &Document, found: &mut Vec<Refusal>) -> Option<()> {
    let mut sums: BTreeMap<(Category, Decimal), Money> = BTreeMap::new();
    for line in &document.lines {
        let key = (line.tax_category, line.tax_rate_percent);
        let sum = sums.entry(key).or_insert(Money::zero(document.currency));
        *sum = sum.plus(Money::new(line.amount, document.currency)?).ok()?;
    }
    let out_of_scope = sums.keys().any(|(category, _)| *category == Category::OutOfScope);
    if out_of_scope && sums.len() > 1 {
        found.push(Refusal::OutOfScopeMixed);
    }
    let stated = document.tax_groups.iter().map(|group| (group.category, group.rate_percent));
    if !stated.eq(sums.keys().copied()) {
        found.push(Refusal::Groups);
        return Some(());
    }
    let mut groups = document.tax_groups.iter().zip(sums.into_values());
    groups.try_for_each(|(group, sum)| group_fits(document, group, sum, found))
}

fn group_fits(
    document: &Document,
    group: &TaxGroup,
    sum: Money,
    found: &mut Vec<Refusal>,
) -> Option<()> {
    if sum.amount() != group.taxable {
        let stated = group.taxable;
        found.push(Refusal::GroupTaxable { group: name(group), stated, sum });
    }
    let texts = (!group.exemptions.is_empty()).then(|| group.exemptions.join("; "));
    if let Err(source) = Treatment::new(group.category, group.rate_percent, texts) {
        found.push(Refusal::Treatment { group: name(group), source });
    }
    if group.credited_before.is_some() != (document.cause != Cause::Periods) {
        found.push(Refusal::GroupCredits { group: name(group) });
        return Some(());
    }
    let tax = expected_tax(document, group, sum)?;
    if tax.amount() != group.tax {
        found.push(Refusal::GroupTax { group: name(group), stated: group.tax, tax });
    }
    Some(())
}

/// The tax on all credited so far, less what was credited of it; for other documents the tax.
fn expected_tax(document: &Document, group: &TaxGroup, sum: Money) -> Option<Money> {
    let Some(before) = &group.credited_before else {
        return tax::percent_of(group.rate_percent, sum).ok();
    };
    let credited = Money::new(before.taxable, document.currency)?.plus(sum).ok()?;
    let tax = tax::percent_of(group.rate_percent, credited).ok()?;
    tax.minus(Money::new(before.tax, document.currency)?).ok()
}

fn name(group: &TaxGroup) -> String {
    format!("{} {} %", group.category.code(), group.rate_percent)
}
