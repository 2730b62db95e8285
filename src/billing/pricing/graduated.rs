//! Each unit at the price of the tier that it falls into.
//!
//! A tier is reached by its first unit, which is the one after the bound below it; the first tier
//! is always reached, so its flat fee is due at zero usage too.
#![deny(clippy::arithmetic_side_effects)]

use rust_decimal::Decimal;

use super::Step;
use crate::exact::{self, Overflow};
use crate::plan::Tier;

/// One step for each tier reached, in order.
pub(super) fn steps(units: u64, tiers: &[Tier]) -> Result<Vec<Step>, Overflow> {
    let mut steps = Vec::new();
    let mut below = 0;
    for (number, tier) in (1..).zip(tiers) {
        let within = units.min(tier.up_to.unwrap_or(u64::MAX)).saturating_sub(below);
        if within == 0 && number > 1 {
            break;
        }
        steps.push(tier_step(number, below, tier, within)?);
        below = tier.up_to.unwrap_or(u64::MAX);
    }
    Ok(steps)
}

/// `units` at the price of `tier`, which begins after the unit `below`.
pub(super) fn tier_step(
    number: u16,
    below: u64,
    tier: &Tier,
    units: u64,
) -> Result<Step, Overflow> {
    let Tier { up_to, unit_price, flat_fee } = *tier;
    let variable = exact::multiply(Decimal::from(units), unit_price)?;
    let amount = exact::add(variable, flat_fee)?;
    let first = below.saturating_add(1);
    Ok(Step::Tier { number, first, up_to, units, unit_price, flat_fee, amount })
}

#[cfg(test)]
mod tests;
