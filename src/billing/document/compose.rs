//! Puts periods on a document.
#![deny(clippy::arithmetic_side_effects)]

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{
    Adjustment, Cause, Document, DocumentLine, Format, Kind, Override, Party, PeriodEvidence,
    PriceStep, TaxGroup, TaxTreatment,
};
use crate::billed::{Owed, Standing};
use crate::currency::Currency;
use crate::exact;
use crate::hash::Hash;
use crate::line::Arithmetic;
use crate::money::{self, Money};
use crate::numbering;
use crate::period::Slot;
use crate::pricing::Step;
use crate::tax::{self, Treatment};

/// A period, and what it owes.
#[derive(Clone, Debug)]
pub struct PeriodPart<'a> {
    pub slot: Slot,
    /// Name and id of the plan version that it was priced by.
    pub plan: &'a str,
    pub plan_version: u64,
    /// How the brand is taxed on the period's last day.
    pub tax: &'a Treatment,
    /// The last entry that an earlier document has seen of the period; 0 if there is none.
    pub after: u64,
    /// The last entry that the draft has seen.
    pub cutoff: u64,
    /// The tree over the period's entries between the two.
    pub root: Hash,
    pub size: u64,
    pub owed: Vec<Owed>,
}

/// What a document is composed from; it has no number yet.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    pub brand: &'a str,
    pub currency: Currency,
    pub zone: &'a str,
    pub issuer: &'a Party,
    pub buyer: &'a Party,
    /// The period that the document is the regular invoice of is among `periods`; without one it
    /// is an adjustment.
    pub regular: bool,
    pub periods: Vec<PeriodPart<'a>>,
    pub issue_date: NaiveDate,
    /// Days to pay.
    pub terms_days: u16,
    pub overrides: Vec<Override>,
    pub billing_version: u64,
    pub previous: Option<Hash>,
}

