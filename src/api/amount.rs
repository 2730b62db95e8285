//! Numbers as the API writes them: exact decimals in strings, since JSON's own are floats to many readers.

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

impl From<Decimal> for Exact {
    fn from(decimal: Decimal) -> Self {
        Self(decimal.to_string())
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
