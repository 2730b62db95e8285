//! Lines of drafts and previews, with the arithmetic behind each amount.

use billing::document::compose::price_step;
use billing::document::{Document, DocumentLine, PriceStep, TaxGroup};
use billing::line::{Arithmetic, Line};
use billing::tax::Group;
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Exact;

/// What is charged, or given back.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChargeLine {
    /// The first day of the period that it charges for.
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    /// `fixed_fee`, `charge:1`, `discount:1`, `minimum` or `maximum`.
    #[schema(example = "charge:1")]
    key: Option<String>,
    #[schema(example = "Certificates")]
    label: String,
    /// `receipts`, `distinct_products` or `distinct_suppliers`; null if nothing is counted.
    #[schema(example = "receipts")]
    meter: Option<String>,
    /// Units, before free units; of a period that was billed, the difference.
    #[schema(example = "1200")]
    quantity: Exact,
    /// Receipts behind the quantity.
    #[schema(example = "1200")]
    receipts: Exact,
    /// If all units have the same price.
    #[schema(example = "0.05")]
    unit_price: Option<Exact>,
    /// The steps of the price model, unrounded, for the whole period.
    steps: Vec<ChargeStep>,
    /// The arithmetic in words, for the whole period.
    #[schema(example = json!(["1200 x 0.05 = 60.00"]))]
    explanation: Vec<String>,
    /// What was billed of it before, if the period was billed before.
    #[schema(example = "55.00")]
    billed_before: Option<Exact>,
    #[schema(example = "60.00")]
    amount: Exact,
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT.
    #[schema(example = "S")]
    tax_category: Option<String>,
    #[schema(example = "19")]
    tax_rate_percent: Option<Exact>,
}

/// `units` x `unit_price` + `flat_fee` = `amount`; a unit is a package if there is a package size.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChargeStep {
    #[schema(example = 1)]
    tier: Option<u16>,
    #[schema(example = "50")]
    package_size: Option<Exact>,
    #[schema(example = "1200")]
    units: Exact,
    #[schema(example = "0.05")]
    unit_price: Exact,
    #[schema(example = "0.00")]
    flat_fee: Exact,
    #[schema(example = "60.00")]
    amount: Exact,
}

/// Tax of one category and rate.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaxShare {
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT.
    #[schema(example = "S")]
    category: String,
    #[schema(example = "19")]
    rate_percent: Exact,
    #[schema(example = "60.00")]
    taxable: Exact,
    #[schema(example = "11.40")]
    tax: Exact,
    /// Why none is due.
    #[schema(example = json!([]))]
    exemptions: Vec<String>,
}

impl ChargeLine {
    /// The lines of a document, in its order.
    pub fn all_of(document: &Document) -> Vec<Self> {
        let code = document.currency.code();
        document.lines.iter().map(|line| Self::drafted(line, code)).collect()
    }

    fn drafted(line: &DocumentLine, currency: &str) -> Self {
        Self {
            period_start: line.period,
            key: line.key.map(|key| key.to_string()),
            label: line.label.clone(),
            meter: line.meter.clone(),
            quantity: line.quantity.into(),
            receipts: line.receipts.into(),
            unit_price: line.unit_price.map(Exact::from),
            steps: line.steps.iter().map(|step| ChargeStep::of(step, currency)).collect(),
            explanation: line.explanation.clone(),
            billed_before: line
                .adjustment
                .as_ref()
                .map(|one| Exact::money(one.billed_amount, currency)),
            amount: Exact::money(line.amount, currency),
            tax_category: Some(line.tax_category.code().to_owned()),
            tax_rate_percent: Some(line.tax_rate_percent.into()),
        }
    }

    /// A line of a period that is previewed; its tax is on the whole.
    pub fn of(line: &Line, period_start: NaiveDate) -> Self {
        let metered = match &line.arithmetic {
            Arithmetic::Metered { meter, steps, .. } => Some((meter, steps)),
            _ => None,
        };
        let steps = metered.into_iter().flat_map(|(_, steps)| steps);
        let code = line.amount.currency().code();
        Self {
            period_start: Some(period_start),
            key: Some(line.key.to_string()),
            label: line.label.clone(),
            meter: metered.map(|(meter, _)| meter.as_str().to_owned()),
            quantity: line.quantity.into(),
            receipts: line.receipts.into(),
            unit_price: None,
            steps: steps.map(|step| ChargeStep::of(&price_step(step), code)).collect(),
            explanation: line.arithmetic.explain(),
            billed_before: None,
            amount: line.amount.into(),
            tax_category: None,
            tax_rate_percent: None,
        }
    }
}

impl ChargeStep {
    /// Its amounts are unrounded, so they may have more digits than the currency, and never fewer.
    fn of(step: &PriceStep, currency: &str) -> Self {
        Self {
            tier: step.tier,
            package_size: step.package_size.map(Exact::from),
            units: step.units.into(),
            unit_price: step.unit_price.into(),
            flat_fee: Exact::money(step.flat_fee, currency),
            amount: Exact::money(step.amount, currency),
        }
    }
}

impl TaxShare {
    /// The taxes of a document, in its order.
    pub fn all_of(document: &Document) -> Vec<Self> {
        let code = document.currency.code();
        document.tax_groups.iter().map(|group| Self::drafted(group, code)).collect()
    }

    fn drafted(group: &TaxGroup, currency: &str) -> Self {
        Self {
            category: group.category.code().to_owned(),
            rate_percent: group.rate_percent.into(),
            taxable: Exact::money(group.taxable, currency),
            tax: Exact::money(group.tax, currency),
            exemptions: group.exemptions.clone(),
        }
    }
}

impl From<&Group> for TaxShare {
    fn from(group: &Group) -> Self {
        Self {
            category: group.category.code().to_owned(),
            rate_percent: group.rate_percent.into(),
            taxable: group.taxable.into(),
            tax: group.tax.into(),
            exemptions: group.exemptions.iter().cloned().collect(),
        }
    }
}
