//! Computes a document again: from the ledger up to its cutoffs, and from the documents before it.

use std::collections::HashMap;

use billing::billed;
use billing::document::compose::{self, Parts, PeriodPart};
use billing::document::credit::{self, Amounts, Credited};
use billing::document::{Cause, Charged, Document, PeriodEvidence};
use billing::draft::{self, Input};
use billing::money::Money;
use billing::period::{Period, Slot};
use billing::tax::Treatment;
use chrono::TimeDelta;
use sqlx::PgConnection;

use super::Stored;
use crate::store::brands::Brand;
use crate::store::catalog::Catalog;
use crate::store::distinct::{AsOf, Kind};
use crate::store::{Error, period_usage};

/// A document was issued before another one was voided, although that one's transaction had begun
/// first, if both waited for each other at most so long.
const OVERLAP_MAX: TimeDelta = TimeDelta::minutes(2);

/// The brand's documents, as they are stored and as they are read.
type Documents = [(Stored, Option<Document>)];

/// What the ledger has for each period of the documents that are verified together.
pub(super) type Counted = HashMap<AsOf, Vec<Kind>>;

/// What must be counted to compute the document again.
pub(super) fn wanted(brand: &Brand, document: &Document) -> Vec<AsOf> {
    let periods = document.periods.iter().filter(|_| document.cause == Cause::Periods);
    periods.filter_map(|period| Some((brand.no, days(period)?, cutoff(period)))).collect()
}

fn days(period: &PeriodEvidence) -> Option<Period> {
    Period::new(period.start, period.end)
}

fn cutoff(period: &PeriodEvidence) -> i64 {
    i64::try_from(period.cutoff).unwrap_or(i64::MAX)
}

/// What is different when the document at `place` is computed again; `None` if nothing is.
///
/// # Errors
/// If the database is away.
pub(super) async fn differs(
    snapshot: &mut PgConnection,
    (catalog, counted): (&Catalog, &Counted),
    brand: &Brand,
    documents: &Documents,
    place: usize,
) -> Result<Option<String>, Error> {
    let (stored, Some(document)) = &documents[place] else { return Ok(None) };
    let mut first = None;
    for overlap in [TimeDelta::zero(), OVERLAP_MAX] {
        // What stood when it was issued.
        let before: Vec<&Document> = documents[..place]
            .iter()
            .filter(|(other, _)| stood(other, stored, overlap))
            .filter_map(|(_, other)| other.as_ref())
            .collect();
        let again = match document.cause {
            Cause::Periods => {
                of_periods(snapshot, (catalog, counted), brand, document, &before).await?
            }
            Cause::Goodwill | Cause::Cancel => of_credit(document, &before),
        };
        let differs = match again {
            Ok(again) => compare(document, stored, &again),
            Err(why) => Some(format!("it cannot be computed again: {why}")),
        };
        if differs.is_none() {
            return Ok(None);
        }
        first = first.or(differs);
    }
    Ok(first)
}

/// True if `other` had an effect when `stored` was issued.
fn stood(other: &Stored, stored: &Stored, overlap: TimeDelta) -> bool {
    let was = |at: Option<_>| at.is_some_and(|at| at < stored.finalized_at - overlap);
    let cancelled = other.cancelled_by.is_some_and(|by| by < stored.chain);
    !was(other.voided_at) && !was(other.cancelled_at) && !cancelled
}

fn compare(document: &Document, stored: &Stored, again: &Document) -> Option<String> {
    match (document.differs_at(again), again.to_bytes()) {
        (Ok(Some(pointer)), _) => Some(format!("computed again it is another one: {pointer}")),
        (Ok(None), Ok(bytes)) if bytes == stored.body => None,
        _ => Some("computed again it has other bytes".to_owned()),
    }
}

