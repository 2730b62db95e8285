//! Credit notes that credit lines of another document: a favour, or a cancellation of all that was
//! not credited yet.
//!
//! No line is credited beyond its amount, and no (category, rate) beyond its sum, so a discount
//! bounds what can be credited of the charges that it was on. The tax of a credit is the tax of all
//! credited so far less the tax already credited, so the last credit gives back the last cent.
//! Neither credit is in `billed` by itself: a favour changes nothing that was billed, and a
//! cancellation adds the opposites of what the cancelled document charged
//! ([`crate::billed::opposites`]).
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{
    Cause, CreditedBefore, CreditedLine, Document, DocumentLine, Format, Kind, Reference, TaxGroup,
};
use crate::currency::Currency;
use crate::hash::Hash;
use crate::money::{self, Money};
use crate::tax::{self, Category};

/// What is credited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amounts {
    /// Net amounts by line, as a favour.
    Goodwill(Vec<(u32, Money)>),
    /// All that was not credited yet.
    Cancel,
}

/// What a credit note is made of besides the document that it credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    pub issue_date: NaiveDate,
    /// Why; it stands on the credit note.
    pub note: &'a str,
    pub billing_version: u64,
    pub previous: Option<Hash>,
}

/// Why a credit is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a credit note, or a document without a number, cannot be credited")]
    NotCreditable,
    #[error("{number} is not a credit note that credits {of}")]
    NotACredit { number: String, of: String },
    #[error("{of} has no line {line}")]
    UnknownLine { of: String, line: u32 },
    #[error("line {line} is named twice; say its credit in one amount")]
    LineTwice { line: u32 },
    #[error("line {line} of {amount}: {credited} is credited, so {more} more is not possible")]
    MoreThanLine { line: u32, amount: Money, credited: Money, more: Money },
    #[error(
        "tax {group}: the lines sum to {sum}, and {credited} of them would be credited; discounts \
         count too"
    )]
    MoreThanGroup { group: String, sum: Money, credited: Money },
    #[error("nothing is left to credit")]
    Nothing,
    #[error("{at} is not in whole minor units, so the document was never issued like this")]
    Decimals { at: String },
    #[error(transparent)]
    Money(#[from] money::Error),
    #[error(transparent)]
    Canonical(#[from] crate::canonical::Error),
}

/// What earlier credit notes gave back of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credited {
    /// Net, by line.
    pub lines: BTreeMap<u32, Money>,
    groups: BTreeMap<(Category, Decimal), (Money, Money)>,
}

impl Credited {
    /// Sums up `notes`: all credit notes of `document` that are not voided.
    ///
    /// # Errors
    /// If one of them credits something else.
    pub fn new(document: &Document, notes: &[Document]) -> Result<Self, Error> {
        let of = number(document)?;
        let zero = Money::zero(document.currency);
        let mut credited = Self::default();
        for note in notes {
            let wrong = || Error::NotACredit {
                number: note.number.clone().unwrap_or_default(),
                of: of.to_owned(),
            };
            if note.kind != Kind::CreditNote || note.currency != document.currency {
                return Err(wrong());
            }
            for line in &note.lines {
                let credits = line.credits.as_ref().filter(|to| to.number == of);
                let to = credits.ok_or_else(wrong)?.line;
                let sum = credited.lines.entry(to).or_insert(zero);
                *sum = sum.plus(money(line.amount, note.currency, "a credited line")?)?;
            }
            for group in &note.tax_groups {
                let key = (group.category, group.rate_percent);
                let (taxable, tax) = credited.groups.entry(key).or_insert((zero, zero));
                *taxable = taxable.plus(money(group.taxable, note.currency, "a taxable sum")?)?;
                *tax = tax.plus(money(group.tax, note.currency, "a tax")?)?;
            }
        }
        Ok(credited)
    }
}

/// Composes the credit note of `amounts` for `document`, of which `credited` was given back before.
/// It has no number yet.
///
/// # Errors
/// If more would be credited than there is, or nothing.
pub fn credit(
    document: &Document,
    credited: &Credited,
    amounts: &Amounts,
    terms: &Terms<'_>,
) -> Result<Document, Error> {
    let of = number(document)?;
    let (cause, lines) = match amounts {
        Amounts::Goodwill(amounts) => (Cause::Goodwill, favours(document, credited, amounts)?),
        Amounts::Cancel => (Cause::Cancel, rest(document, credited)?),
    };
    if lines.is_empty() {
        return Err(Error::Nothing);
    }
    let tax_groups = groups(document, credited, &lines)?;
    let currency = document.currency;
    let net = money::sum(currency, lines.iter().map(|(_, amount)| *amount))?;
    let tax = money::sum(currency, tax_groups.iter().map(|(_, tax)| *tax))?;
    let lines = (1..).zip(lines).map(|(number, (line, amount))| DocumentLine {
        line: number,
        period: line.period,
        key: None,
        credits: Some(CreditedLine { number: of.to_owned(), line: line.line }),
        label: line.label.clone(),
        meter: None,
        quantity: 1,
        receipts: 0,
        unit_price: Some(amount.amount()),
        steps: Vec::new(),
        explanation: Vec::new(),
        adjustment: None,
        amount: amount.amount(),
        tax_category: line.tax_category,
        tax_rate_percent: line.tax_rate_percent,
    });
    Ok(Document {
        format: Format::V1,
        kind: Kind::CreditNote,
        cause,
        brand: document.brand.clone(),
        number: None,
        currency,
        issue_date: terms.issue_date,
        tax_point: document.tax_point,
        due_date: None,
        zone: document.zone.clone(),
        issuer: document.issuer.clone(),
        buyer: document.buyer.clone(),
        references: vec![Reference {
            number: of.to_owned(),
            issue_date: document.issue_date,
            hash: document.hash()?,
        }],
        periods: Vec::new(),
        lines: lines.collect(),
        tax_groups: tax_groups.into_iter().map(|(group, _)| group).collect(),
        net_total: net.amount(),
        tax_total: tax.amount(),
        total: net.plus(tax)?.amount(),
        note: Some(terms.note.to_owned()),
        overrides: Vec::new(),
        billing_version: terms.billing_version,
        previous: terms.previous,
    })
}

