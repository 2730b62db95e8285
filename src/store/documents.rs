//! Documents that were issued, and what became of them: read, listed, sent and paid.

use billing::currency::Currency;
use billing::document::Document;
use billing::money::Money;
use billing::payment::{self, Balance};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgExecutor, PgPool};

use super::Error;

/// A document as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Listed {
    pub document_no: i64,
    pub brand_no: i32,
    pub brand_id: String,
    pub kind: String,
    pub cause: String,
    pub number: Option<String>,
    /// `finalized`, `voided` or `cancelled`.
    pub state: String,
    pub is_delivered: bool,
    /// Of the regular invoice that it is, if it is one.
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub currency: String,
    pub issue_date: NaiveDate,
    pub due_date: Option<NaiveDate>,
    pub net_total: Decimal,
    pub tax_total: Decimal,
    pub total: Decimal,
    pub finalized_at: DateTime<Utc>,
    pub finalized_by: String,
    credits: Vec<Decimal>,
    payments: Vec<Decimal>,
    is_written_off: bool,
}

/// Which documents are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub brand_no: Option<i32>,
    pub state: Option<String>,
    /// Credit notes; if false, invoices and adjustments. `None` for all.
    pub credit_notes: Option<bool>,
    /// Regular invoices of periods that have this day.
    pub day: Option<NaiveDate>,
    /// This document: its number, or `document_no` for one without.
    pub name: Option<String>,
    /// Older ones than this.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

impl Listed {
    /// What is still to be paid of it.
    ///
    /// # Errors
    /// If its amounts cannot be read.
    pub fn balance(&self) -> Result<Balance, Error> {
        let corrupt = || Error::Corrupt(format!("amounts of document {}", self.document_no));
        let currency = Currency::from_code(&self.currency).ok_or_else(corrupt)?;
        let money = |amount: &Decimal| Money::new(*amount, currency).ok_or_else(corrupt);
        let all = |amounts: &[Decimal]| amounts.iter().map(money).collect::<Result<Vec<_>, _>>();
        let (credits, payments) = (all(&self.credits)?, all(&self.payments)?);
        payment::balance(money(&self.total)?, &credits, &payments, self.is_written_off)
            .map_err(|_| corrupt())
    }

    /// How people call it.
    pub fn name(&self) -> String {
        self.number.clone().unwrap_or_else(|| self.document_no.to_string())
    }
}

/// The documents that `filter` names, newest first.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Listed>, Error> {
    Ok(sqlx::query_as(
        "select d.document_no, d.brand_no, b.brand_id, d.kind, d.cause, d.number, d.state, \
            d.is_delivered, p.period_start, p.period_end, d.currency, d.issue_date, d.due_date, \
            d.net_total, d.tax_total, d.total, d.finalized_at, d.finalized_by, \
            array(select c.total from (select distinct l.document_no from document_line l \
                    where l.credits_document = d.document_no) n join document c using (document_no) \
                where not exists (select from document_event e where e.document_no = n.document_no \
                    and e.kind in ('voided', 'cancelled'))) as credits, \
            array(select amount from payment y where y.document_no = d.document_no) as payments, \
            exists (select from document_event e where e.document_no = d.document_no \
                and e.kind = 'written_off') as is_written_off \
         from document_now d join brand b using (brand_no) \
         left join document_period p on p.document_no = d.document_no and p.is_regular \
         where ($1::int is null or d.brand_no = $1) and ($2::text is null or d.state = $2) \
            and ($3::bool is null or (d.kind = 'credit_note') = $3) \
            and ($4::date is null or (p.period_start <= $4 and $4 < p.period_end)) \
            and ($5::text is null or coalesce(d.number, d.document_no::text) = $5) \
            and ($6::bigint is null or d.document_no < $6) \
         order by d.document_no desc limit $7",
    )
    .bind(filter.brand_no)
    .bind(&filter.state)
    .bind(filter.credit_notes)
    .bind(filter.day)
    .bind(&filter.name)
    .bind(filter.before)
    .bind(filter.limit)
    .fetch_all(executor)
    .await?)
}

/// The document of this name: its number, or the number of its row if it has none.
///
/// # Errors
/// If the database is away.
pub async fn find(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<Listed>, Error> {
    let filter = Filter { name: Some(name.to_owned()), limit: 1, ..Filter::default() };
    Ok(list(executor, &filter).await?.pop())
}

/// The canonical bytes of a document.
///
/// # Errors
/// If the database is away.
pub async fn body(executor: impl PgExecutor<'_>, document_no: i64) -> Result<Vec<u8>, Error> {
    Ok(sqlx::query_scalar("select body from document where document_no = $1")
        .bind(document_no)
        .fetch_one(executor)
        .await?)
}

/// Reads a document from its bytes.
///
/// # Errors
/// If they are not canonical.
pub fn read(body: &[u8]) -> Result<Document, Error> {
    Document::read(body).map_err(|error| Error::Corrupt(format!("a document: {error}")))
}

/// The credit notes of a document that stand.
///
/// # Errors
/// If the database is away, or one cannot be read.
pub async fn credits_of(
    executor: impl PgExecutor<'_>,
    document_no: i64,
) -> Result<Vec<Document>, Error> {
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
        "select d.body from document_now d where d.state = 'finalized' and d.document_no in ( \
            select l.document_no from document_line l where l.credits_document = $1) \
         order by d.document_no",
    )
    .bind(document_no)
    .fetch_all(executor)
    .await?;
    bodies.iter().map(|body| read(body)).collect()
}

/// Something that happened to a document.
#[derive(Clone, Debug, FromRow)]
pub struct Event {
    pub kind: String,
    pub because: Option<String>,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

/// Everything that happened to a document, payments included, oldest first.
///
/// # Errors
/// If the database is away.
pub async fn events(executor: impl PgExecutor<'_>, document_no: i64) -> Result<Vec<Event>, Error> {
    Ok(sqlx::query_as(
        "select kind, because, made_at, made_by from document_event where document_no = $1 \
         union all \
         select 'payment', amount || ' on ' || paid_on || ', ' || reference, made_at, made_by \
            from payment where document_no = $1 order by made_at",
    )
    .bind(document_no)
    .fetch_all(executor)
    .await?)
}

/// Notes that a document was sent, or written off, unless that is noted already.
///
/// # Errors
/// If the database is away or refuses it.
pub async fn note(
    pool: &PgPool,
    document: &Listed,
    kind: &str,
    because: Option<&str>,
    by: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into document_event (document_no, brand_no, kind, because, made_by) \
         select $1, $2, $3, $4, $5 where not exists ( \
            select from document_event where document_no = $1 and kind = $3)",
    )
    .bind(document.document_no)
    .bind(document.brand_no)
    .bind(kind)
    .bind(because)
    .bind(by)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records a payment. False if one of the same reference is recorded.
///
/// # Errors
/// If the database is away.
pub async fn pay(
    pool: &PgPool,
    document: &Listed,
    amount: Money,
    paid_on: NaiveDate,
    reference: &str,
    by: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into payment (document_no, brand_no, amount, paid_on, reference, made_by) \
         values ($1, $2, $3, $4, $5, $6) on conflict (document_no, reference) do nothing",
    )
    .bind(document.document_no)
    .bind(document.brand_no)
    .bind(amount.amount())
    .bind(paid_on)
    .bind(reference)
    .bind(by)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
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
pub async fn drafts(
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
