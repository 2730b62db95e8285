//! Documents: what is frozen when an invoice, an adjustment or a credit note is issued.
//!
//! A document is plain data: everything that a reader must see and everything that it was computed
//! from. Its canonical JSON (RFC 8785) is its identity: the SHA-256 of these bytes is the document's
//! hash, and each document names the hash of the brand's previous one. [`Document::read`] takes
//! only canonical bytes, so reading and writing again always gives the same ones.
//!
//! Amounts on a credit note are what is given back: its lines and totals have the opposite sign of
//! what they do to the buyer's account, and its net total is not negative. [`check()`] is what EN
//! 16931 and our own rules want of a document, [`compose`] makes one from periods, [`credit`] one
//! from another document.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::currency::Currency;
use crate::hash::Hash;
use crate::line::LineKey;
use crate::money::Money;
use crate::tax::Category;

pub use check::{Refusal, Refused, check};
pub use snapshot::{Contact, ElectronicAddress, Party};

mod check;
pub mod compose;
pub mod credit;
mod snapshot;
pub(crate) mod text;

/// The version of the format; a field more or less is another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "prooftally.document/1")]
    V1,
}

/// What a document is in accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Invoice,
    CreditNote,
    /// An invoice of changes to billed periods alone.
    Adjustment,
}

/// Why a document was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// What periods owe; its lines are in `billed`.
    Periods,
    /// A favour, which changes nothing that was billed.
    Goodwill,
    /// All that another document charged and was not credited yet.
    Cancel,
}

/// A frozen document. Amounts are in `currency` and have exactly its decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: Format,
    pub kind: Kind,
    pub cause: Cause,
    /// The brand's id.
    pub brand: String,
    /// None while it is a draft, and on a document of zero, which takes no number by default.
    pub number: Option<String>,
    #[serde(with = "text")]
    pub currency: Currency,
    pub issue_date: NaiveDate,
    pub tax_point: NaiveDate,
    /// None on a credit note.
    pub due_date: Option<NaiveDate>,
    /// The IANA zone whose calendar gives the usage days.
    pub zone: String,
    pub issuer: Party,
    pub buyer: Party,
    /// The documents that this one corrects.
    pub references: Vec<Reference>,
    /// The periods behind the lines, oldest first.
    pub periods: Vec<PeriodEvidence>,
    pub lines: Vec<DocumentLine>,
    /// By category, then rate.
    pub tax_groups: Vec<TaxGroup>,
    #[serde(with = "text")]
    pub net_total: Decimal,
    #[serde(with = "text")]
    pub tax_total: Decimal,
    #[serde(with = "text")]
    pub total: Decimal,
    /// Why a credit was given or a document cancelled.
    pub note: Option<String>,
    /// What was overridden to finalize it.
    pub overrides: Vec<Override>,
    /// The version of the brand's billing state that it was computed from.
    pub billing_version: u64,
    /// The hash of the brand's previous document; None on its first.
    pub previous: Option<Hash>,
}

/// Another document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub number: String,
    pub issue_date: NaiveDate,
    pub hash: Hash,
}

/// A period, by what it was priced and taxed, and the ledger rows behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodEvidence {
    /// The first usage day.
    pub start: NaiveDate,
    /// The day after the last.
    pub end: NaiveDate,
    /// The whole period that it is cut from; the same unless it is a stub.
    pub whole_start: NaiveDate,
    pub whole_end: NaiveDate,
    pub plan: String,
    /// The id of the plan's version.
    pub plan_version: u64,
    pub tax: TaxTreatment,
    /// The last entry that an earlier document has seen of the period; 0 if there is none.
    pub after: u64,
    /// The last entry that this document has seen.
    pub cutoff: u64,
    /// Root of the tree over the period's entries above `after` and up to `cutoff`.
    pub root: Hash,
    /// Leaves of that tree.
    pub size: u64,
}

/// How lines are taxed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxTreatment {
    #[serde(with = "text")]
    pub category: Category,
    #[serde(with = "text")]
    pub rate_percent: Decimal,
    pub exemption: Option<String>,
}

/// A line of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentLine {
    /// From 1, without a hole.
    pub line: u32,
    /// The start of the period that it charges for.
    pub period: Option<NaiveDate>,
    /// What it stands for within that period.
    #[serde(with = "text::option")]
    pub key: Option<LineKey>,
    /// The line that it credits; then it has no key.
    pub credits: Option<CreditedLine>,
    pub label: String,
    /// What is counted: `receipts`, `distinct_products`, `distinct_suppliers`; None if nothing is.
    pub meter: Option<String>,
    /// Units, before free units; on an adjustment the difference.
    #[serde(with = "text")]
    pub quantity: i64,
    /// Receipts behind the quantity.
    #[serde(with = "text")]
    pub receipts: i64,
    /// If all units have the same price.
    #[serde(with = "text::option")]
    pub unit_price: Option<Decimal>,
    /// The steps of the price model, unrounded, for the whole period.
    pub steps: Vec<PriceStep>,
    /// The arithmetic in words, for the whole period.
    pub explanation: Vec<String>,
    /// What was billed for the key before and what is owed now, if the period was billed before.
    pub adjustment: Option<Adjustment>,
    #[serde(with = "text")]
    pub amount: Decimal,
    #[serde(with = "text")]
    pub tax_category: Category,
    #[serde(with = "text")]
    pub tax_rate_percent: Decimal,
}

