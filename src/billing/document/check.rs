//! What a document must satisfy before it is issued: the rules of EN 16931 that concern its content
//! (their numbers are given), and ours.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{Cause, Document, DocumentLine, Kind, Party};
use crate::evidence::merkle;
use crate::money::Money;
use crate::numbering::{Number, Series};
use crate::tax::{Category, TreatmentError};

mod sums;

/// Most lines of a document.
pub const LINES_MAX: usize = 100_000;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{at} {amount} is not in whole minor units with exactly the currency's decimals")]
    Decimals { at: String, amount: Decimal },
    #[error("there are no lines, which only a document without a number may have (BR-16)")]
    NoLines,
    #[error("there are {0} lines, more than {LINES_MAX}")]
    TooManyLines(usize),
    #[error("line {stated} stands where line {expected} should (BR-21)")]
    LineNumber { stated: u32, expected: u32 },
    #[error("line {0} has no label (BR-25)")]
    Label(u32),
    #[error("line {line} charges for a period from {period}, which is not on the document")]
    LinePeriod { line: u32, period: NaiveDate },
    #[error("line {0} must charge for a key of a period, or credit a line of a reference")]
    LineOrigin(u32),
    #[error("two lines charge for {key} of the period from {period}")]
    LineTwice { period: NaiveDate, key: String },
    #[error("line {line} is not taxed as its period from {period} is")]
    LineTax { line: u32, period: NaiveDate },
    #[error("a sum does not fit into 28 digits")]
    TooLarge,
    #[error("the net total is {stated}, but the lines sum to {sum} (BR-CO-10)")]
    NetTotal { stated: Decimal, sum: Money },
    #[error("the tax total is {stated}, but the groups sum to {sum} (BR-CO-14)")]
    TaxTotal { stated: Decimal, sum: Money },
    #[error("the total is {stated}, but net and tax total sum to {sum} (BR-CO-15)")]
    Total { stated: Decimal, sum: Money },
    #[error("the net total {0} is negative; what is given back is a credit note")]
    Negative(Decimal),
    #[error("the tax groups are not one for each category and rate of the lines (BR-CO-18)")]
    Groups,
    #[error("tax group {group}: its lines sum to {sum}, not {stated} (BR-S-08)")]
    GroupTaxable { group: String, stated: Decimal, sum: Money },
    #[error("tax group {group}: the tax is {tax}, not {stated} (BR-CO-17)")]
    GroupTax { group: String, stated: Decimal, tax: Money },
    #[error("tax group {group}: only a credit of another document has credits before it")]
    GroupCredits { group: String },
    #[error("tax group {group}: {source} (BR-S-05, BR-E-10, BR-AE-10, BR-O-10)")]
    Treatment { group: String, source: TreatmentError },
    #[error("lines outside the scope of VAT (O) and others are on one document (BR-O-11)")]
    OutOfScopeMixed,
    #[error("a document that is not of zero needs a number (BR-02)")]
    NumberMissing,
    #[error("{0} is not a number of the series that kind and issue date give")]
    NumberSeries(String),
    #[error("what is to be paid needs a due date (BR-CO-25), and a credit note has none")]
    DueDate,
    #[error("the due date {due} lies before the issue date {issued}")]
    DueBeforeIssue { due: NaiveDate, issued: NaiveDate },
    #[error("the cause does not fit the kind: only a credit note credits another document")]
    Cause,
    #[error(
        "a credit of another document needs a reference to it and a note that says why (BR-55)"
    )]
    Reference,
    #[error("{party} has no {field} ({rule})")]
    Party { party: &'static str, field: &'static str, rule: &'static str },
    #[error("{party}: the country {country:?} is not two capital letters (BR-CL-14)")]
    Country { party: &'static str, country: String },
    #[error(
        "the periods do not stand in order, each once, and within the periods they are cut from"
    )]
    Periods,
    #[error("the evidence of the period from {0} is not that of its entries: cutoff, size or root")]
    Evidence(NaiveDate),
    #[error("an override has no reason, no name or no explanation")]
    Override,
}

/// All that is wrong with a document; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot be issued: {}", joined(.0))]
pub struct Refused(pub Vec<Refusal>);

fn joined(refusals: &[Refusal]) -> String {
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
}

/// Checks a document as it is to be issued.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(document: &Document) -> Result<(), Refused> {
    if document.lines.len() > LINES_MAX {
        return Err(Refused(vec![Refusal::TooManyLines(document.lines.len())]));
    }
    let mut found = Vec::new();
    kind(document, &mut found);
    dates_and_number(document, &mut found);
    parties(document, &mut found);
    periods(document, &mut found);
    lines(document, &mut found);
    sums::check(document, &mut found);
    if document.overrides.iter().any(|over| {
        [&over.reason, &over.by, &over.because].into_iter().any(|text| text.trim().is_empty())
    }) {
        found.push(Refusal::Override);
    }
    if found.is_empty() { Ok(()) } else { Err(Refused(found)) }
}

