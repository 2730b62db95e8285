//! Price models: a quantity becomes an exact amount, with the steps that explain it.
//!
//! Nothing is rounded here. Free units are taken off before.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use rust_decimal::Decimal;

use crate::exact::{self, Overflow};
use crate::plan::Model;

mod graduated;
mod package;
mod per_unit;
mod volume;

/// An exact amount and how it came about; the amounts of the steps sum to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    pub exact: Decimal,
    /// At least one.
    pub steps: Vec<Step>,
}

/// One step of the arithmetic, unrounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `units` x `unit_price`.
    Units { units: u64, unit_price: Decimal, amount: Decimal },
    /// `units` x `unit_price` + `flat_fee` in tier `number`, which holds the units `first` to
    /// `up_to`.
    Tier {
        number: u16,
        first: u64,
        up_to: Option<u64>,
        units: u64,
        unit_price: Decimal,
        flat_fee: Decimal,
        amount: Decimal,
    },
    /// `packages` x `price`; `units` begin that many packages of `size`.
    Packages { units: u64, size: u64, packages: u64, price: Decimal, amount: Decimal },
}

impl Step {
    /// What the step adds to the exact amount.
    pub fn amount(&self) -> Decimal {
        match *self {
            Step::Units { amount, .. }
            | Step::Tier { amount, .. }
            | Step::Packages { amount, .. } => amount,
        }
    }
}

/// The step in words and numbers, for example `tier 2 (6 to 10): 1 x 6.5 = 6.5`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::Units { units, unit_price, amount } => {
                write!(f, "{units} x {unit_price} = {amount}")
            }
            Step::Packages { units, size, packages, price, amount } => {
                write!(f, "{units} in packages of {size}: {packages} x {price} = {amount}")
            }
            Step::Tier { number, first, up_to, units, unit_price, flat_fee, amount } => {
                write!(f, "tier {number} ({first} ")?;
                match up_to {
                    Some(up_to) => write!(f, "to {up_to}): ")?,
                    None => write!(f, "and up): ")?,
                }
                write!(f, "{units} x {unit_price}")?;
                if !flat_fee.is_zero() {
                    write!(f, " + {flat_fee} flat")?;
                }
                write!(f, " = {amount}")
            }
        }
    }
}

/// The price of `units` (after free units) under the `model` of a checked plan.
///
/// # Errors
/// If an amount cannot be computed exactly.
pub(crate) fn price(model: &Model, units: u64) -> Result<Priced, Overflow> {
    let steps = match model {
        Model::PerUnit { unit_price } => vec![per_unit::step(units, *unit_price)?],
        Model::Graduated(tiers) => graduated::steps(units, tiers)?,
        Model::Volume(tiers) => vec![volume::step(units, tiers)?],
        Model::Package { size, price } => vec![package::step(units, *size, *price)?],
    };
    let exact = steps.iter().try_fold(Decimal::ZERO, |sum, step| exact::add(sum, step.amount()))?;
    Ok(Priced { exact, steps })
}

#[cfg(test)]
pub(crate) mod tests;
