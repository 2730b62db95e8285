//! Each unit at one price.
#![deny(clippy::arithmetic_side_effects)]

use rust_decimal::Decimal;

use super::Step;
use crate::exact::{self, Overflow};

pub(super) fn step(units: u64, unit_price: Decimal) -> Result<Step, Overflow> {
    let amount = exact::multiply(Decimal::from(units), unit_price)?;
    Ok(Step::Units { units, unit_price, amount })
}

#[cfg(test)]
mod tests;