/// Why there is no document of these parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a document of nothing: it has no period")]
    NoPeriod,
    #[error("the terms of {0} days are longer than {max} days", max = numbering::TERMS_DAYS_MAX)]
    Terms(u16),
    #[error("there are more lines than a document can number")]
    Lines,
    #[error("line {line}: the quantity has no opposite")]
    Quantity { line: u32 },
    #[error(transparent)]
    Tax(#[from] tax::Error),
    #[error(transparent)]
    Money(#[from] money::Error),
}

/// Composes the document of `parts`: periods oldest first, their lines in the order of work, taxed
/// by (category, rate). If what they owe is negative, it is a credit note of the opposite.
///
/// # Errors
/// If currencies or category O are mixed, or a number does not fit.
pub fn compose(mut parts: Parts<'_>) -> Result<Document, Error> {
    parts.periods.sort_by_key(|part| part.slot.period.start());
    let currency = parts.currency;
    let owed =
        || parts.periods.iter().flat_map(|part| part.owed.iter().map(move |owed| (part, owed)));
    let net = money::sum(currency, owed().map(|(_, owed)| owed.change.amount))?;
    let totals = tax::totals(currency, owed().map(|(part, owed)| (owed.change.amount, part.tax)))?;
    let negative = net.is_negative() || (net.is_zero() && totals.total.is_negative());
    let signed = |amount: Money| if negative { amount.opposite() } else { amount };
    let kind = match (negative, parts.regular) {
        (true, _) => Kind::CreditNote,
        (false, true) => Kind::Invoice,
        (false, false) => Kind::Adjustment,
    };
    let mut lines = Vec::new();
    for (part, owed) in owed() {
        let number = lines.len().checked_add(1).and_then(|number| u32::try_from(number).ok());
        lines.push(line(number.ok_or(Error::Lines)?, part, owed, negative)?);
    }
    let due_date = numbering::due_date(parts.issue_date, parts.terms_days)
        .ok_or(Error::Terms(parts.terms_days))?;
    let groups = totals.groups.iter().map(|group| TaxGroup {
        category: group.category,
        rate_percent: group.rate_percent,
        exemptions: group.exemptions.iter().cloned().collect(),
        credited_before: None,
        taxable: signed(group.taxable).amount(),
        tax: signed(group.tax).amount(),
    });
    Ok(Document {
        format: Format::V1,
        kind,
        cause: Cause::Periods,
        brand: parts.brand.to_owned(),
        number: None,
        currency,
        issue_date: parts.issue_date,
        tax_point: numbering::tax_point(parts.periods.iter().map(|part| part.slot.period.end()))
            .ok_or(Error::NoPeriod)?,
        due_date: (!negative).then_some(due_date),
        zone: parts.zone.to_owned(),
        issuer: parts.issuer.clone(),
        buyer: parts.buyer.clone(),
        references: Vec::new(),
        periods: parts.periods.iter().map(evidence).collect(),
        tax_groups: groups.collect(),
        lines,
        net_total: signed(net).amount(),
        tax_total: signed(totals.tax).amount(),
        total: signed(totals.total).amount(),
        note: None,
        overrides: parts.overrides,
        billing_version: parts.billing_version,
        previous: parts.previous,
    })
}

fn evidence(part: &PeriodPart<'_>) -> PeriodEvidence {
    PeriodEvidence {
        start: part.slot.period.start(),
        end: part.slot.period.end(),
        whole_start: part.slot.whole.start(),
        whole_end: part.slot.whole.end(),
        plan: part.plan.to_owned(),
        plan_version: part.plan_version,
        tax: TaxTreatment {
            category: part.tax.category(),
            rate_percent: part.tax.rate_percent(),
            exemption: part.tax.exemption().map(str::to_owned),
        },
        after: part.after,
        cutoff: part.cutoff,
        root: part.root,
        size: part.size,
    }
}

fn line(
    number: u32,
    part: &PeriodPart<'_>,
    owed: &Owed,
    negative: bool,
) -> Result<DocumentLine, Error> {
    let Standing { quantity, receipts, amount } = owed.change;
    let sign = if negative { -1 } else { 1 };
    let signed = |value: i64| value.checked_mul(sign).ok_or(Error::Quantity { line: number });
    let steps = match &owed.arithmetic {
        Some(Arithmetic::Metered { steps, .. }) => steps.iter().map(price_step).collect(),
        _ => Vec::new(),
    };
    Ok(DocumentLine {
        line: number,
        period: Some(part.slot.period.start()),
        key: Some(owed.key),
        credits: None,
        label: owed.label.clone(),
        meter: owed.meter.map(|meter| meter.as_str().to_owned()),
        quantity: signed(quantity)?,
        receipts: signed(receipts)?,
        unit_price: unit_price(owed),
        steps,
        explanation: owed.arithmetic.as_ref().map(Arithmetic::explain).unwrap_or_default(),
        adjustment: owed.billed.map(|billed| Adjustment {
            billed_quantity: billed.quantity,
            billed_amount: billed.amount.amount(),
            owed_quantity: owed.target.quantity,
            owed_amount: owed.target.amount.amount(),
        }),
        amount: if negative { amount.opposite() } else { amount }.amount(),
        tax_category: part.tax.category(),
        tax_rate_percent: part.tax.rate_percent(),
    })
}

/// The one price of all units, if the quantity at that price is the amount; free units, tiers, flat
/// fees and packages may stand between the two, and so may the rounding of what was billed before.
fn unit_price(owed: &Owed) -> Option<Decimal> {
    let price = match &owed.arithmetic {
        Some(Arithmetic::Metered { steps, .. }) => match steps.as_slice() {
            [Step::Units { unit_price, .. }] => *unit_price,
            _ => return None,
        },
        Some(Arithmetic::Fixed { .. }) => owed.target.amount.amount(),
        _ => return None,
    };
    let exact = exact::multiply(Decimal::from(owed.change.quantity), price).ok()?;
    let amount = Money::round_half_up(exact, owed.change.amount.currency()).ok()?;
    (amount == owed.change.amount).then_some(price)
}

/// A step of the arithmetic as documents have it: a unit is a package if there is a package size.
pub fn price_step(step: &Step) -> PriceStep {
    match *step {
        Step::Units { units, unit_price, amount } => PriceStep {
            tier: None,
            package_size: None,
            units,
            unit_price,
            flat_fee: Decimal::ZERO,
            amount,
        },
        Step::Tier { number, units, unit_price, flat_fee, amount, .. } => PriceStep {
            tier: Some(number),
            package_size: None,
            units,
            unit_price,
            flat_fee,
            amount,
        },
        Step::Packages { size, packages, price, amount, .. } => PriceStep {
            tier: None,
            package_size: Some(size),
            units: packages,
            unit_price: price,
            flat_fee: Decimal::ZERO,
            amount,
        },
    }
}