/// The document of what its periods owed.
async fn of_periods(
    snapshot: &mut PgConnection,
    (catalog, counted): (&Catalog, &Counted),
    brand: &Brand,
    document: &Document,
    before: &[&Document],
) -> Result<Result<Document, String>, Error> {
    let mut taxes = Vec::new();
    for period in &document.periods {
        let tax = &period.tax;
        match Treatment::new(tax.category, tax.rate_percent, tax.exemption.clone()) {
            Ok(treatment) => taxes.push(treatment),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let mut periods = Vec::new();
    for (period, tax) in document.periods.iter().zip(&taxes) {
        match part(snapshot, (catalog, counted), brand, (period, tax), before).await? {
            Ok(part) => periods.push(part),
            Err(why) => return Ok(Err(format!("the period from {}: {why}", period.start))),
        }
    }
    let days = document.due_date.map_or(0, |due| (due - document.issue_date).num_days());
    let parts = Parts {
        brand: brand.id.as_str(),
        currency: document.currency,
        zone: &document.zone,
        issuer: &document.issuer,
        buyer: &document.buyer,
        regular: document.kind != billing::document::Kind::Adjustment,
        periods,
        issue_date: document.issue_date,
        terms_days: u16::try_from(days).unwrap_or(u16::MAX),
        overrides: document.overrides.clone(),
        billing_version: document.billing_version,
        previous: document.previous,
    };
    let composed = compose::compose(parts).map_err(|error| error.to_string());
    Ok(composed.map(|again| Document { number: document.number.clone(), ..again }))
}

/// What a period owed: its usage up to the cutoff, less what was billed before.
async fn part<'a>(
    snapshot: &mut PgConnection,
    (catalog, counted): (&Catalog, &Counted),
    brand: &Brand,
    (period, tax): (&'a PeriodEvidence, &'a Treatment),
    before: &[&Document],
) -> Result<Result<PeriodPart<'a>, String>, Error> {
    let version = i32::try_from(period.plan_version).unwrap_or(i32::MAX);
    let Some(plan) = catalog.plan(&period.plan, version) else {
        return Ok(Err(format!("version {version} of plan {} is gone", period.plan)));
    };
    let whole = Period::new(period.whole_start, period.whole_end);
    let Some(slot) = days(period).zip(whole).map(|(period, whole)| Slot { period, whole }) else {
        return Ok(Err("it has no days".to_owned()));
    };
    let as_of = (brand.no, slot.period, cutoff(period));
    let kinds = counted.get(&as_of).map_or(&[][..], Vec::as_slice);
    let used = period_usage::as_of(snapshot, as_of, plan, kinds).await?;
    let usage = used.usage()?;
    let input = Input { plan, slot, usage: &usage, distinct: &used.distinct, tax: Some(tax) };
    let billed: Vec<Charged> = before
        .iter()
        .filter_map(|document| document.charged())
        .flatten()
        .filter(|charged| charged.period == period.start)
        .collect();
    let owed = draft::draft(&input)
        .map_err(|error| error.to_string())
        .and_then(|draft| billed::owed(plan, &draft, &billed).map_err(|error| error.to_string()));
    Ok(owed.map(|owed| PeriodPart {
        slot,
        plan: &period.plan,
        plan_version: period.plan_version,
        tax,
        after: period.after,
        cutoff: period.cutoff,
        // What the ledger's rows hash to is compared for itself, for many periods at once.
        root: period.root,
        size: period.size,
        owed,
    }))
}

/// The credit note of another document.
fn of_credit(document: &Document, before: &[&Document]) -> Result<Document, String> {
    let reference = document.references.first().ok_or("it credits nothing")?;
    let credited = before
        .iter()
        .find(|other| other.number.as_ref() == Some(&reference.number))
        .ok_or_else(|| format!("{} did not stand when it was issued", reference.number))?;
    let notes: Vec<Document> = before
        .iter()
        .filter(|note| note.cause != Cause::Periods)
        .filter(|note| note.references.iter().any(|to| to.number == reference.number))
        .map(|note| (*note).clone())
        .collect();
    let amounts = match document.cause {
        Cause::Cancel => Amounts::Cancel,
        _ => Amounts::Goodwill(favours(document)?),
    };
    let terms = credit::Terms {
        issue_date: document.issue_date,
        note: document.note.as_deref().unwrap_or_default(),
        billing_version: document.billing_version,
        previous: document.previous,
    };
    let given = Credited::new(credited, &notes).map_err(|error| error.to_string())?;
    let again =
        credit::credit(credited, &given, &amounts, &terms).map_err(|error| error.to_string())?;
    Ok(Document { number: document.number.clone(), ..again })
}

fn favours(document: &Document) -> Result<Vec<(u32, Money)>, String> {
    let favour = |line: &billing::document::DocumentLine| {
        Some((line.credits.as_ref()?.line, Money::new(line.amount, document.currency)?))
    };
    let wrong = || "a line credits nothing".to_owned();
    document.lines.iter().map(|line| favour(line).ok_or_else(wrong)).collect()
}