fn number(document: &Document) -> Result<&str, Error> {
    let number = document.number.as_deref().filter(|_| document.kind != Kind::CreditNote);
    number.ok_or(Error::NotCreditable)
}

type Credit<'a> = (&'a DocumentLine, Money);

fn favours<'a>(
    document: &'a Document,
    credited: &Credited,
    amounts: &[(u32, Money)],
) -> Result<Vec<Credit<'a>>, Error> {
    let mut wanted = BTreeMap::new();
    for &(line, amount) in amounts {
        if wanted.insert(line, amount).is_some() {
            return Err(Error::LineTwice { line });
        }
    }
    let mut credits = Vec::new();
    for (number, more) in wanted {
        let unknown =
            || Error::UnknownLine { of: document.number.clone().unwrap_or_default(), line: number };
        let line = document.lines.iter().find(|line| line.line == number).ok_or_else(unknown)?;
        let (amount, before) = amount_and_credited(document, credited, line)?;
        let after = before.plus(more)?;
        let wrong_way = more.is_zero() || more.is_negative() != amount.is_negative();
        if wrong_way || !within(after, amount) {
            return Err(Error::MoreThanLine { line: number, amount, credited: before, more });
        }
        credits.push((line, more));
    }
    Ok(credits)
}

fn rest<'a>(document: &'a Document, credited: &Credited) -> Result<Vec<Credit<'a>>, Error> {
    let mut credits = Vec::new();
    for line in &document.lines {
        let (amount, before) = amount_and_credited(document, credited, line)?;
        let left = amount.minus(before)?;
        if !left.is_zero() {
            credits.push((line, left));
        }
    }
    Ok(credits)
}

fn amount_and_credited(
    document: &Document,
    credited: &Credited,
    line: &DocumentLine,
) -> Result<(Money, Money), Error> {
    let amount = money(line.amount, document.currency, "a line")?;
    let before = credited.lines.get(&line.line).copied();
    Ok((amount, before.unwrap_or(Money::zero(document.currency))))
}

/// True if `part` lies between nothing and `whole`, whatever the sign of `whole`.
fn within(part: Money, whole: Money) -> bool {
    part.is_zero()
        || (part.is_negative() == whole.is_negative()
            && part.amount().abs() <= whole.amount().abs())
}

/// One tax group for each (category, rate) of the credits, with its tax as money.
fn groups(
    document: &Document,
    credited: &Credited,
    credits: &[Credit<'_>],
) -> Result<Vec<(TaxGroup, Money)>, Error> {
    let currency = document.currency;
    let zero = Money::zero(currency);
    let mut sums: BTreeMap<(Category, Decimal), Money> = BTreeMap::new();
    for (line, amount) in credits {
        let sum = sums.entry((line.tax_category, line.tax_rate_percent)).or_insert(zero);
        *sum = sum.plus(*amount)?;
    }
    let mut groups = Vec::new();
    for ((category, rate_percent), taxable) in sums {
        let same =
            |group: &&TaxGroup| (group.category, group.rate_percent) == (category, rate_percent);
        let whole = document.tax_groups.iter().find(same);
        let exemptions = whole.map(|group| group.exemptions.clone()).unwrap_or_default();
        let whole = whole.map_or(Ok(zero), |group| money(group.taxable, currency, "a group"))?;
        let (before, tax_before) =
            credited.groups.get(&(category, rate_percent)).copied().unwrap_or((zero, zero));
        let after = before.plus(taxable)?;
        if !within(after, whole) {
            let group = format!("{} {rate_percent} %", category.code());
            return Err(Error::MoreThanGroup { group, sum: whole, credited: after });
        }
        let tax = tax::percent_of(rate_percent, after).map_err(money::Error::from)?;
        let tax = tax.minus(tax_before)?;
        let credited_before =
            Some(CreditedBefore { taxable: before.amount(), tax: tax_before.amount() });
        let (taxable, amount) = (taxable.amount(), tax.amount());
        let group =
            TaxGroup { category, rate_percent, exemptions, credited_before, taxable, tax: amount };
        groups.push((group, tax));
    }
    Ok(groups)
}

fn money(amount: Decimal, currency: Currency, at: &str) -> Result<Money, Error> {
    Money::new(amount, currency).ok_or_else(|| Error::Decimals { at: at.to_owned() })
}
