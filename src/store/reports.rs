//! Sums over documents that stand, for the books.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{FromRow, PgExecutor};

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
