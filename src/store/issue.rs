//! Issuing: what was computed in a snapshot becomes a document, in a transaction of its own that locks the
//! brand's billing row, and takes the number last. Also what takes a document back.

mod insert;
mod opposing;

use billing::document::{self, Document};
use billing::hash::Hash;
use billing::numbering::{self, Number, Prefix, Series};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::Error;
use super::due::known::hash_of;
use super::due::{Candidate, Issuer, issuer_at};

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
    Credit(#[from] document::credit::Error),
    #[error("there is no issuer in force: configure one under [[issuer]]")]
    NoIssuer,
    #[error("{0}")]
    State(String),
    #[error(transparent)]
    Store(#[from] Error),
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
    let overrides = candidate.decide()?;
    let missing = || Refused::State("the draft has no document".to_owned());
    let mut document = candidate.document.clone().ok_or_else(missing)?;
    let etag = candidate.etag().ok_or_else(missing)?;
    if approval.etag.is_some_and(|seen| seen != etag)
        || approval.total.is_some_and(|seen| seen != document.total)
    {
        return Err(Refused::Changed { total: document.total, etag: etag.to_string() });
    }
    document.overrides = overrides;
    let issuer = issuer_at(issuers, now).ok_or(Refused::NoIssuer)?;
    let day = numbering::issue_date(now, issuer.zone, None);
    let mut transaction = pool.begin().await?;
    let chain = lock(&mut transaction, candidate.brand.no).await?;
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
    let issued = insert(&mut transaction, &chain, draft, by).await?;
    transaction.commit().await?;
    Ok(issued)
}

/// The brand's billing row, while it is locked.
struct Chain {
    version: i64,
    documents: i32,
    previous: Option<Hash>,
}

/// Locks the brand's billing row until the end of the transaction.
async fn lock(connection: &mut PgConnection, brand_no: i32) -> Result<Chain, Refused> {
    sqlx::query("insert into brand_billing (brand_no) values ($1) on conflict do nothing")
        .bind(brand_no)
        .execute(&mut *connection)
        .await?;
    let (version, documents): (i64, i32) = sqlx::query_as(
        "select version, documents from brand_billing where brand_no = $1 for update",
    )
    .bind(brand_no)
    .fetch_one(&mut *connection)
    .await?;
    let previous: Option<Vec<u8>> =
        sqlx::query_scalar("select hash from document where brand_no = $1 and chain = $2")
            .bind(brand_no)
            .bind(documents)
            .fetch_optional(&mut *connection)
            .await?;
    let previous = previous.map(|hash| hash_of(&hash)).transpose()?;
    Ok(Chain { version, documents, previous })
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

/// Gives the document its number and inserts it with all that belongs to it.
async fn insert(
    connection: &mut PgConnection,
    chain: &Chain,
    draft: Unnumbered,
    by: &str,
) -> Result<Issued, Refused> {
    let Unnumbered { brand_no, mut document, cutoff, regular, credits, terms_days, day } = draft;
    document.previous = chain.previous;
    document.billing_version = chain.version.unsigned_abs();
    document.issue_date = day;
    if !(document.net_total.is_zero() && document.total.is_zero()) {
        let (number, issued_on) = take_number(connection, Prefix::of(document.kind), day).await?;
        document.issue_date = issued_on;
        document.number = Some(number.to_string());
    }
    if document.due_date.is_some() {
        document.due_date = numbering::due_date(document.issue_date, terms_days);
    }
    document::check(&document)?;
    let body = document.to_bytes().map_err(|error| Refused::State(error.to_string()))?;
    let rows = insert::Rows { brand_no, document: &document, cutoff, regular, credits };
    let document_no = rows.insert(connection, chain.documents + 1, &body, by).await?;
    Ok(Issued { document_no, number: document.number.clone(), total: document.total })
}

/// Takes the next number of the series; whoever wants the one after it waits until this one is committed.
async fn take_number(
    connection: &mut PgConnection,
    prefix: Prefix,
    day: NaiveDate,
) -> Result<(Number, NaiveDate), Refused> {
    let (last, issued_on): (i64, NaiveDate) = sqlx::query_as(
        "update series set issued_on = greatest(issued_on, $2), \
            year = extract(year from greatest(issued_on, $2))::int, \
            last = case when year = extract(year from greatest(issued_on, $2)) then last + 1 else 1 end \
         where prefix = $1 returning last, issued_on",
    )
    .bind(prefix.as_str())
    .bind(day)
    .fetch_one(&mut *connection)
    .await?;
    let series = Series { prefix, year: issued_on.year() };
    Ok((Number { series, sequence: last.unsigned_abs() }, issued_on))
}
