//! What a version of a plan says, as JSON.

use billing::plan::{Charge, Discount, Model, Plan, Reduction, Tier};
use serde::Serialize;
use utoipa::ToSchema;

use super::amount::Exact;

/// What a plan charges. A term that it does not have is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanTerms {
    #[schema(example = "EUR")]
    currency: String,
    /// `weekly`, `monthly`, `quarterly`, `semi_annual` or `annual`.
    #[schema(example = "monthly")]
    cadence: String,
    /// For each period.
    #[schema(example = "99.00")]
    fixed_fee: Option<Exact>,
    /// In order: the first one that matches takes the usage.
    charges: Vec<PlanCharge>,
    /// In order.
    discounts: Vec<PlanDiscount>,
    /// Of fixed fee and discounted charges, for each period.
    #[schema(example = "200.00")]
    minimum: Option<Exact>,
    #[schema(example = "5000.00")]
    maximum: Option<Exact>,
}

/// A charge of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanCharge {
    /// The label of its line.
    #[schema(example = "Certificates")]
    name: String,
    /// Which predicates it takes; `*` is any.
    #[schema(example = "CERT_VALID@V1")]
    predicate: String,
    /// `any`, `true` or `false`.
    #[schema(example = "any")]
    result: String,
    /// `receipts`, `distinct_products` or `distinct_suppliers`.
    #[schema(example = "receipts")]
    meter: String,
    /// Units that cost nothing.
    #[schema(example = "100")]
    free_units: Exact,
    /// `per_unit`, `graduated`, `volume` or `package`.
    #[schema(example = "per_unit")]
    model: String,
    /// Of `per_unit`.
    #[schema(example = "0.03")]
    unit_price: Option<Exact>,
    /// Of `graduated` and `volume`.
    tiers: Option<Vec<PlanTier>>,
    /// Of `package`.
    #[schema(example = json!(null))]
    package_size: Option<Exact>,
    #[schema(example = json!(null))]
    package_price: Option<Exact>,
}

/// A tier, which begins after the one before it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanTier {
    /// Its last unit; null for the last tier, which is open.
    #[schema(example = "1000")]
    up_to: Option<Exact>,
    #[schema(example = "0.03")]
    unit_price: Exact,
    /// Due once if the tier is reached.
    #[schema(example = "0.00")]
    flat_fee: Exact,
}

/// Taken off the charges: either a part or an amount.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanDiscount {
    #[schema(example = "Partner")]
    name: String,
    #[schema(example = "10")]
    percent: Option<Exact>,
    #[schema(example = json!(null))]
    amount: Option<Exact>,
}

impl From<&Plan> for PlanTerms {
    fn from(plan: &Plan) -> Self {
        let terms = plan.terms();
        let code = terms.currency.code();
        let money = |amount| Exact::money(amount, code);
        Self {
            currency: code.to_owned(),
            cadence: terms.cadence.as_str().to_owned(),
            fixed_fee: terms.fixed_fee.map(money),
            charges: terms.charges.iter().map(|charge| PlanCharge::of(charge, code)).collect(),
            discounts: terms
                .discounts
                .iter()
                .map(|discount| PlanDiscount::of(discount, code))
                .collect(),
            minimum: terms.minimum.map(money),
            maximum: terms.maximum.map(money),
        }
    }
}

impl PlanCharge {
    fn of(charge: &Charge, currency: &str) -> Self {
        let Charge { name, selector, meter, free_units, model } = charge;
        let mut found = Self {
            name: name.clone(),
            predicate: selector.to_string(),
            result: selector.results().as_str().to_owned(),
            meter: meter.as_str().to_owned(),
            free_units: (*free_units).into(),
            model: model.as_str().to_owned(),
            unit_price: None,
            tiers: None,
            package_size: None,
            package_price: None,
        };
        match model {
            Model::PerUnit { unit_price } => found.unit_price = Some((*unit_price).into()),
            Model::Graduated(tiers) | Model::Volume(tiers) => {
                found.tiers = Some(tiers.iter().map(|tier| PlanTier::of(tier, currency)).collect());
            }
            Model::Package { size, price } => {
                found.package_size = Some((*size).into());
                found.package_price = Some((*price).into());
            }
        }
        found
    }
}

impl PlanTier {
    fn of(tier: &Tier, currency: &str) -> Self {
        let Tier { up_to, unit_price, flat_fee } = *tier;
        Self {
            up_to: up_to.map(Exact::from),
            unit_price: unit_price.into(),
            flat_fee: Exact::money(flat_fee, currency),
        }
    }
}

impl PlanDiscount {
    fn of(discount: &Discount, currency: &str) -> Self {
        let (percent, amount) = match discount.reduction {
            Reduction::Percent(percent) => (Some(percent.into()), None),
            Reduction::Absolute(amount) => (None, Some(Exact::money(amount, currency))),
        };
        Self { name: discount.name.clone(), percent, amount }
    }
}
