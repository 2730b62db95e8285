//! The form of a case file, as serde reads it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use crate::store::plan_file::{Amount, PlanFile};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesFile {
    pub plan: Option<Spanned<PlanSource>>,
    #[serde(default)]
    pub price: Vec<Spanned<PriceFile>>,
    #[serde(default)]
    pub period: Vec<PeriodFile>,
    #[serde(default)]
    pub usage_day: Vec<UsageDayFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceFile {
    pub case: Spanned<String>,
    pub plan: Option<Spanned<PlanSource>>,
    pub anchor: Option<Spanned<toml::Value>>,
    pub first_day: Spanned<toml::Value>,
    pub last_day: Option<Spanned<toml::Value>>,
    #[serde(default)]
    pub usage: Vec<UsageFile>,
    #[serde(default)]
    pub distinct: Vec<DistinctFile>,
    pub tax: Option<Spanned<TaxFile>>,
    pub lines: Option<Vec<LineFile>>,
    pub net_total: Option<Amount>,
    pub tax_total: Option<Spanned<Amount>>,
    pub total: Option<Spanned<Amount>>,
    #[serde(default)]
    pub unpriced: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageFile {
    pub predicate: Spanned<String>,
    #[serde(default = "yes")]
    pub result: bool,
    #[serde(default = "yes")]
    pub product: bool,
    #[serde(default = "yes")]
    pub supplier: bool,
    pub receipts: u64,
}

/// What a receipt is taken to have where the case does not say: a true result, a product, a supplier.
fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DistinctFile {
    pub charge: Spanned<u16>,
    pub values: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaxFile {
    pub category: Spanned<String>,
    pub rate_percent: Amount,
    pub exemption: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineFile {
    pub key: Spanned<String>,
    pub quantity: Option<u64>,
    pub amount: Amount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeriodFile {
    pub case: Spanned<String>,
    pub cadence: Spanned<String>,
    pub anchor: Option<Spanned<toml::Value>>,
    pub assigned_from: Option<Spanned<toml::Value>>,
    pub assigned_until: Option<Spanned<toml::Value>>,
    pub day: Spanned<toml::Value>,
    pub first_day: Spanned<toml::Value>,
    pub last_day: Spanned<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageDayFile {
    pub case: Spanned<String>,
    pub instant: Spanned<toml::Value>,
    pub zone: Spanned<String>,
    pub usage_day: Spanned<toml::Value>,
}

/// The path of a plan file, or a plan where it stands.
pub(super) enum PlanSource {
    Path(String),
    Inline(Box<PlanFile>),
}

impl<'de> Deserialize<'de> for PlanSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enum: that would lose the places of the plan's values.
        deserializer.deserialize_any(PlanVisitor)
    }
}

struct PlanVisitor;

impl<'de> Visitor<'de> for PlanVisitor {
    type Value = PlanSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path of a plan file, or a table with a plan")
    }

    fn visit_str<E>(self, path: &str) -> Result<PlanSource, E> {
        Ok(PlanSource::Path(path.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PlanSource, A::Error> {
        PlanFile::deserialize(MapAccessDeserializer::new(map))
            .map(|plan| PlanSource::Inline(Box::new(plan)))
    }
}
