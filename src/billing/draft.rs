//! The order of work: from the usage of one period to the lines of a draft.
//!
//! 1. The fixed fee, prorated by days if the period is a stub.
//! 2. Each charge: quantity, free units, tiers, then rounded half-up.
//! 3. Discounts on the sum of the charges, each on what is left, never below zero.
//! 4. Minimum and maximum, prorated like the fixed fee, over fixed fee and discounted charges.
//! 5. The net total, which is the sum of the lines; then tax on it by category and rate.
//!
//! Each line is rounded once and nothing else is. A draft is a pure function of its [`Input`], and
//! the order and grouping of the usage rows do not matter.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use crate::exact::Overflow;
use crate::line::{Arithmetic, Line, LineKey};
use crate::money::{self, Money};
use crate::period::Slot;
use crate::plan::{Charge, Meter, Plan, Reduction, UsageKind};
use crate::pricing;
use crate::tax::{self, Totals, Treatment};

/// All that a draft is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub plan: &'a Plan,
    pub slot: Slot,
    /// The counted usage of the period, in any order and grouping.
    pub usage: &'a [Usage<'a>],
    /// For each charge with a distinct meter that takes usage: how many values its receipts have.
    pub distinct: &'a [Distinct],
    /// How the brand is taxed on the period's last day; `None` if that is not known yet.
    pub tax: Option<&'a Treatment>,
}

/// Receipts of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage<'a> {
    pub kind: UsageKind<'a>,
    pub receipts: u64,
}

/// Distinct products or suppliers among all receipts that one charge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distinct {
    /// The charge's number, from 1.
    pub charge: u16,
    pub values: u64,
}

/// The lines of a period, and what could not be priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    pub slot: Slot,
    /// In the order of work. A line without receipts and without an amount is left out.
    pub lines: Vec<Line>,
    /// Sum of the lines.
    pub net_total: Money,
    /// `None` if the brand's tax treatment is not known.
    pub tax: Option<Totals>,
    /// Usage that no charge takes, by kind; it blocks finalization.
    pub unpriced: Vec<Usage<'a>>,
    /// All receipts of the period, priced or not.
    pub receipts: u64,
}

/// Why a draft cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("charge {charge} {name:?} counts {meter}, but no count of them was given")]
    DistinctMissing { charge: u16, name: String, meter: &'static str },
    #[error(
        "charge {charge} {name:?} takes {receipts} receipts, which cannot have {values} {meter}"
    )]
    DistinctImpossible {
        charge: u16,
        name: String,
        meter: &'static str,
        receipts: u64,
        values: u64,
    },
    #[error("{place}: {source}")]
    Money { place: String, source: money::Error },
    #[error(transparent)]
    Tax(#[from] tax::Error),
}

/// Runs the order of work over `input`.
///
/// # Errors
/// If a distinct count is missing or impossible, or an amount cannot be computed exactly.
pub fn draft<'a>(input: &Input<'a>) -> Result<Draft<'a>, Error> {
    let currency = input.plan.terms().currency;
    let sum = |lines: &[Line]| money::sum(currency, lines.iter().map(|line| line.amount));
    let sorted = Sorted::new(input.plan, input.usage)?;

    let mut lines: Vec<Line> = fixed_fee(input)?.into_iter().collect();
    let charges = charge_lines(input, &sorted)?;
    let charged = sum(&charges).map_err(at("the sum of the charges"))?;
    lines.extend(charges);
    lines.extend(discount_lines(input.plan, charged)?);
    let reached = sum(&lines).map_err(at("fixed fee and discounted charges"))?;
    lines.extend(limit_line(input, reached)?);
    lines.retain(|line| line.receipts > 0 || !line.amount.is_zero());

    let net_total = sum(&lines).map_err(at("the net total"))?;
    let tax = match input.tax {
        None => None,
        Some(treatment) => {
            let taxed = lines.iter().map(|line| (line.amount, treatment));
            Some(tax::totals(currency, taxed)?)
        }
    };
    let Sorted { unpriced, receipts, .. } = sorted;
    Ok(Draft { slot: input.slot, lines, net_total, tax, unpriced, receipts })
}

/// Usage put to the charges that take it.
struct Sorted<'a> {
    /// Receipts by charge number.
    taken: BTreeMap<u16, u64>,
    unpriced: Vec<Usage<'a>>,
    receipts: u64,
}

