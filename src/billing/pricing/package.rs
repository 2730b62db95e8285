//! Each package that is begun at one price.
#![deny(clippy::arithmetic_side_effects)]

use rust_decimal::Decimal;

use super::Step;
use crate::exact::{self, Overflow};

/// `size` is at least 1; a checked plan has no other.
pub(super) fn step(units: u64, size: u64, price: Decimal) -> Result<Step, Overflow> {
    let packages = units.div_ceil(size.max(1));
    let amount = exact::multiply(Decimal::from(packages), price)?;
    Ok(Step::Packages { units, size, packages, price, amount })
}

#[cfg(test)]
mod tests;