fn kind(document: &Document, found: &mut Vec<Refusal>) {
    let credits = document.cause != Cause::Periods;
    if credits && document.kind != Kind::CreditNote {
        found.push(Refusal::Cause);
    }
    let noted = document.note.as_deref().is_some_and(|note| !note.trim().is_empty());
    if credits && (document.references.len() != 1 || !noted) {
        found.push(Refusal::Reference);
    }
}

fn dates_and_number(document: &Document, found: &mut Vec<Refusal>) {
    let zero = document.net_total.is_zero() && document.total.is_zero();
    match &document.number {
        None if zero => {}
        None => found.push(Refusal::NumberMissing),
        Some(number) => {
            let series = Series::of(document.kind, document.issue_date);
            if Number::parse(number).is_none_or(|number| number.series != series) {
                found.push(Refusal::NumberSeries(number.clone()));
            }
            if document.lines.is_empty() {
                found.push(Refusal::NoLines);
            }
        }
    }
    match (document.kind, document.due_date) {
        (Kind::CreditNote, None) => {}
        (Kind::Invoice | Kind::Adjustment, Some(due)) => {
            let issued = document.issue_date;
            if due < issued {
                found.push(Refusal::DueBeforeIssue { due, issued });
            }
        }
        _ => found.push(Refusal::DueDate),
    }
}

fn parties(document: &Document, found: &mut Vec<Refusal>) {
    let (issuer, buyer) = (&document.issuer, &document.buyer);
    let categories: BTreeSet<Category> =
        document.lines.iter().map(|line| line.tax_category).collect();
    let taxable = categories.iter().any(|category| *category != Category::OutOfScope);
    let reverse = categories.contains(&Category::ReverseCharge);
    let registered = issuer.vat_id.as_ref().or(issuer.registration_id.as_ref());
    let needed = [
        (true, "the issuer", "legal name", &issuer.legal_name, "BR-06"),
        (true, "the issuer", "country", &issuer.country, "BR-09"),
        (true, "the issuer", "VAT or registration id", &registered.cloned(), "BR-CO-26"),
        (taxable, "the issuer", "VAT id", &issuer.vat_id, "BR-S-02, BR-Z-02, BR-E-02, BR-AE-02"),
        (true, "the buyer", "legal name", &buyer.legal_name, "BR-07"),
        (true, "the buyer", "country", &buyer.country, "BR-11"),
        (reverse, "the buyer", "VAT id", &buyer.vat_id, "BR-AE-02"),
    ];
    for (needed, party, field, value, rule) in needed {
        if needed && value.as_deref().is_none_or(|value| value.trim().is_empty()) {
            found.push(Refusal::Party { party, field, rule });
        }
    }
    for (party, Party { country, .. }) in [("the issuer", issuer), ("the buyer", buyer)] {
        let Some(country) = country else { continue };
        if country.len() != 2 || !country.bytes().all(|letter| letter.is_ascii_uppercase()) {
            found.push(Refusal::Country { party, country: country.clone() });
        }
    }
}

fn periods(document: &Document, found: &mut Vec<Refusal>) {
    let periods = &document.periods;
    let whole = periods.iter().all(|period| {
        period.start < period.end
            && period.whole_start <= period.start
            && period.end <= period.whole_end
    });
    let ordered =
        periods.iter().zip(periods.iter().skip(1)).all(|(one, next)| one.end <= next.start);
    if !whole || !ordered {
        found.push(Refusal::Periods);
    }
    for period in periods {
        let entries = period.cutoff.checked_sub(period.after);
        let empty = period.root == merkle::empty_root();
        if entries.is_none_or(|entries| period.size > entries) || empty != (period.size == 0) {
            found.push(Refusal::Evidence(period.start));
        }
    }
}

fn lines(document: &Document, found: &mut Vec<Refusal>) {
    let mut keys = BTreeSet::new();
    for (expected, line) in (1..).zip(&document.lines) {
        if line.line != expected {
            found.push(Refusal::LineNumber { stated: line.line, expected });
        }
        if line.label.trim().is_empty() {
            found.push(Refusal::Label(line.line));
        }
        origin(document, line, found);
        if let (Some(period), Some(key)) = (line.period, line.key)
            && !keys.insert((period, key))
        {
            found.push(Refusal::LineTwice { period, key: key.to_string() });
        }
    }
}

fn origin(document: &Document, line: &DocumentLine, found: &mut Vec<Refusal>) {
    let of_reference = |number: &str| document.references.iter().any(|to| to.number == number);
    let good = match (&line.key, &line.credits) {
        (Some(_), None) => document.cause == Cause::Periods && line.period.is_some(),
        (None, Some(credited)) => {
            document.cause != Cause::Periods && of_reference(&credited.number)
        }
        _ => false,
    };
    if !good {
        found.push(Refusal::LineOrigin(line.line));
    }
    // A credit names the period of the line that it credits, without evidence of its own.
    let (Some(period), Some(_)) = (line.period, line.key) else { return };
    match document.periods.iter().find(|evidence| evidence.start == period) {
        None => found.push(Refusal::LinePeriod { line: line.line, period }),
        Some(evidence) => {
            let tax = (evidence.tax.category, evidence.tax.rate_percent);
            if tax != (line.tax_category, line.tax_rate_percent) {
                found.push(Refusal::LineTax { line: line.line, period });
            }
        }
    }
}
