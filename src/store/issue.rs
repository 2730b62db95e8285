//! Issuing: what was computed in a snapshot becomes a document, in a transaction that locks the brand's
//! billing row, and takes the number last. Documents of many brands can share a transaction. Also what takes a document back,
//! and what happens to it afterwards.

mod afterwards;
mod insert;
mod opposing;

use std::collections::{BTreeMap, BTreeSet};

use billing::completeness::Finding;
use billing::document::{self, Document};
use billing::hash::Hash;
use billing::numbering::{self, Number, Prefix, Series};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::due::known::hash_of;
use super::due::{Candidate, Issuer, issuer_at};
use super::{Error, change};

pub use afterwards::{Told, mark_sent, pay, write_off};
pub use opposing::{cancel, favour, void};

/// What a person has seen and approves.
#[derive(Clone, Debug, Default)]
pub struct Approval {
    pub etag: Option<Hash>,
    pub total: Option<Decimal>,
}

/// Why a document is not issued.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Blocked(#[from] billing::completeness::Blocked),
    #[error("what was approved has changed: the draft's total is now {total}, its etag {etag}")]
    Changed { total: Decimal, etag: String },
    #[error("the brand's billing has moved on while it was computed; try again")]
    Moved,
    #[error(transparent)]
    Document(#[from] document::Refused),
    #[error(transparent)]
    Credit(Box<document::credit::Error>),
    /// There is more, or less, to answer for than was seen.
    #[error(
        "{} is about other cases now than were seen, named {}: {}",
        .0.reason.as_str(), .0.cases.digest(), .0.message
    )]
    OtherCases(Finding),
    #[error("there is no issuer in force: configure one under [[issuer]]")]
    NoIssuer,
    #[error("{0}")]
    State(String),
    /// It cannot be an amount of the document, whatever is stored.
    #[error("{0}")]
    Amount(String),
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<document::credit::Error> for Refused {
    fn from(error: document::credit::Error) -> Self {
        Self::Credit(Box::new(error))
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        // What a rule of the schema says is said to people as it is.
        match error.as_database_error().and_then(|error| error.code().map(|code| (error, code))) {
            Some((error, code)) if code == "23001" => Self::State(error.message().to_owned()),
            _ => Self::Store(error.into()),
        }
    }
}

/// A document that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub document_no: i64,
    /// `None` where nothing was charged.
    pub number: Option<String>,
    pub total: Decimal,
}

