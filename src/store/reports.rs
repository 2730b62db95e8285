//! What the books want of documents: sums of tax, the register, and what is open by age.

use chrono::NaiveDate;
use futures_util::{Stream, TryStreamExt};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::Error;

/// Tax of a country, category and rate. A credit note takes from it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TaxSum {
    /// The buyer's; `None` where its document does not say.
    pub country: Option<String>,
    pub currency: String,
    pub category: String,
    pub rate_percent: Decimal,
    pub documents: i64,
    pub taxable: Decimal,
    pub tax: Decimal,
}

/// The tax of the documents with an issue date in `[from, until)` that are not voided: a cancelled one
/// counts, and the credit note that took it back does too.
///
/// # Errors
/// If the database is away.
pub async fn taxes(
    executor: impl PgExecutor<'_>,
    (from, until): (NaiveDate, NaiveDate),
) -> Result<Vec<TaxSum>, Error> {
    Ok(sqlx::query_as(
        "select country, currency, category, rate_percent, \
            count(distinct document_no) as documents, sum(sign * taxable) as taxable, \
            sum(sign * tax) as tax \
         from (select d.document_no, d.currency, t.category, t.rate_percent, t.taxable, t.tax, \
                convert_from(d.body, 'UTF8')::jsonb #>> '{buyer,country}' as country, \
                case d.kind when 'credit_note' then -1 else 1 end as sign \
            from document_now d join document_tax t using (document_no) \
            where d.state <> 'voided' and d.issue_date >= $1 and d.issue_date < $2) r \
         group by country, currency, category, rate_percent \
         order by country nulls last, currency, category, rate_percent",
    )
    .bind(from)
    .bind(until)
    .fetch_all(executor)
    .await?)
}

/// A document with what the books say of it. Amounts of a credit note are below zero.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Registered {
    pub document_no: i64,
    pub number: Option<String>,
    pub kind: String,
    pub cause: String,
    /// `finalized`, `voided` or `cancelled`.
    pub state: String,
    pub brand_id: String,
    /// Of the buyer, as the document has them.
    pub legal_name: Option<String>,
    pub country: Option<String>,
    pub vat_id: Option<String>,
    pub issue_date: NaiveDate,
    pub tax_point: NaiveDate,
    pub due_date: Option<NaiveDate>,
    /// Of the regular invoice that it is, if it is one.
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    pub currency: String,
    pub net_total: Decimal,
    pub tax_total: Decimal,
    pub total: Decimal,
}

/// Every document with an issue date in `[from, until)`, in the order in which they were issued, row by row
/// as the database gives them. Voided ones too: their numbers are used.
pub fn register(
    connection: &mut PgConnection,
    (from, until): (NaiveDate, NaiveDate),
) -> impl Stream<Item = Result<Registered, Error>> + Unpin + Send + '_ {
    sqlx::query_as(
        "select d.document_no, d.number, d.kind, d.cause, d.state, b.brand_id, \
            d.buyer ->> 'legal_name' as legal_name, d.buyer ->> 'country' as country, \
            d.buyer ->> 'vat_id' as vat_id, d.issue_date, d.tax_point, d.due_date, \
            p.period_start, p.period_end, d.currency, d.sign * d.net_total as net_total, \
            d.sign * d.tax_total as tax_total, d.sign * d.total as total \
         from (select *, convert_from(body, 'UTF8')::jsonb -> 'buyer' as buyer, \
                case kind when 'credit_note' then -1 else 1 end as sign \
            from document_now where issue_date >= $1 and issue_date < $2) d \
         join brand b using (brand_no) \
         left join document_period p on p.document_no = d.document_no and p.is_regular \
         order by d.issue_date, d.document_no",
    )
    .bind(from)
    .bind(until)
    .fetch(connection)
    .map_err(Error::from)
}

/// What is open in one currency, by days past the due date.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Ageing {
    pub currency: String,
    pub current: Decimal,
    pub days_1_30: Decimal,
    pub days_31_60: Decimal,
    pub days_61_90: Decimal,
    pub days_over_90: Decimal,
    /// How many documents that is.
    pub documents: i64,
    /// What is owed to buyers: paid too much, or a credit note that is not for a document.
    pub owed_to_buyers: Decimal,
}

/// What was open at the end of a day: documents that were issued by then, less payments and credit notes of
/// up to that day. Voided and written off ones are not open; what was paid too much of the latter is owed to the
/// buyer all the same.
///
/// # Errors
/// If the database is away.
pub async fn ageing(
    executor: impl PgExecutor<'_>,
    day: NaiveDate,
    brand_no: Option<i32>,
) -> Result<Vec<Ageing>, Error> {
    Ok(sqlx::query_as(
        "with issued as (select * from document d where d.issue_date <= $1 \
                and ($2::int is null or d.brand_no = $2) \
                and not exists (select from document_event e \
                    where e.document_no = d.document_no and e.kind = 'voided')), \
            paid as (select document_no, sum(amount) as amount from payment \
                where paid_on <= $1 group by document_no), \
            credited as (select n.credits_document as document_no, sum(c.total) as amount \
                from (select distinct document_no, credits_document from document_line \
                    where credits_document is not null) n join issued c using (document_no) \
                group by n.credits_document), \
            owed as (select d.currency, greatest($1 - d.due_date, 0) as days, \
                case when exists (select from document_event e \
                    where e.document_no = d.document_no and e.kind = 'written_off' \
                        and e.made_at::date <= $1) then least(o.due, 0) else o.due end as due \
                from issued d left join paid p using (document_no) \
                left join credited c using (document_no) \
                cross join lateral (select \
                    d.total - coalesce(c.amount, 0) - coalesce(p.amount, 0) as due) o \
                where d.kind <> 'credit_note' \
                union all \
                select d.currency, 0, - d.total - coalesce(p.amount, 0) from issued d \
                left join paid p using (document_no) \
                where d.kind = 'credit_note' and d.cause = 'periods') \
         select currency, coalesce(sum(due) filter (where due > 0 and days = 0), 0) as current, \
            coalesce(sum(due) filter (where due > 0 and days between 1 and 30), 0) as days_1_30, \
            coalesce(sum(due) filter (where due > 0 and days between 31 and 60), 0) as days_31_60, \
            coalesce(sum(due) filter (where due > 0 and days between 61 and 90), 0) as days_61_90, \
            coalesce(sum(due) filter (where due > 0 and days > 90), 0) as days_over_90, \
            count(*) filter (where due > 0) as documents, \
            coalesce(- sum(due) filter (where due < 0), 0) as owed_to_buyers \
         from owed group by currency having bool_or(due <> 0) order by currency",
    )
    .bind(day)
    .bind(brand_no)
    .fetch_all(executor)
    .await?)
}
