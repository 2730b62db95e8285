//! Numbers as the API writes them: exact decimals in strings, since JSON's own are floats to many readers.

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// An amount of money, a rate or a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "386.42")]
#[serde(transparent)]
pub struct Exact(String);

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
