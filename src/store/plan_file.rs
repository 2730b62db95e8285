//! Plan files: TOML text becomes a checked plan.
//!
//! The format is described at the head of `config/plans/zkdpp-standard.toml`. Amounts are texts in
//! quotes, so no float ever stands between the file and the exact decimal. What has a wrong type or
//! an unknown key is reported with its line; what cannot be priced, with the charge.

use std::fmt;

use billing::currency::Currency;
use billing::period::Cadence;
use billing::plan::{
    Charge, Discount, Meter, Model, Plan, Reduction, Refused, Results, Selector, Terms, Tier,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

pub mod cases;
pub mod changes;
pub mod folder;
pub mod verdict;

/// Longest plan file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Why a text is not a plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the plan file has {0} bytes, more than {FILE_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the plan file cannot be read: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Reads a plan file.
///
/// # Errors
/// If it is not TOML, has an unknown key or a wrong type (with the line), or cannot be priced (all
/// that is wrong, with the charge).
pub fn parse(text: &str) -> Result<Plan, Error> {
    Ok(Plan::new(terms(text)?)?)
}

/// Reads the text of a version that was applied, as [`Plan::stored`] takes it.
///
/// # Errors
/// As [`parse`].
pub fn stored(text: &str) -> Result<Plan, Error> {
    Ok(Plan::stored(terms(text)?)?)
}

fn terms(text: &str) -> Result<Terms, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge(text.len()));
    }
    let file: PlanFile = toml::from_str(text).map_err(Box::new)?;
    Reader { text }.terms(file)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    name: String,
    currency: Spanned<String>,
    cadence: Spanned<String>,
    fixed_fee: Option<Amount>,
    minimum: Option<Amount>,
    maximum: Option<Amount>,
    #[serde(default)]
    charge: Vec<ChargeFile>,
    #[serde(default)]
    discount: Vec<Spanned<DiscountFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeFile {
    name: String,
    predicate: Spanned<String>,
    result: Option<Spanned<String>>,
    meter: Option<Spanned<String>>,
    #[serde(default)]
    free_units: Units,
    model: Spanned<String>,
    unit_price: Option<Amount>,
    tiers: Option<Vec<TierFile>>,
    package_size: Option<Units>,
    package_price: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierFile {
    up_to: Option<Units>,
    unit_price: Amount,
    flat_fee: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscountFile {
    name: String,
    percent: Option<Amount>,
    amount: Option<Amount>,
}

/// A decimal in quotes, read exactly.
struct Amount(Decimal);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount in quotes, for example \"0.05\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        // Only digits with one point and an optional minus: no exponent, no underscore, no sign
        // `+`.
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
            && !text.starts_with('.')
            && !text.ends_with('.');
        let amount = Decimal::from_str_exact(text).ok().filter(|_| plain);
        amount.map(Amount).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A number of units.
#[derive(Default)]
struct Units(u64);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(UnitsVisitor)
    }
}

struct UnitsVisitor;

impl Visitor<'_> for UnitsVisitor {
    type Value = Units;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of units, 0 or more")
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Units, E> {
        Ok(Units(units))
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Units, E> {
        let whole = u64::try_from(units).map(Units);
        whole.map_err(|_| E::invalid_value(de::Unexpected::Signed(units), &self))
    }
}