/// Names a line of another document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditedLine {
    pub number: String,
    pub line: u32,
}

/// `units` x `unit_price` + `flat_fee` = `amount`; a unit is a package if there is a package size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceStep {
    pub tier: Option<u16>,
    #[serde(with = "text::option")]
    pub package_size: Option<u64>,
    #[serde(with = "text")]
    pub units: u64,
    #[serde(with = "text")]
    pub unit_price: Decimal,
    #[serde(with = "text")]
    pub flat_fee: Decimal,
    #[serde(with = "text")]
    pub amount: Decimal,
}

/// From what was billed to what is owed, as the buyer's account has it also on a credit note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    #[serde(with = "text")]
    pub billed_quantity: i64,
    #[serde(with = "text")]
    pub billed_amount: Decimal,
    #[serde(with = "text")]
    pub owed_quantity: i64,
    #[serde(with = "text")]
    pub owed_amount: Decimal,
}

/// The lines of one category and rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxGroup {
    #[serde(with = "text")]
    pub category: Category,
    #[serde(with = "text")]
    pub rate_percent: Decimal,
    /// Why no tax is due, each reason once.
    pub exemptions: Vec<String>,
    /// What earlier credit notes gave back of the same group of the same document. The tax of a
    /// credit is that of all credited so far, less this, so that rounding cannot add up.
    pub credited_before: Option<CreditedBefore>,
    #[serde(with = "text")]
    pub taxable: Decimal,
    #[serde(with = "text")]
    pub tax: Decimal,
}

/// What earlier credit notes gave back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditedBefore {
    #[serde(with = "text")]
    pub taxable: Decimal,
    #[serde(with = "text")]
    pub tax: Decimal,
}

/// A reason against finalizing that was overridden, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The reason's name, see [`crate::completeness::Reason`].
    pub reason: String,
    pub by: String,
    pub because: String,
}

/// What a document charged for one line key of one period: a row of `billed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The start of the period.
    pub period: NaiveDate,
    pub key: LineKey,
    pub quantity: i64,
    pub receipts: i64,
    pub amount: Money,
}

impl Document {
    /// The canonical bytes.
    ///
    /// # Errors
    /// If a whole number is above 2^53 - 1.
    pub fn to_bytes(&self) -> Result<Vec<u8>, canonical::Error> {
        canonical::write(self)
    }

    /// SHA-256 of the canonical bytes.
    ///
    /// # Errors
    /// As [`Document::to_bytes`].
    pub fn hash(&self) -> Result<Hash, canonical::Error> {
        Ok(Hash::of(&[&self.to_bytes()?]))
    }

    /// Reads a document from its canonical bytes.
    ///
    /// # Errors
    /// If they are not exactly what [`Document::to_bytes`] writes.
    pub fn read(bytes: &[u8]) -> Result<Self, canonical::Error> {
        canonical::read(bytes)
    }

    /// Where another document first differs, as a JSON pointer such as `/lines/2/amount`.
    ///
    /// # Errors
    /// As [`Document::to_bytes`].
    pub fn differs_at(&self, other: &Self) -> Result<Option<String>, canonical::Error> {
        Ok(canonical::difference(&serde_json::to_value(self)?, &serde_json::to_value(other)?))
    }

    /// 1, or -1 on a credit note: what an amount on it does to the buyer's account.
    pub fn sign(&self) -> i64 {
        if self.kind == Kind::CreditNote { -1 } else { 1 }
    }

    /// The rows that it adds to `billed`: none if it credits another document. `None` if an amount
    /// is not in whole minor units, which [`check()`] refuses.
    pub fn charged(&self) -> Option<Vec<Charged>> {
        let sign = self.sign();
        let keyed = self.lines.iter().filter_map(|line| Some((line, line.period?, line.key?)));
        keyed
            .map(|(line, period, key)| {
                let amount = Money::new(line.amount, self.currency)?;
                Some(Charged {
                    period,
                    key,
                    quantity: line.quantity.checked_mul(sign)?,
                    receipts: line.receipts.checked_mul(sign)?,
                    amount: if sign < 0 { amount.opposite() } else { amount },
                })
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
