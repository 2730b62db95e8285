//! Lines: what a document charges for, with the arithmetic that explains each amount.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use rust_decimal::Decimal;

use crate::money::Money;
use crate::plan::Meter;
use crate::pricing::Step;

/// What a line stands for within a period. It is the line's name in `billed`, so it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineKey {
    FixedFee,
    /// The charge's number in the plan, from 1.
    Charge(u16),
    /// The discount's number in the plan, from 1.
    Discount(u16),
    Minimum,
    Maximum,
}

impl LineKey {
    /// Reads what `Display` writes: `fixed_fee`, `charge:1`, `discount:1`, `minimum`, `maximum`.
    pub fn parse(text: &str) -> Option<Self> {
        let key = match text.split_once(':') {
            None => match text {
                "fixed_fee" => LineKey::FixedFee,
                "minimum" => LineKey::Minimum,
                "maximum" => LineKey::Maximum,
                _ => return None,
            },
            Some(("charge", number)) => LineKey::Charge(number.parse().ok()?),
            Some(("discount", number)) => LineKey::Discount(number.parse().ok()?),
            Some(_) => return None,
        };
        // Only the one spelling is a key: neither `charge:0` nor `charge:01` nor `charge:+1`.
        let numbered_from_1 = !matches!(key, LineKey::Charge(0) | LineKey::Discount(0));
        (numbered_from_1 && key.to_string() == text).then_some(key)
    }
}

impl fmt::Display for LineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineKey::FixedFee => f.write_str("fixed_fee"),
            LineKey::Charge(number) => write!(f, "charge:{number}"),
            LineKey::Discount(number) => write!(f, "discount:{number}"),
            LineKey::Minimum => f.write_str("minimum"),
            LineKey::Maximum => f.write_str("maximum"),
        }
    }
}

/// One line of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub key: LineKey,
    pub label: String,
    /// Units metered, before free units; 1 for a line that meters nothing.
    pub quantity: u64,
    /// Receipts behind the quantity; 0 for a line that meters nothing.
    pub receipts: u64,
    pub arithmetic: Arithmetic,
    /// The arithmetic's result, rounded once.
    pub amount: Money,
}

/// How a line's amount came about; amounts are unrounded unless they are money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// A fixed amount, for `days` of `of_days`.
    Fixed { whole: Decimal, days: u32, of_days: u32 },
    /// A metered quantity, less free units, through the steps of a price model.
    Metered { meter: Meter, free_units_used: u64, steps: Vec<Step>, exact: Decimal },
    /// A percentage of what is left of the charges.
    Percent { percent: Decimal, of: Money },
    /// An amount off what is left of the charges.
    Absolute { amount: Decimal, of: Money },
    /// What lifts `reached` to a minimum, or lowers it to a maximum, of `whole` for `days` of
    /// `of_days`.
    Limit { whole: Decimal, days: u32, of_days: u32, limit: Money, reached: Money },
}

impl Arithmetic {
    /// The arithmetic in words and numbers, a step a text, for example `11 of 30 days of 99.00`.
    pub fn explain(&self) -> Vec<String> {
        match self {
            Arithmetic::Fixed { whole, days, of_days } => vec![share(*whole, *days, *of_days)],
            Arithmetic::Metered { free_units_used, steps, exact, .. } => {
                metered(*free_units_used, steps, *exact)
            }
            Arithmetic::Percent { percent, of } => vec![format!("{percent} % of {of}")],
            Arithmetic::Absolute { amount, of } => vec![format!("{amount} off {of}")],
            Arithmetic::Limit { whole, days, of_days, limit, reached } => {
                let mut texts = Vec::new();
                if days != of_days {
                    texts.push(format!("{} = {limit}", share(*whole, *days, *of_days)));
                }
                texts.push(format!("from {reached} to {limit}"));
                texts
            }
        }
    }
}

fn share(whole: Decimal, days: u32, of_days: u32) -> String {
    if days == of_days {
        return whole.to_string();
    }
    format!("{days} of {of_days} days of {whole}")
}

fn metered(free_units_used: u64, steps: &[Step], exact: Decimal) -> Vec<String> {
    let mut texts = Vec::new();
    if free_units_used > 0 {
        texts.push(format!("{free_units_used} free"));
    }
    texts.extend(steps.iter().map(Step::to_string));
    if steps.len() > 1 {
        texts.push(format!("sum {exact}"));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let keys = [
            LineKey::FixedFee,
            LineKey::Charge(1),
            LineKey::Charge(u16::MAX),
            LineKey::Discount(20),
            LineKey::Minimum,
            LineKey::Maximum,
        ];
        for key in keys {
            assert_eq!(LineKey::parse(&key.to_string()), Some(key));
        }
        for text in [
            "",
            "charge",
            "charge:",
            "charge:0",
            "charge:01",
            "charge:+1",
            "discount:0",
            "charge:65536",
            "minimum:1",
            "Minimum",
            "tier:1",
        ] {
            assert_eq!(LineKey::parse(text), None, "{text}");
        }
    }
}
