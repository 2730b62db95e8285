//! All units at the price of the tier that the whole quantity falls into.
#![deny(clippy::arithmetic_side_effects)]

use super::{Step, graduated};
use crate::exact::Overflow;
use crate::plan::Tier;

/// The step of the one tier that applies. A quantity at a bound is in the lower tier.
pub(super) fn step(units: u64, tiers: &[Tier]) -> Result<Step, Overflow> {
    let (lower, rest) =
        tiers.split_at(tiers.partition_point(|tier| tier.up_to.is_some_and(|up_to| units > up_to)));
    let below = lower.last().and_then(|tier| tier.up_to).unwrap_or(0);
    let tier = rest.first().expect("the last tier of a checked plan is open");
    let number = u16::try_from(lower.len()).unwrap_or(u16::MAX).saturating_add(1);
    graduated::tier_step(number, below, tier, units)
}

#[cfg(test)]
mod tests;