impl<'a> Sorted<'a> {
    fn new(plan: &Plan, usage: &[Usage<'a>]) -> Result<Self, Error> {
        let mut taken = BTreeMap::new();
        let mut unpriced = BTreeMap::new();
        let mut receipts = 0_u64;
        for row in usage {
            count(&mut receipts, row.receipts)?;
            match plan.charge_for(&row.kind) {
                Some(charge) => count(taken.entry(charge).or_default(), row.receipts)?,
                None => count(unpriced.entry(row.kind).or_default(), row.receipts)?,
            }
        }
        let unpriced = unpriced
            .into_iter()
            .filter(|&(_, receipts)| receipts > 0)
            .map(|(kind, receipts)| Usage { kind, receipts })
            .collect();
        Ok(Self { taken, unpriced, receipts })
    }
}

fn count(sum: &mut u64, receipts: u64) -> Result<(), Error> {
    let overflow = || Overflow::new(format!("{sum} + {receipts} receipts"));
    *sum = sum.checked_add(receipts).ok_or_else(overflow).map_err(at("usage"))?;
    Ok(())
}

/// Says where an amount failed.
fn at<E: Into<money::Error>>(place: impl Into<String>) -> impl FnOnce(E) -> Error {
    let place = place.into();
    move |source| Error::Money { place, source: source.into() }
}

fn fixed_fee(input: &Input<'_>) -> Result<Option<Line>, Error> {
    let Some(whole) = input.plan.terms().fixed_fee else { return Ok(None) };
    let (days, of_days) = days(input.slot);
    let amount = input.slot.share(whole, input.plan.terms().currency).map_err(at("fixed fee"))?;
    let arithmetic = Arithmetic::Fixed { whole, days, of_days };
    Ok(Some(unmetered(LineKey::FixedFee, "Fixed fee", arithmetic, amount)))
}

fn charge_lines(input: &Input<'_>, sorted: &Sorted<'_>) -> Result<Vec<Line>, Error> {
    input
        .plan
        .numbered_charges()
        .map(|(number, charge)| {
            let receipts = sorted.taken.get(&number).copied().unwrap_or(0);
            let quantity = quantity(number, charge, receipts, input.distinct)?;
            let free_units_used = charge.free_units.min(quantity);
            let place = || format!("charge {number} {:?}", charge.name);
            let priced = pricing::price(&charge.model, quantity.saturating_sub(free_units_used))
                .map_err(at(place()))?;
            let amount = Money::round_half_up(priced.exact, input.plan.terms().currency)
                .map_err(at(place()))?;
            let arithmetic = Arithmetic::Metered {
                meter: charge.meter,
                free_units_used,
                steps: priced.steps,
                exact: priced.exact,
            };
            let label = charge.name.clone();
            Ok(Line { key: LineKey::Charge(number), label, quantity, receipts, arithmetic, amount })
        })
        .collect()
}

/// What the charge's meter reads.
fn quantity(
    number: u16,
    charge: &Charge,
    receipts: u64,
    distinct: &[Distinct],
) -> Result<u64, Error> {
    if charge.meter == Meter::Receipts {
        return Ok(receipts);
    }
    let (name, meter) = (charge.name.clone(), charge.meter.as_str());
    match distinct.iter().find(|distinct| distinct.charge == number) {
        None if receipts == 0 => Ok(0),
        None => Err(Error::DistinctMissing { charge: number, name, meter }),
        // Some receipt must carry each value, and each receipt carries one.
        Some(Distinct { values, .. }) if *values > receipts || (*values == 0 && receipts > 0) => {
            let values = *values;
            Err(Error::DistinctImpossible { charge: number, name, meter, receipts, values })
        }
        Some(Distinct { values, .. }) => Ok(*values),
    }
}

/// Each discount takes from what the ones before it left of the charges.
fn discount_lines(plan: &Plan, charged: Money) -> Result<Vec<Line>, Error> {
    let mut left = charged;
    let mut lines = Vec::new();
    for (number, discount) in plan.numbered_discounts() {
        let place = || format!("discount {number} {:?}", discount.name);
        let (off, arithmetic) = match discount.reduction {
            Reduction::Percent(percent) => {
                let off = tax::percent_of(percent, left).map_err(at(place()))?;
                (off, Arithmetic::Percent { percent, of: left })
            }
            Reduction::Absolute(amount) => {
                let off = amount.min(left.amount());
                let off = Money::round_half_up(off, left.currency()).map_err(at(place()))?;
                (off, Arithmetic::Absolute { amount, of: left })
            }
        };
        left = left.minus(off).map_err(at(place()))?;
        let key = LineKey::Discount(number);
        lines.push(unmetered(key, &discount.name, arithmetic, off.opposite()));
    }
    Ok(lines)
}

/// What lifts `reached` to the minimum or lowers it to the maximum; never both, for a checked
/// plan's minimum is not above its maximum. Where the share of a minimum is a cent above that of
/// nearly the same maximum, the maximum holds.
fn limit_line(input: &Input<'_>, reached: Money) -> Result<Option<Line>, Error> {
    let terms = input.plan.terms();
    let limits = [
        (LineKey::Minimum, "Minimum", terms.minimum),
        (LineKey::Maximum, "Maximum", terms.maximum),
    ];
    let (days, of_days) = days(input.slot);
    let share = |whole| input.slot.share(whole, terms.currency);
    let maximum = terms.maximum.map(share).transpose().map_err(at("Maximum"))?;
    for (key, label, limit) in limits {
        let Some(whole) = limit else { continue };
        let own = share(whole).map_err(at(label))?;
        let limit = maximum.filter(|maximum| maximum.amount() < own.amount()).unwrap_or(own);
        let difference = limit.minus(reached).map_err(at(label))?;
        let applies = difference.is_negative() == (key == LineKey::Maximum);
        if applies && !difference.is_zero() {
            let arithmetic = Arithmetic::Limit { whole, days, of_days, limit, reached };
            return Ok(Some(unmetered(key, label, arithmetic, difference)));
        }
    }
    Ok(None)
}

fn unmetered(key: LineKey, label: &str, arithmetic: Arithmetic, amount: Money) -> Line {
    Line { key, label: label.to_owned(), quantity: 1, receipts: 0, arithmetic, amount }
}

fn days(slot: Slot) -> (u32, u32) {
    (slot.period.days(), slot.whole.days())
}

#[cfg(test)]
mod tests;
