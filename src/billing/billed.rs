//! What was billed, and what a period still owes.
//!
//! A period owes target - billed: `target` is the draft of all its counted usage, less what was
//! voided, at the period's recorded plan version and tax; `billed` is the sum of all that documents
//! have charged for it, by line key. So late usage needs no memory of which receipts are late, and
//! any splitting of the same usage over documents sums to exactly the same net money: each document
//! charges the difference to where the period should stand.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use crate::currency::Currency;
use crate::document::Charged;
use crate::draft::Draft;
use crate::line::{Arithmetic, Line, LineKey};
use crate::money::{self, Money};
use crate::plan::{Meter, Plan};

/// Where a line key of a period stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub quantity: i64,
    pub receipts: i64,
    pub amount: Money,
}

/// What a line key of a period owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub key: LineKey,
    pub label: String,
    /// What the key's charge counts.
    pub meter: Option<Meter>,
    /// How the target came about; None if the key is no longer in the draft.
    pub arithmetic: Option<Arithmetic>,
    /// What was billed before; None if the period owes all of it for the first time.
    pub billed: Option<Standing>,
    pub target: Standing,
    /// Target - billed.
    pub change: Standing,
}

/// Why it cannot be said what is owed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{key}: {what} is above 2^63 - 1; split the period")]
    Count { key: LineKey, what: &'static str },
    #[error("{key} was billed, but the plan recorded for the period has no such line")]
    UnknownKey { key: LineKey },
    #[error("{key}: {source}")]
    Money { key: LineKey, source: money::Error },
}

impl Standing {
    pub fn zero(currency: Currency) -> Self {
        Self { quantity: 0, receipts: 0, amount: Money::zero(currency) }
    }

    pub fn is_zero(&self) -> bool {
        self.quantity == 0 && self.receipts == 0 && self.amount.is_zero()
    }

    fn plus(self, row: &Charged) -> Result<Self, Error> {
        let key = row.key;
        let add =
            |one: i64, other: i64, what| one.checked_add(other).ok_or(Error::Count { key, what });
        Ok(Self {
            quantity: add(self.quantity, row.quantity, "the quantity")?,
            receipts: add(self.receipts, row.receipts, "the number of receipts")?,
            amount: self.amount.plus(row.amount).map_err(|source| Error::Money { key, source })?,
        })
    }

    fn less(self, other: Self, key: LineKey) -> Result<Self, Error> {
        let subtract =
            |one: i64, other: i64, what| one.checked_sub(other).ok_or(Error::Count { key, what });
        let amount = self.amount.minus(other.amount);
        Ok(Self {
            quantity: subtract(self.quantity, other.quantity, "the quantity")?,
            receipts: subtract(self.receipts, other.receipts, "the number of receipts")?,
            amount: amount.map_err(|source| Error::Money { key, source })?,
        })
    }

    fn of(line: &Line) -> Result<Self, Error> {
        let key = line.key;
        let count = |value: u64, what| i64::try_from(value).map_err(|_| Error::Count { key, what });
        Ok(Self {
            quantity: count(line.quantity, "the quantity")?,
            receipts: count(line.receipts, "the number of receipts")?,
            amount: line.amount,
        })
    }
}

/// The sum of rows of one period, by line key.
///
/// # Errors
/// If a currency differs or a sum does not fit.
pub fn standing(
    currency: Currency,
    rows: &[Charged],
) -> Result<BTreeMap<LineKey, Standing>, Error> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.key).or_insert(Standing::zero(currency));
        *sum = sum.plus(row)?;
    }
    Ok(sums)
}

/// What a period owes beyond the rows of `billed` that are its own, by line key in the order of
/// work. Every key whose amount, quantity or receipts changed is in it, also at 0.00. If nothing
/// stands billed (for the first time, or after everything was taken back), it is the whole draft.
///
/// # Errors
/// If a billed key is not in the plan, a currency differs, or a number does not fit.
pub fn owed(plan: &Plan, draft: &Draft<'_>, billed: &[Charged]) -> Result<Vec<Owed>, Error> {
    let currency = plan.terms().currency;
    let mut billed = standing(currency, billed)?;
    let first = billed.values().all(Standing::is_zero);
    let mut owed = BTreeMap::new();
    for line in &draft.lines {
        let before = billed.remove(&line.key).unwrap_or(Standing::zero(currency));
        let target = Standing::of(line)?;
        owed.insert(
            line.key,
            Owed {
                key: line.key,
                label: line.label.clone(),
                meter: meter(plan, line.key),
                arithmetic: Some(line.arithmetic.clone()),
                billed: (!first).then_some(before),
                target,
                change: target.less(before, line.key)?,
            },
        );
    }
    for (key, before) in billed {
        let target = Standing::zero(currency);
        let gone = Owed {
            key,
            label: label(plan, key).ok_or(Error::UnknownKey { key })?,
            meter: meter(plan, key),
            arithmetic: None,
            billed: Some(before),
            target,
            change: target.less(before, key)?,
        };
        owed.insert(key, gone);
    }
    Ok(owed.into_values().filter(|owed| !owed.change.is_zero()).collect())
}

/// The exact opposites of `rows`, which a void or a cancellation adds to `billed`.
///
/// # Errors
/// If a number has no opposite.
pub fn opposites(rows: &[Charged]) -> Result<Vec<Charged>, Error> {
    rows.iter()
        .map(|row| {
            let opposite =
                |value: i64, what| value.checked_neg().ok_or(Error::Count { key: row.key, what });
            Ok(Charged {
                quantity: opposite(row.quantity, "the quantity")?,
                receipts: opposite(row.receipts, "the number of receipts")?,
                amount: row.amount.opposite(),
                ..*row
            })
        })
        .collect()
}

fn meter(plan: &Plan, key: LineKey) -> Option<Meter> {
    let LineKey::Charge(number) = key else { return None };
    plan.numbered_charges().find(|(charge, _)| *charge == number).map(|(_, charge)| charge.meter)
}

fn label(plan: &Plan, key: LineKey) -> Option<String> {
    let terms = plan.terms();
    match key {
        LineKey::FixedFee => terms.fixed_fee.map(|_| "Fixed fee".to_owned()),
        LineKey::Minimum => terms.minimum.map(|_| "Minimum".to_owned()),
        LineKey::Maximum => terms.maximum.map(|_| "Maximum".to_owned()),
        LineKey::Charge(number) => plan
            .numbered_charges()
            .find(|(charge, _)| *charge == number)
            .map(|(_, charge)| charge.name.clone()),
        LineKey::Discount(number) => plan
            .numbered_discounts()
            .find(|(discount, _)| *discount == number)
            .map(|(_, discount)| discount.name.clone()),
    }
}

#[cfg(test)]
mod tests;
