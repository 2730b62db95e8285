//! Holds on brands and periods, and overrides of what speaks against an invoice. Rows are added and never
//! changed.

use billing::completeness::Finding;
use billing::ids::BrandId;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, PgPool};

use super::{Error, brands, change};

/// A hold, with its release if it was released.
#[derive(Clone, Debug, FromRow)]
pub struct Hold {
    pub hold_no: i64,
    pub brand_id: String,
    /// Of the period that begins on that day; `None` for the brand as a whole.
    pub period_start: Option<NaiveDate>,
    pub because: String,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    pub released_at: Option<DateTime<Utc>>,
    pub released_by: Option<String>,
}

/// Puts a brand, or its period that begins on a day, on hold. The answer is the hold's number.
///
/// # Errors
/// If the database is away.
pub async fn set(
    pool: &PgPool,
    brand: &BrandId,
    period_start: Option<NaiveDate>,
    because: &str,
    by: &str,
) -> Result<i64, Error> {
    let mut transaction = change::begin(pool).await?;
    let brand = brands::lock(&mut transaction, brand).await?;
    let no = sqlx::query_scalar(
        "insert into hold (brand_no, period_start, because, made_by) values ($1, $2, $3, $4) \
         returning hold_no",
    )
    .bind(brand.no)
    .bind(period_start)
    .bind(because)
    .bind(by)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(no)
}

/// Releases a hold. False if there is none of this number that stands.
///
/// # Errors
/// If the database is away.
pub async fn clear(pool: &PgPool, no: i64, because: &str, by: &str) -> Result<bool, Error> {
    let mut transaction = change::begin(pool).await?;
    let done = sqlx::query(
        "insert into hold_release (hold_no, because, made_by) \
         select hold_no, $2, $3 from hold where hold_no = $1 on conflict (hold_no) do nothing",
    )
    .bind(no)
    .bind(because)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    change::commit_if(transaction, done.rows_affected() == 1).await
}

/// Which holds are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub brand_no: Option<i32>,
    /// Released ones too.
    pub released: bool,
    /// This one.
    pub hold_no: Option<i64>,
    /// Those of a number above this.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: i64,
}

/// The holds that `filter` names, by number.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Hold>, Error> {
    Ok(sqlx::query_as(
        "select h.hold_no, b.brand_id, h.period_start, h.because, h.made_at, h.made_by, \
            r.made_at as released_at, r.made_by as released_by \
         from hold h join brand b using (brand_no) left join hold_release r using (hold_no) \
         where ($1 or r.hold_no is null) and ($2::int is null or h.brand_no = $2) \
            and ($3::bigint is null or h.hold_no = $3) \
            and ($4::bigint is null or h.hold_no > $4) order by h.hold_no limit $5",
    )
    .bind(filter.released)
    .bind(filter.brand_no)
    .bind(filter.hold_no)
    .bind(filter.after)
    .bind(filter.limit)
    .fetch_all(executor)
    .await?)
}

/// Answers for a finding against the invoice of the period that begins on a day: for the cases that it has, and
/// for none that comes later.
///
/// # Errors
/// If the database is away.
pub async fn override_reason(
    pool: &PgPool,
    brand: &BrandId,
    period_start: NaiveDate,
    finding: &Finding,
    because: &str,
    by: &str,
) -> Result<(), Error> {
    let mut transaction = change::begin(pool).await?;
    let brand = brands::lock(&mut transaction, brand).await?;
    sqlx::query(
        "insert into period_override (brand_no, period_start, reason, because, made_by, cases) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(brand.no)
    .bind(period_start)
    .bind(finding.reason.as_str())
    .bind(because)
    .bind(by)
    .bind(Json(&finding.cases))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
