//! Case files: what finance expects of a plan, of periods and of usage days, kept as TOML.
//!
//! The format is described at the head of `config/plans/zkdpp-standard.cases.toml`. A case that
//! expects nothing is refused, because it could never fail. [`super::verdict`] runs the cases.

use billing::assignment::Timeline;
use billing::draft::Distinct;
use billing::line::LineKey;
use billing::period::{Period, Slot};
use billing::plan::Plan;
use billing::tax::Treatment;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::FILE_BYTES_MAX;
use format::CasesFile;
use reader::CaseReader;

mod format;
mod reader;

/// Most cases of a file.
pub const CASES_MAX: usize = 10_000;
/// Longest name of a case, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// Why a text is not a file of cases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it has {0} bytes, more than {FILE_BYTES_MAX}: split it")]
    TooLarge(usize),
    #[error("it is not TOML, or not of the form that cases have: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
    #[error(
        "it has {0} cases; write 1 to {CASES_MAX}, each as [[price]], [[period]] or [[usage_day]]"
    )]
    Count(usize),
}

/// The cases of a file, by kind and in their order.
#[derive(Clone, Debug)]
pub struct Cases {
    pub prices: Vec<PriceCase>,
    pub periods: Vec<PeriodCase>,
    pub usage_days: Vec<UsageDayCase>,
}

impl Cases {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.prices.len() + self.periods.len() + self.usage_days.len()
    }
}

/// What the usage of one period costs.
#[derive(Clone, Debug)]
pub struct PriceCase {
    pub name: String,
    pub plan: Plan,
    pub slot: Slot,
    pub usage: Vec<UsageCount>,
    pub distinct: Vec<Distinct>,
    pub tax: Option<Treatment>,
    /// All lines, if the case says them.
    pub lines: Option<Vec<ExpectedLine>>,
    pub net_total: Option<Decimal>,
    pub tax_total: Option<Decimal>,
    pub total: Option<Decimal>,
    /// Receipts that no charge takes.
    pub unpriced: u64,
}

/// Receipts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCount {
    /// `NAME@VERSION`; it was read once, so it can be read again.
    pub predicate: String,
    pub result: bool,
    pub has_product: bool,
    pub has_supplier: bool,
    pub receipts: u64,
}

/// A line as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedLine {
    pub key: LineKey,
    pub quantity: Option<u64>,
    pub amount: Decimal,
}

/// Which period a day is in.
#[derive(Clone, Debug)]
pub struct PeriodCase {
    pub name: String,
    /// Of one assignment, as a brand would have it.
    pub timeline: Timeline,
    pub day: NaiveDate,
    pub expected: Period,
}

/// Which usage day a moment falls on.
#[derive(Clone, Debug)]
pub struct UsageDayCase {
    pub name: String,
    pub instant: DateTime<Utc>,
    pub zone: Tz,
    pub expected: NaiveDate,
}

/// Reads a file of cases. `read` gives the text of a plan file that the cases name.
///
/// # Errors
/// What is wrong first, with its line.
pub fn parse(text: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Cases, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge(text.len()));
    }
    let file: CasesFile = toml::from_str(text).map_err(Box::new)?;
    let count = file.price.len() + file.period.len() + file.usage_day.len();
    if count == 0 || count > CASES_MAX {
        return Err(Error::Count(count));
    }
    let mut reader = CaseReader::new(text, read);
    let shared = file.plan.map(|plan| reader.plan(plan)).transpose()?;
    let prices = file.price.into_iter().map(|case| reader.price(case, shared.as_ref()));
    let prices = prices.collect::<Result<_, _>>()?;
    let periods = file.period.iter().map(|case| reader.period(case));
    let periods = periods.collect::<Result<_, _>>()?;
    let usage_days = file.usage_day.iter().map(|case| reader.usage_day(case));
    let usage_days = usage_days.collect::<Result<_, _>>()?;
    Ok(Cases { prices, periods, usage_days })
}

#[cfg(test)]
mod tests;
