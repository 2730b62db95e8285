//! Money: an amount in whole minor units of one currency.
//!
//! An amount that is still being computed is a plain exact `Decimal` (see [`crate::exact`]). It
//! becomes money in one place only, [`Money::share_half_up`]; so whatever is `Money` was rounded
//! once, and sums of it are exact.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use rust_decimal::Decimal;

use crate::currency::Currency;
use crate::exact::{self, Overflow};

/// An amount in whole minor units, for example `36.30 EUR`. It may be negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    /// Always carries exactly the currency's decimals, so that equal amounts print equally.
    amount: Decimal,
    currency: Currency,
}

/// Why two amounts cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{left} and {right} cannot be added; a document has one currency")]
    CurrencyMismatch { left: Currency, right: Currency },
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Money {
    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self { amount: Decimal::new(0, currency.minor_units()), currency }
    }

    /// Takes an amount that is in whole minor units already, or `None` if it has more decimals than
    /// the currency or does not fit.
    pub fn new(amount: Decimal, currency: Currency) -> Option<Self> {
        let rounded = Self::round_half_up(amount, currency).ok()?;
        (rounded.amount == amount).then_some(rounded)
    }

    /// Rounds an exact amount to the currency's minor units: to the nearest, and a half away from
    /// zero, so 0.005 EUR becomes 0.01 and -0.005 EUR becomes -0.01.
    ///
    /// # Errors
    /// If the amount does not fit.
    pub fn round_half_up(exact: Decimal, currency: Currency) -> Result<Self, Overflow> {
        Self::share_half_up(exact, 1, 1, currency)
    }

    /// `exact` x `numerator` / `denominator`, rounded once as [`Money::round_half_up`] rounds. The
    /// quotient is never written as a decimal, which could not hold a third.
    ///
    /// # Errors
    /// If the amount does not fit, or `denominator` is 0.
    pub fn share_half_up(
        exact: Decimal,
        numerator: u32,
        denominator: u32,
        currency: Currency,
    ) -> Result<Self, Overflow> {
        let overflow =
            || Overflow::new(format!("{exact} x {numerator} / {denominator} in {currency}"));
        let dividend = exact::multiply(exact, Decimal::from(numerator))?;
        let minor = quotient_half_up(dividend, i128::from(denominator), currency.minor_units());
        let amount =
            Decimal::try_from_i128_with_scale(minor.ok_or_else(overflow)?, currency.minor_units());
        Ok(Self { amount: amount.map_err(|_| overflow())?, currency })
    }

    /// The amount, with exactly the currency's decimals.
    pub fn amount(self) -> Decimal {
        self.amount
    }

    pub fn currency(self) -> Currency {
        self.currency
    }

    pub fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// True below zero.
    pub fn is_negative(self) -> bool {
        self.amount.is_sign_negative() && !self.amount.is_zero()
    }

    /// `self` + `other`.
    ///
    /// # Errors
    /// If the currencies differ or the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, Error> {
        self.same_currency(other)?;
        let amount = positive_zero(exact::add(self.amount, other.amount)?);
        Ok(Self { amount, currency: self.currency })
    }

    /// `self` - `other`.
    ///
    /// # Errors
    /// If the currencies differ or the difference does not fit.
    pub fn minus(self, other: Self) -> Result<Self, Error> {
        self.same_currency(other)?;
        let amount = positive_zero(exact::subtract(self.amount, other.amount)?);
        Ok(Self { amount, currency: self.currency })
    }

    /// The exact opposite.
    #[must_use]
    pub fn opposite(self) -> Self {
        let mut amount = self.amount;
        amount.set_sign_negative(self.amount.is_sign_positive());
        Self { amount: positive_zero(amount), currency: self.currency }
    }

    fn same_currency(self, other: Self) -> Result<(), Error> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(Error::CurrencyMismatch { left: self.currency, right: other.currency })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Adds up `amounts`; no amounts are zero in `currency`.
///
/// # Errors
/// If a currency differs or a sum does not fit.
pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Money>) -> Result<Money, Error> {
    amounts.into_iter().try_fold(Money::zero(currency), Money::plus)
}

/// The one rounding step, in integers: `dividend` / `divisor` in units of 10^-`minor_units`, half
/// away from zero. `None` if a step overflows or `divisor` is 0.
fn quotient_half_up(dividend: Decimal, divisor: i128, minor_units: u32) -> Option<i128> {
    let (mantissa, scale) = (dividend.mantissa(), dividend.scale());
    let power = 10_i128.checked_pow(scale.abs_diff(minor_units))?;
    let (numerator, denominator) = if scale > minor_units {
        (mantissa, power.checked_mul(divisor)?)
    } else {
        (mantissa.checked_mul(power)?, divisor)
    };
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?;
    if rest.unsigned_abs().checked_mul(2)? >= denominator.unsigned_abs() {
        return quotient.checked_add(numerator.signum());
    }
    Some(quotient)
}

/// `rust_decimal` knows a negative zero, which would print as `-0.00`.
fn positive_zero(mut amount: Decimal) -> Decimal {
    if amount.is_zero() {
        amount.set_sign_positive(true);
    }
    amount
}

#[cfg(test)]
mod tests;
