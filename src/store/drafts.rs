//! Drafts: what the document of one period of a brand, or its adjustment, would be if it were issued now.
//! Whoever looks at one has it computed anew; rows of drafts are kept to be listed, and decide nothing.

use std::collections::BTreeMap;

use billing::completeness::{Finding, Reason};
use billing::hash::Hash;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::billing_run::{self, Looked};
use super::brands::Brand;
use super::due::{Candidate, Terms};
use super::issue::{self, Approval, Issued, Refused};
use super::{Error, Store, holds};

/// Names a draft of a brand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The invoice of the period that has this day.
    Day(NaiveDate),
    /// The invoice of the period that begins on this day.
    Start(NaiveDate),
    /// What changed in periods that are billed, and fits no invoice.
    Adjustment,
}

impl Named {
    fn is(self, candidate: &Candidate) -> bool {
        let period = candidate.slot.map(|slot| slot.period);
        match self {
            Named::Day(day) => period.is_some_and(|period| period.contains(day)),
            Named::Start(start) => period.is_some_and(|period| period.start() == start),
            Named::Adjustment => period.is_none(),
        }
    }
}

/// The draft of this name, computed in the caller's snapshot. `None` if nothing is due there: the period
/// has not ended, is invoiced, or is none.
///
/// # Errors
/// If the database is away, or the brand's drafts cannot be computed.
pub async fn find(
    snapshot: &mut PgConnection,
    terms: &Terms,
    brand: &Brand,
    named: Named,
    now: DateTime<Utc>,
) -> Result<Option<Candidate>, Error> {
    let looked = billing_run::look_in(snapshot, terms, Some(brand.no), now, None).await?;
    Ok(of_brand(looked)?.into_iter().find(|one| named.is(one)))
}

/// Computes the brand's drafts anew and keeps them; returns the one of this name.
///
/// # Errors
/// As [`find`].
pub async fn refresh(
    store: &Store,
    terms: &Terms,
    brand: &Brand,
    named: Named,
    now: DateTime<Utc>,
) -> Result<Option<Candidate>, Error> {
    let looked = billing_run::look(store, terms, Some(brand.no), now, None).await?;
    keep(&store.pool, &looked).await?;
    Ok(of_brand(looked)?.into_iter().find(|one| named.is(one)))
}

/// The brand may move on between the look and the lock, by another's work; a few times is chance.
const TRIES_MAX: u32 = 5;

/// Issues the document of this name, computed anew, if it is what was approved. `None` if nothing is due
/// there.
///
/// # Errors
/// Why it is refused, or that the database is away.
pub async fn finalize(
    store: &Store,
    terms: &Terms,
    brand: &Brand,
    named: Named,
    approval: &Approval,
    by: &str,
) -> Result<Option<Issued>, Refused> {
    let is_meant = |one: &Candidate| named.is(one);
    let mut tries = 0;
    loop {
        let now = Utc::now();
        let looked = billing_run::look(store, terms, Some(brand.no), now, Some(&is_meant)).await?;
        let candidates = of_brand(looked)?;
        let Some(candidate) = candidates.iter().find(|one| is_meant(one)) else { return Ok(None) };
        let issued =
            issue::finalize(&store.pool, &terms.issuers, candidate, approval, now, by).await;
        tries += 1;
        match issued {
            Err(Refused::Moved) if tries < TRIES_MAX => {}
            issued => return issued.map(Some),
        }
    }
}

/// An answer that somebody gives for a reason against an invoice.
#[derive(Clone, Copy, Debug)]
pub struct NewAnswer<'a> {
    /// The reason's name.
    pub reason: &'a str,
    /// The digest of the cases that were seen, if it was said: others by now are not answered for.
    pub seen: Option<Hash>,
    pub because: &'a str,
    pub by: &'a str,
}

/// Answers for a reason against the invoice of this name, as it is now: cases that come later speak against it
/// again. The answer is the first day of its period; `None` if none is due there.
///
/// # Errors
/// If there is no such reason, it does not hold, nobody can answer for it, there are other cases than were seen,
/// or the database is away.
pub async fn override_reason(
    store: &Store,
    terms: &Terms,
    brand: &Brand,
    named: Named,
    new: NewAnswer<'_>,
) -> Result<Option<NaiveDate>, Refused> {
    let NewAnswer { reason, because, by, .. } = new;
    let known = Reason::from_name(reason).ok_or_else(|| {
        let names = Reason::names().join(", ");
        Refused::State(format!("there is no reason {reason}; there are {names}"))
    })?;
    if !known.can_be_overridden() {
        return Err(Refused::State(format!("{reason} cannot be overridden")));
    }
    // Whether receipts are counted twice is seen in full only by who looks as a run does.
    let proves = matches!(known, Reason::UniquenessUnproved | Reason::UniquenessFailed);
    let none: billing_run::Issues<'_> = &|_| false;
    let looked =
        billing_run::look(store, terms, Some(brand.no), Utc::now(), proves.then_some(none)).await?;
    let found = of_brand(looked)?.into_iter().find(|one| named.is(one));
    let Some((found, slot)) = found.and_then(|one| one.slot.map(|slot| (one, slot))) else {
        return Ok(None);
    };
    let start = slot.period.start();
    let finding = found.findings.iter().find(|finding| finding.reason == known);
    let finding = seen(finding, new, start)?;
    holds::override_reason(&store.pool, &brand.id, start, finding, because, by).await?;
    Ok(Some(start))
}

