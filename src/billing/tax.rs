//! Value-added tax: one group for each (category, rate), taxed on the sum of its lines.
//!
//! Categories are those of EN 16931. Tax is never computed on a line, so it is rounded once a
//! group.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::currency::Currency;
use crate::exact::{self, Overflow};
use crate::money::{self, Money};

/// Most decimals of a rate.
pub const RATE_DECIMALS_MAX: u32 = 4;

/// A VAT category code of EN 16931 (UNCL 5305).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// S: standard or reduced rate.
    Standard,
    /// Z: zero rated.
    Zero,
    /// E: exempt.
    Exempt,
    /// AE: the buyer owes the tax (reverse charge).
    ReverseCharge,
    /// O: outside the scope of VAT.
    OutOfScope,
}

impl Category {
    pub const ALL: [Category; 5] = [
        Category::Standard,
        Category::Zero,
        Category::Exempt,
        Category::ReverseCharge,
        Category::OutOfScope,
    ];

    /// The code on invoices and in tables.
    pub fn code(self) -> &'static str {
        match self {
            Category::Standard => "S",
            Category::Zero => "Z",
            Category::Exempt => "E",
            Category::ReverseCharge => "AE",
            Category::OutOfScope => "O",
        }
    }

    /// Finds a category by its code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.code() == code)
    }

    /// True if an invoice must say why no tax is due.
    fn needs_reason(self) -> bool {
        matches!(self, Category::Exempt | Category::ReverseCharge | Category::OutOfScope)
    }
}

/// How a line is taxed; one that exists is consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    category: Category,
    rate_percent: Decimal,
    exemption: Option<String>,
}

/// Why there is no such treatment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreatmentError {
    #[error("category S needs a rate above 0 and at most 100 %, not {0}")]
    StandardRate(Decimal),
    #[error("category {category} has a rate of 0 %, not {rate_percent}")]
    RateNotZero { category: &'static str, rate_percent: Decimal },
    #[error("the rate {0} has more than {RATE_DECIMALS_MAX} decimals")]
    RateDecimals(Decimal),
    #[error("category {0} needs an exemption text that says why no tax is due")]
    ExemptionMissing(&'static str),
    #[error("category {0} takes no exemption text")]
    ExemptionNotAllowed(&'static str),
}

impl Treatment {
    /// Checks category, rate (in percent, for example 19) and exemption text against each other.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn new(
        category: Category,
        rate_percent: Decimal,
        exemption: Option<String>,
    ) -> Result<Self, TreatmentError> {
        let rate_percent = rate_percent.normalize();
        let code = category.code();
        if category == Category::Standard {
            if rate_percent <= Decimal::ZERO || rate_percent > Decimal::ONE_HUNDRED {
                return Err(TreatmentError::StandardRate(rate_percent));
            }
        } else if !rate_percent.is_zero() {
            return Err(TreatmentError::RateNotZero { category: code, rate_percent });
        }
        if rate_percent.scale() > RATE_DECIMALS_MAX {
            return Err(TreatmentError::RateDecimals(rate_percent));
        }
        let exemption = exemption.filter(|text| !text.trim().is_empty());
        match (category.needs_reason(), &exemption) {
            (true, None) => Err(TreatmentError::ExemptionMissing(code)),
            (false, Some(_)) => Err(TreatmentError::ExemptionNotAllowed(code)),
            _ => Ok(Self { category, rate_percent, exemption }),
        }
    }

    pub fn category(&self) -> Category {
        self.category
    }

    /// In percent, without trailing zeros.
    pub fn rate_percent(&self) -> Decimal {
        self.rate_percent
    }

    pub fn exemption(&self) -> Option<&str> {
        self.exemption.as_deref()
    }
}

/// A treatment from a day on, until the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    pub from: NaiveDate,
    pub treatment: Treatment,
}

/// The treatment in force on `day`, of versions in any order; of two from the same day the one that
/// comes later in `versions`. `None` before the first.
pub fn in_force(versions: &[Dated], day: NaiveDate) -> Option<&Treatment> {
    let begun = versions.iter().filter(|version| version.from <= day);
    begun.max_by_key(|version| version.from).map(|version| &version.treatment)
}

/// All lines of one category and rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub category: Category,
    pub rate_percent: Decimal,
    /// The exemption texts of its lines, each once.
    pub exemptions: BTreeSet<String>,
    /// Sum of the lines.
    pub taxable: Money,
    /// `rate_percent` of `taxable`, rounded half-up.
    pub tax: Money,
}

/// The tax of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// By category, then rate.
    pub groups: Vec<Group>,
    /// Sum of the groups' taxes.
    pub tax: Money,
    /// Net total + tax.
    pub total: Money,
}

/// Why lines cannot be taxed together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("lines outside the scope of VAT (O) and others cannot stand on one document")]
    OutOfScopeMixed,
    #[error(transparent)]
    Money(#[from] money::Error),
}

impl From<Overflow> for Error {
    fn from(overflow: Overflow) -> Self {
        Self::Money(overflow.into())
    }
}

/// Groups the lines' amounts by their treatment and taxes each group.
///
/// # Errors
/// If currencies or category O are mixed, or a sum does not fit.
pub fn totals<'a>(
    currency: Currency,
    lines: impl IntoIterator<Item = (Money, &'a Treatment)>,
) -> Result<Totals, Error> {
    let mut sums: BTreeMap<(Category, Decimal), (Money, BTreeSet<String>)> = BTreeMap::new();
    for (amount, treatment) in lines {
        let (sum, exemptions) = sums
            .entry((treatment.category, treatment.rate_percent))
            .or_insert_with(|| (Money::zero(currency), BTreeSet::new()));
        *sum = sum.plus(amount)?;
        exemptions.extend(treatment.exemption.clone());
    }
    let out_of_scope = sums.keys().any(|(category, _)| *category == Category::OutOfScope);
    if out_of_scope && sums.len() > 1 {
        return Err(Error::OutOfScopeMixed);
    }
    let mut groups = Vec::with_capacity(sums.len());
    for ((category, rate_percent), (taxable, exemptions)) in sums {
        let tax = percent_of(rate_percent, taxable)?;
        groups.push(Group { category, rate_percent, exemptions, taxable, tax });
    }
    let net = money::sum(currency, groups.iter().map(|group| group.taxable))?;
    let tax = money::sum(currency, groups.iter().map(|group| group.tax))?;
    Ok(Totals { groups, tax, total: net.plus(tax)? })
}

/// `percent` % of `amount`, rounded half-up.
///
/// # Errors
/// If it does not fit.
pub fn percent_of(percent: Decimal, amount: Money) -> Result<Money, Overflow> {
    let exact = exact::multiply(percent, amount.amount())?;
    Money::share_half_up(exact, 1, 100, amount.currency())
}

#[cfg(test)]
mod tests;
