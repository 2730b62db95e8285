//! Plans: what a brand pays. A [`Plan`] that exists can be priced.
//!
//! [`Plan::new`] is the way to one; it refuses whole lists of [`Fault`]s, each with its place
//! and reason. Charges stand in order: the first whose selector matches takes the usage.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use rust_decimal::Decimal;

use crate::currency::Currency;
use crate::ids::Predicate;
use crate::period::Cadence;

pub use selector::{Results, Selector, SelectorError};

mod check;
mod selector;

/// Most charges of a plan.
pub const CHARGES_MAX: usize = 100;
/// Most tiers of a charge.
pub const TIERS_MAX: usize = 100;
/// Most discounts of a plan.
pub const DISCOUNTS_MAX: usize = 20;
/// Most decimals of a unit price, a package price, a flat fee or a percentage.
pub const DECIMALS_MAX: u32 = 10;
/// No price or amount of a plan reaches this.
pub const AMOUNT_MAX: Decimal = Decimal::from_parts(0xd4a5_1000, 0xe8, 0, false, 0);
/// Longest name of a charge or discount, in characters.
pub const LABEL_CHARS_MAX: usize = 100;

/// What a plan says, not yet checked. Amounts are in the plan's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    pub currency: Currency,
    pub cadence: Cadence,
    /// Per period; in whole minor units, as are minimum and maximum.
    pub fixed_fee: Option<Decimal>,
    pub charges: Vec<Charge>,
    /// Percentages first, then absolute amounts.
    pub discounts: Vec<Discount>,
    /// Least net amount of a period, over fixed fee and discounted charges.
    pub minimum: Option<Decimal>,
    /// Greatest net amount of a period, over the same.
    pub maximum: Option<Decimal>,
}

/// A checked plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    terms: Terms,
}

/// What is metered, how, and at which price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The label of its line; unique within the plan.
    pub name: String,
    pub selector: Selector,
    pub meter: Meter,
    /// Units that cost nothing, taken off before the price model sees the quantity; not prorated.
    pub free_units: u64,
    pub model: Model,
}

/// What a charge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    Receipts,
    /// Takes only receipts that carry a product.
    DistinctProducts,
    /// Takes only receipts that carry a supplier.
    DistinctSuppliers,
}

impl Meter {
    pub const ALL: [Meter; 3] =
        [Meter::Receipts, Meter::DistinctProducts, Meter::DistinctSuppliers];

    /// The name in plan files, tables and on lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Meter::Receipts => "receipts",
            Meter::DistinctProducts => "distinct_products",
            Meter::DistinctSuppliers => "distinct_suppliers",
        }
    }

    /// Finds a meter by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.as_str() == name)
    }

    fn takes(self, kind: &UsageKind<'_>) -> bool {
        match self {
            Meter::Receipts => true,
            Meter::DistinctProducts => kind.has_product,
            Meter::DistinctSuppliers => kind.has_supplier,
        }
    }
}

/// How a quantity becomes an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Each unit at one price.
    PerUnit { unit_price: Decimal },
    /// Each unit at the price of the tier that it falls into, plus the flat fee of each tier
    /// reached.
    Graduated(Vec<Tier>),
    /// All units at the price of the tier that the quantity falls into, plus its flat fee.
    Volume(Vec<Tier>),
    /// Each package that is begun at one price.
    Package { size: u64, price: Decimal },
}

impl Model {
    /// The name in plan files.
    pub fn as_str(&self) -> &'static str {
        match self {
            Model::PerUnit { .. } => "per_unit",
            Model::Graduated(_) => "graduated",
            Model::Volume(_) => "volume",
            Model::Package { .. } => "package",
        }
    }
}

/// A tier is bounded above, inclusively; it begins after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its last unit; `None` for the last tier, which is open.
    pub up_to: Option<u64>,
    pub unit_price: Decimal,
    /// Due once if the tier is reached; the first tier's is due at zero usage too.
    pub flat_fee: Decimal,
}

/// Taken off the charges, never off the fixed fee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discount {
    /// The label of its line.
    pub name: String,
    pub reduction: Reduction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Of what the discounts before it left; above 0, at most 100.
    Percent(Decimal),
    /// In whole minor units; takes at most what is left.
    Absolute(Decimal),
}

/// What tells one unit of usage from another for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKind<'a> {
    pub predicate: Predicate<'a>,
    /// The billed result.
    pub result: bool,
    /// Whether the receipts carry a product. It matters only to plans that count distinct products;
    /// others may be given `true`.
    pub has_product: bool,
    /// The same of the supplier.
    pub has_supplier: bool,
}

/// Where a plan is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For example `charge 2 "Certificates", tier 3`.
    pub at: String,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// All that is wrong with a plan, in the order of its parts; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan cannot be priced: {}", joined(.0))]
pub struct Refused(pub Vec<Fault>);

fn joined(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

impl Plan {
    /// Checks `terms`.
    ///
    /// # Errors
    /// Everything in them that cannot be priced.
    pub fn new(terms: Terms) -> Result<Self, Refused> {
        let plan = Self::stored(terms)?;
        let faults = check::labels(&plan.terms);
        if faults.is_empty() { Ok(plan) } else { Err(Refused(faults)) }
    }

    /// As [`Plan::new`], of terms that were checked when they were applied. Labels of before it was asked whether
    /// they are what they look like are taken as they are.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn stored(terms: Terms) -> Result<Self, Refused> {
        let faults = check::faults(&terms);
        if faults.is_empty() { Ok(Self { terms }) } else { Err(Refused(faults)) }
    }

    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The number, from 1, of the charge that takes usage of `kind`; `None` if it is unpriced.
    pub fn charge_for(&self, kind: &UsageKind<'_>) -> Option<u16> {
        self.numbered_charges()
            .find(|(_, charge)| charge.selector.matches(kind) && charge.meter.takes(kind))
            .map(|(number, _)| number)
    }

    /// The charges with their numbers from 1, as line keys have them.
    pub fn numbered_charges(&self) -> impl Iterator<Item = (u16, &Charge)> {
        (1..).zip(&self.terms.charges)
    }

    /// The discounts with their numbers from 1.
    pub fn numbered_discounts(&self) -> impl Iterator<Item = (u16, &Discount)> {
        (1..).zip(&self.terms.discounts)
    }
}

#[cfg(test)]
mod tests;