/// The finding that is answered for, if it is there and what was seen.
fn seen<'a>(
    finding: Option<&'a Finding>,
    new: NewAnswer<'_>,
    start: NaiveDate,
) -> Result<&'a Finding, Refused> {
    let Some(finding) = finding else {
        let reason = new.reason;
        return Err(Refused::State(format!(
            "nothing of {reason} speaks against the invoice of the period from {start} now, and nobody \
             answers for what is to come"
        )));
    };
    match new.seen {
        Some(seen) if seen != finding.cases.digest() => Err(Refused::OtherCases(finding.clone())),
        _ => Ok(finding),
    }
}

fn of_brand(looked: Vec<Looked>) -> Result<Vec<Candidate>, Error> {
    let mut candidates = Vec::new();
    for (_, found) in looked {
        candidates.extend(found?);
    }
    Ok(candidates)
}

/// A draft as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Draft {
    pub draft_no: i64,
    pub brand_id: String,
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub kind: String,
    pub currency: String,
    pub net_total: Decimal,
    pub total: Decimal,
    pub etag: Vec<u8>,
    pub body: Vec<u8>,
    pub computed_at: DateTime<Utc>,
}

/// The drafts as they were computed last, by brand and period.
///
/// # Errors
/// If the database is away.
pub async fn list(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
) -> Result<Vec<Draft>, Error> {
    Ok(sqlx::query_as(
        "select d.draft_no, b.brand_id, d.period_start, d.period_end, d.kind, d.currency, \
            d.net_total, d.total, d.etag, d.body, d.computed_at \
         from draft d join brand b using (brand_no) where $1::int is null or d.brand_no = $1 \
         order by b.brand_id, d.period_start nulls last, d.currency",
    )
    .bind(brand_no)
    .fetch_all(executor)
    .await?)
}

/// Keeps the candidates as drafts: new and changed ones are written, and those that are no longer due
/// dropped. The answer is how many rows were touched.
///
/// # Errors
/// If the database is away.
pub async fn keep(pool: &PgPool, looked: &[Looked]) -> Result<u64, Error> {
    type Key = (i32, Option<NaiveDate>, String);
    type Row = (i64, i32, Option<NaiveDate>, String, Vec<u8>);
    let rows: Vec<Row> =
        sqlx::query_as("select draft_no, brand_no, period_start, currency, etag from draft")
            .fetch_all(pool)
            .await?;
    let mut kept: BTreeMap<Key, (i64, Vec<u8>)> = rows
        .into_iter()
        .map(|(no, brand, start, currency, etag)| ((brand, start, currency), (no, etag)))
        .collect();
    let mut touched = 0;
    for (brand, candidates) in looked {
        let Ok(candidates) = candidates else {
            // What cannot be computed now stays as it was computed last.
            kept.retain(|(of, ..), _| *of != brand.no);
            continue;
        };
        for candidate in candidates {
            let (Some(document), Some(etag)) = (&candidate.document, candidate.etag()) else {
                continue;
            };
            let start = candidate.slot.map(|slot| slot.period.start());
            let key = (brand.no, start, document.currency.code().to_owned());
            if kept.remove(&key).is_some_and(|(_, before)| before == etag.as_bytes()) {
                continue;
            }
            write(pool, candidate, etag).await?;
            touched += 1;
        }
    }
    let looked_at: Vec<i32> = looked.iter().map(|(brand, _)| brand.no).collect();
    let gone: Vec<i64> = kept
        .into_iter()
        .filter(|((brand, ..), _)| looked_at.contains(brand))
        .map(|(_, (no, _))| no)
        .collect();
    if !gone.is_empty() {
        let deleted = sqlx::query("delete from draft where draft_no = any($1)")
            .bind(gone)
            .execute(pool)
            .await?;
        touched += deleted.rows_affected();
    }
    Ok(touched)
}

async fn write(pool: &PgPool, candidate: &Candidate, etag: Hash) -> Result<(), Error> {
    let Some(document) = &candidate.document else { return Ok(()) };
    let body = document.to_bytes().map_err(|error| Error::Corrupt(format!("a draft: {error}")))?;
    let kind = match document.kind {
        billing::document::Kind::Invoice => "invoice",
        billing::document::Kind::CreditNote => "credit_note",
        billing::document::Kind::Adjustment => "adjustment",
    };
    sqlx::query(
        "insert into draft (brand_no, period_start, period_end, currency, kind, body, etag, \
            net_total, total, cutoff, billing_version) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         on conflict (brand_no, period_start, currency) do update set \
            period_end = excluded.period_end, kind = excluded.kind, body = excluded.body, \
            etag = excluded.etag, net_total = excluded.net_total, total = excluded.total, \
            cutoff = excluded.cutoff, billing_version = excluded.billing_version, \
            computed_at = now()",
    )
    .bind(candidate.brand.no)
    .bind(candidate.slot.map(|slot| slot.period.start()))
    .bind(candidate.slot.map(|slot| slot.period.end()))
    .bind(document.currency.code())
    .bind(kind)
    .bind(body)
    .bind(etag.as_bytes().as_slice())
    .bind(document.net_total)
    .bind(document.total)
    .bind(candidate.cutoff)
    .bind(candidate.billing_version)
    .execute(pool)
    .await?;
    Ok(())
}
