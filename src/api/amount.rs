//! Numbers as the API writes them: exact decimals in strings, since JSON's own are floats to many readers.

use std::fmt;

use billing::currency::Currency;
use billing::money::Money;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;

/// An amount of money, a rate or a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(value_type = String, pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "386.42")]
#[serde(transparent)]
pub struct Exact(String);

impl Exact {
    /// An amount in the currency of this code, with the digits of its minor unit: the database and sums of
    /// nothing say a bare `0`. Never fewer digits than it has, so nothing is rounded.
    pub fn money(mut amount: Decimal, currency: &str) -> Self {
        let digits = Currency::from_code(currency).map_or(0, Currency::minor_units);
        if amount.scale() < digits {
            amount.rescale(digits);
        }
        Self(amount.to_string())
    }

    /// What a request says.
    ///
    /// # Errors
    /// If it is not written as amounts are, or has more than 28 digits.
    pub fn decimal(&self) -> Result<Decimal, Problem> {
        let digits = self.0.strip_prefix('-').unwrap_or(&self.0);
        let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_plain = [whole, rest]
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        let read = is_plain.then(|| Decimal::from_str_exact(&self.0).ok()).flatten();
        read.ok_or_else(|| {
            Problem::body("an amount is a text such as \"386.42\", of at most 28 digits")
        })
    }
}

/// Of a rate or a quantity; an amount of money is [`Exact::money`].
impl From<Decimal> for Exact {
    fn from(decimal: Decimal) -> Self {
        Self(decimal.to_string())
    }
}

impl From<Money> for Exact {
    fn from(money: Money) -> Self {
        Self::money(money.amount(), money.currency().code())
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl From<i64> for Exact {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<u64> for Exact {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_the_digits_of_its_currency() {
        for (amount, currency, written) in [
            ("0", "EUR", "0.00"),
            ("-5", "EUR", "-5.00"),
            ("1.5", "EUR", "1.50"),
            ("0.125", "EUR", "0.125"),
            ("386.42", "EUR", "386.42"),
            ("0", "JPY", "0"),
            ("7", "XXX", "7"),
        ] {
            let exact = Exact::money(Decimal::from_str_exact(amount).unwrap(), currency);
            assert_eq!(exact.to_string(), written, "{amount} {currency}");
        }
    }
}