/// Issues a candidate whose evidence was built.
///
/// # Errors
/// Why it is refused, or that the database is away.
pub async fn finalize(
    pool: &PgPool,
    issuers: &[Issuer],
    candidate: &Candidate,
    approval: &Approval,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Issued, Refused> {
    let Some(etag) = candidate.etag() else {
        // What a document cannot be without speaks against it.
        candidate.decide()?;
        return Err(no_document());
    };
    let total = candidate.document.as_ref().map(|document| document.total).unwrap_or_default();
    if approval.etag.is_some_and(|seen| seen != etag)
        || approval.total.is_some_and(|seen| seen != total)
    {
        return Err(Refused::Changed { total, etag: etag.to_string() });
    }
    let issued = finalize_many(pool, issuers, &[candidate], now, by).await?.pop();
    issued.expect("there is an answer for each candidate")
}

/// Issues candidates of different brands, with their evidence, in one transaction and a few statements
/// whatever their number. What is refused of one keeps none of the others back, and takes no number. The
/// answers are in the order of the candidates.
///
/// # Errors
/// If the database is away, or it refuses to have any of them, and then none is issued.
pub async fn finalize_many(
    pool: &PgPool,
    issuers: &[Issuer],
    candidates: &[&Candidate],
    now: DateTime<Utc>,
    by: &str,
) -> Result<Vec<Result<Issued, Refused>>, Refused> {
    let issuer = issuer_at(issuers, now).ok_or(Refused::NoIssuer)?;
    let day = numbering::issue_date(now, issuer.zone, None);
    let mut transaction = change::begin(pool).await?;
    let brands: Vec<i32> = candidates.iter().map(|candidate| candidate.brand.no).collect();
    let chains = lock(&mut transaction, &brands).await?;
    let drafts = candidates.iter().map(|candidate| {
        let overrides = candidate.decide()?;
        let mut document = candidate.document.clone().ok_or_else(no_document)?;
        document.overrides = overrides;
        let chain = chains.get(&candidate.brand.no).cloned().ok_or(Refused::Moved)?;
        if chain.version != candidate.billing_version {
            return Err(Refused::Moved);
        }
        let draft = Unnumbered {
            brand_no: candidate.brand.no,
            document,
            cutoff: candidate.cutoff,
            regular: candidate.slot.map(|slot| slot.period.start()),
            credits: None,
            terms_days: candidate.terms_days,
            day,
        };
        Ok((chain, draft))
    });
    let drafts = drafts.collect();
    let issued = insert(&mut transaction, drafts, by).await?;
    let is_any_issued = issued.iter().any(Result::is_ok);
    change::commit_if(transaction, is_any_issued).await?;
    Ok(issued)
}

fn no_document() -> Refused {
    Refused::State("the draft has no document".to_owned())
}

/// A brand's billing row, while it is locked.
#[derive(Clone)]
struct Chain {
    version: i64,
    documents: i32,
    previous: Option<Hash>,
}

/// Locks the billing rows of brands until the end of the transaction, always in the same order.
async fn lock(
    connection: &mut PgConnection,
    brands: &[i32],
) -> Result<BTreeMap<i32, Chain>, Refused> {
    sqlx::query(
        "insert into brand_billing (brand_no) select distinct b from unnest($1::int[]) as b \
         where not exists (select from brand_billing o where o.brand_no = b) order by b \
         on conflict do nothing",
    )
    .bind(brands)
    .execute(&mut *connection)
    .await?;
    sqlx::query("select from brand_billing where brand_no = any($1) order by brand_no for update")
        .bind(brands)
        .execute(&mut *connection)
        .await?;
    // A statement of its own: it sees what was committed while the locks were waited for.
    let rows: Vec<(i32, i64, i32, Option<Vec<u8>>)> = sqlx::query_as(
        "select b.brand_no, b.version, b.documents, d.hash from brand_billing b \
         left join document d on d.brand_no = b.brand_no and d.chain = b.documents \
         where b.brand_no = any($1)",
    )
    .bind(brands)
    .fetch_all(&mut *connection)
    .await?;
    let chain = |(brand, version, documents, hash): (_, _, _, Option<Vec<u8>>)| {
        let previous = hash.map(|hash| hash_of(&hash)).transpose()?;
        Ok((brand, Chain { version, documents, previous }))
    };
    rows.into_iter().map(chain).collect()
}

/// Locks the billing row of one brand until the end of the transaction.
async fn lock_one(connection: &mut PgConnection, brand_no: i32) -> Result<Chain, Refused> {
    let chain = lock(connection, &[brand_no]).await?.remove(&brand_no);
    chain
        .ok_or_else(|| Error::Corrupt(format!("brand number {brand_no} has no billing row")).into())
}

/// A document that lacks its number, its dates and its place in the chain.
struct Unnumbered {
    brand_no: i32,
    document: Document,
    cutoff: i64,
    /// The period that it is the regular invoice of.
    regular: Option<NaiveDate>,
    /// The row of the document that it credits.
    credits: Option<i64>,
    terms_days: u16,
    /// Today by the issuer's calendar.
    day: NaiveDate,
}

/// A document with all that is stored of it beside.
struct Numbered {
    brand_no: i32,
    document: Document,
    body: Vec<u8>,
    /// Of the body.
    hash: Hash,
    chain: i32,
    cutoff: i64,
    regular: Option<NaiveDate>,
    credits: Option<i64>,
}

/// Gives documents their numbers and inserts them with all that belongs to them. What is refused already
/// is handed through.
async fn insert(
    connection: &mut PgConnection,
    drafts: Vec<Result<(Chain, Unnumbered), Refused>>,
    by: &str,
) -> Result<Vec<Result<Issued, Refused>>, Refused> {
    let prefixes: BTreeSet<&str> = drafts
        .iter()
        .flatten()
        .filter(|(_, draft)| takes_number(&draft.document))
        .map(|(_, draft)| Prefix::of(draft.document.kind).as_str())
        .collect();
    let mut counters = Counters::lock(connection, prefixes).await?;
    let numbered: Vec<Result<Numbered, Refused>> = drafts
        .into_iter()
        .map(|draft| draft.and_then(|(chain, draft)| number(&mut counters, &chain, draft)))
        .collect();
    counters.write(connection).await?;
    let good: Vec<&Numbered> = numbered.iter().flatten().collect();
    let rows = insert::insert(connection, &good, by).await?;
    let issued = |one: Numbered| {
        let document_no = rows.get(&one.brand_no).copied();
        let missing = || Error::Corrupt(format!("no document of brand {} came", one.brand_no));
        Ok(Issued {
            document_no: document_no.ok_or_else(missing)?,
            number: one.document.number,
            total: one.document.total,
        })
    };
    Ok(numbered.into_iter().map(|one| one.and_then(issued)).collect())
}

/// [`insert`] of one document.
async fn insert_one(
    connection: &mut PgConnection,
    chain: &Chain,
    draft: Unnumbered,
    by: &str,
) -> Result<Issued, Refused> {
    let issued = insert(connection, vec![Ok((chain.clone(), draft))], by).await?.pop();
    issued.expect("there is an answer for each draft")
}

fn takes_number(document: &Document) -> bool {
    !(document.net_total.is_zero() && document.total.is_zero())
}

fn number(counters: &mut Counters, chain: &Chain, draft: Unnumbered) -> Result<Numbered, Refused> {
    let Unnumbered { brand_no, mut document, cutoff, regular, credits, terms_days, day } = draft;
    document.previous = chain.previous;
    document.billing_version = chain.version.unsigned_abs();
    document.issue_date = day;
    let prefix = Prefix::of(document.kind);
    let next = takes_number(&document).then(|| counters.next(prefix, day)).flatten();
    if let Some(next) = &next {
        document.issue_date = next.issued_on;
        document.number = Some(next.number(prefix).to_string());
    }
    if document.due_date.is_some() {
        document.due_date = numbering::due_date(document.issue_date, terms_days);
    }
    document::check(&document)?;
    let body = document.to_bytes().map_err(|error| Refused::State(error.to_string()))?;
    // Only now, so that what is refused leaves no hole.
    if let Some(next) = next {
        counters.take(prefix, next);
    }
    let chain = chain.documents + 1;
    let hash = Hash::of(&[&body]);
    Ok(Numbered { brand_no, document, body, hash, chain, cutoff, regular, credits })
}

/// The series that numbers are taken from, locked: whoever wants a number after these waits until they
/// are committed.
struct Counters {
    series: BTreeMap<&'static str, Counter>,
    taken: BTreeSet<&'static str>,
}

/// A series after a number was taken.
#[derive(Clone, Copy)]
struct Counter {
    year: i32,
    last: i64,
    issued_on: NaiveDate,
}

impl Counter {
    fn number(self, prefix: Prefix) -> Number {
        let series = Series { prefix, year: self.year };
        Number { series, sequence: self.last.unsigned_abs() }
    }
}

impl Counters {
    async fn lock(
        connection: &mut PgConnection,
        prefixes: BTreeSet<&'static str>,
    ) -> Result<Self, Refused> {
        let mut series = BTreeMap::new();
        // One after the other, so that all lock them in the same order.
        for prefix in prefixes {
            let (year, last, issued_on): (i32, i64, NaiveDate) = sqlx::query_as(
                "select year, last, issued_on from series where prefix = $1 for update",
            )
            .bind(prefix)
            .fetch_one(&mut *connection)
            .await?;
            series.insert(prefix, Counter { year, last, issued_on });
        }
        Ok(Self { series, taken: BTreeSet::new() })
    }

    /// The number after the last one. Issue dates never go back, and each year begins with 1.
    fn next(&self, prefix: Prefix, day: NaiveDate) -> Option<Counter> {
        let now = self.series.get(prefix.as_str())?;
        let issued_on = now.issued_on.max(day);
        let year = issued_on.year();
        let last = if year == now.year { now.last.checked_add(1)? } else { 1 };
        Some(Counter { year, last, issued_on })
    }

    fn take(&mut self, prefix: Prefix, counter: Counter) {
        self.series.insert(prefix.as_str(), counter);
        self.taken.insert(prefix.as_str());
    }

    async fn write(&self, connection: &mut PgConnection) -> Result<(), Refused> {
        for prefix in &self.taken {
            let Counter { year, last, issued_on } = self.series[prefix];
            sqlx::query("update series set year = $2, last = $3, issued_on = $4 where prefix = $1")
                .bind(prefix)
                .bind(year)
                .bind(last)
                .bind(issued_on)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}