/// Turns what serde read into terms; keeps the text to say on which line something is wrong.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn terms(&self, file: PlanFile) -> Result<Terms, Error> {
        let currency = self.named(&file.currency, Currency::from_code, || {
            "an active ISO 4217 code with minor units".to_owned()
        })?;
        let cadence = self
            .named(&file.cadence, Cadence::from_name, || list(Cadence::ALL.map(Cadence::as_str)))?;
        let charges = file.charge.into_iter().map(|charge| self.charge(charge));
        let discounts = file.discount.into_iter().map(|discount| self.discount(discount));
        Ok(Terms {
            name: file.name,
            currency,
            cadence,
            fixed_fee: file.fixed_fee.map(|amount| amount.0),
            charges: charges.collect::<Result<_, _>>()?,
            discounts: discounts.collect::<Result<_, _>>()?,
            minimum: file.minimum.map(|amount| amount.0),
            maximum: file.maximum.map(|amount| amount.0),
        })
    }

    fn charge(&self, charge: ChargeFile) -> Result<Charge, Error> {
        let results = match &charge.result {
            None => Results::Any,
            Some(name) => {
                self.named(name, Results::from_name, || list(Results::ALL.map(Results::as_str)))?
            }
        };
        let meter = match &charge.meter {
            None => Meter::Receipts,
            Some(name) => {
                self.named(name, Meter::from_name, || list(Meter::ALL.map(Meter::as_str)))?
            }
        };
        let selector = Selector::parse(charge.predicate.get_ref(), results)
            .map_err(|error| self.wrong(&charge.predicate, error.to_string()))?;
        let model = self.model(&charge)?;
        let ChargeFile { name, free_units, .. } = charge;
        Ok(Charge { name, selector, meter, free_units: free_units.0, model })
    }

    /// The model, from the keys that belong to it; a key of another model is refused, not ignored.
    fn model(&self, charge: &ChargeFile) -> Result<Model, Error> {
        let ChargeFile { model, unit_price, tiers, package_size, package_price, .. } = charge;
        match (model.get_ref().as_str(), unit_price, tiers, package_size, package_price) {
            ("per_unit", Some(price), None, None, None) => {
                Ok(Model::PerUnit { unit_price: price.0 })
            }
            ("graduated", None, Some(tiers), None, None) => Ok(Model::Graduated(rows(tiers))),
            ("volume", None, Some(tiers), None, None) => Ok(Model::Volume(rows(tiers))),
            ("package", None, None, Some(size), Some(price)) => {
                Ok(Model::Package { size: size.0, price: price.0 })
            }
            ("per_unit", ..) => Err(self.keys(model, "unit_price")),
            ("graduated" | "volume", ..) => Err(self.keys(model, "tiers")),
            ("package", ..) => Err(self.keys(model, "package_size and package_price")),
            (other, ..) => {
                let why = "is not one of per_unit, graduated, volume, package";
                Err(self.wrong(model, format!("`{other}` {why}")))
            }
        }
    }

    fn keys(&self, model: &Spanned<String>, keys: &str) -> Error {
        let why = format!("a price by `{}` needs {keys} and nothing else", model.get_ref());
        self.wrong(model, why)
    }

    fn discount(&self, discount: Spanned<DiscountFile>) -> Result<Discount, Error> {
        let reduction = match (&discount.get_ref().percent, &discount.get_ref().amount) {
            (Some(percent), None) => Reduction::Percent(percent.0),
            (None, Some(amount)) => Reduction::Absolute(amount.0),
            _ => {
                let why = "a discount has either percent or amount".to_owned();
                return Err(self.wrong(&discount, why));
            }
        };
        Ok(Discount { name: discount.into_inner().name, reduction })
    }

    fn named<T>(
        &self,
        name: &Spanned<String>,
        find: impl FnOnce(&str) -> Option<T>,
        expected: impl FnOnce() -> String,
    ) -> Result<T, Error> {
        find(name.get_ref())
            .ok_or_else(|| self.wrong(name, format!("`{}` is not {}", name.get_ref(), expected())))
    }

    fn wrong<T>(&self, place: &Spanned<T>, why: String) -> Error {
        Error::Line { line: self.line(place), why }
    }

    /// The line, from 1, on which `place` begins.
    fn line<T>(&self, place: &Spanned<T>) -> usize {
        let before = self.text.get(..place.span().start).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

fn rows(tiers: &[TierFile]) -> Vec<Tier> {
    tiers
        .iter()
        .map(|tier| Tier {
            up_to: tier.up_to.as_ref().map(|units| units.0),
            unit_price: tier.unit_price.0,
            flat_fee: tier.flat_fee.as_ref().map_or(Decimal::ZERO, |fee| fee.0),
        })
        .collect()
}

fn list<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests;
