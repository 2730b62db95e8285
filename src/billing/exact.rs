//! Exact decimal arithmetic: a result is exact or it is an error.
//!
//! `rust_decimal` carries 96 bits; its own checked operations round silently where a result needs
//! more digits than that. Here such a result is an [`Overflow`], so that nothing is ever rounded
//! outside [`crate::money::Money::share_half_up`].
#![deny(clippy::arithmetic_side_effects)]

use rust_decimal::Decimal;

/// A result needs more than the 28 digits that an amount can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} is too large to be computed exactly; check the quantity and the price")]
pub struct Overflow {
    /// The operation in words and numbers, for example `9000000000 x 0.0000000001`.
    pub operation: String,
}

impl Overflow {
    pub fn new(operation: impl Into<String>) -> Self {
        Self { operation: operation.into() }
    }
}

/// `left` + `right`, exactly.
///
/// # Errors
/// If the sum does not fit.
pub fn add(left: Decimal, right: Decimal) -> Result<Decimal, Overflow> {
    let scale = left.scale().max(right.scale());
    exactly(left.checked_add(right), scale)
        .ok_or_else(|| Overflow::new(format!("{left} + {right}")))
}

/// `left` - `right`, exactly.
///
/// # Errors
/// If the difference does not fit.
pub fn subtract(left: Decimal, right: Decimal) -> Result<Decimal, Overflow> {
    let scale = left.scale().max(right.scale());
    exactly(left.checked_sub(right), scale)
        .ok_or_else(|| Overflow::new(format!("{left} - {right}")))
}

/// `left` x `right`, exactly.
///
/// # Errors
/// If the product does not fit.
pub fn multiply(left: Decimal, right: Decimal) -> Result<Decimal, Overflow> {
    let overflow = || Overflow::new(format!("{left} x {right}"));
    let scale = left.scale().checked_add(right.scale()).ok_or_else(overflow)?;
    exactly(left.checked_mul(right), scale).ok_or_else(overflow)
}

/// A result that kept fewer decimals than it must have was rounded to fit, unless it is zero.
fn exactly(result: Option<Decimal>, scale: u32) -> Option<Decimal> {
    result.filter(|value| value.is_zero() || value.scale() == scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn what_fits_is_exact() {
        assert_eq!(add(decimal("0.1"), decimal("0.02")), Ok(decimal("0.12")));
        assert_eq!(subtract(decimal("1"), decimal("0.0000000001")), Ok(decimal("0.9999999999")));
        assert_eq!(
            multiply(Decimal::from(u64::MAX), decimal("0.05")),
            Ok(decimal("922337203685477580.75"))
        );
    }

    /// Each of these is an `Ok` with a rounded value in `rust_decimal` itself.
    #[test]
    fn what_would_be_rounded_is_an_error() {
        let third = decimal("0.3333333333333333333333333333");
        assert!(multiply(third, decimal("0.1")).is_err());
        assert!(third.checked_mul(decimal("0.1")).is_some());
        assert!(add(decimal("10000000000000000000000000000"), decimal("0.01")).is_err());
        assert!(subtract(decimal("10000000000000000000000000000"), decimal("0.01")).is_err());
        assert_eq!(
            multiply(Decimal::MAX, Decimal::TEN).unwrap_err().to_string(),
            "79228162514264337593543950335 x 10 is too large to be computed exactly; \
             check the quantity and the price"
        );
    }
}
