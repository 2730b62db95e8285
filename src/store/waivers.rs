//! Waivers: usage days without an assignment that nobody will pay for. Their receipts stay counted.

use billing::assignment::{Refusal, Stretch, check_waiver};
use billing::ids::BrandId;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::assignments::Held;
use super::brands::Scope;
use super::over_brands::{self, Listed, Place};
use super::{Error, change};

/// A waiver, with its withdrawal if it was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Record {
    pub waiver_no: i64,
    pub brand_id: String,
    pub from_day: NaiveDate,
    pub until_day: NaiveDate,
    pub because: String,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    pub withdrawn_at: Option<DateTime<Utc>>,
    pub withdrawn_by: Option<String>,
    pub withdrawn_because: Option<String>,
}

impl Record {
    pub(super) fn stretch(&self) -> Stretch {
        Stretch { no: self.waiver_no, from: self.from_day, until: Some(self.until_day) }
    }
}

/// The waivers of all brands, or of some, withdrawn ones too; by brand and day.
///
/// # Errors
/// If the database is away.
pub async fn records(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<Vec<Record>, Error> {
    Ok(sqlx::query_as(
        "select w.waiver_no, b.brand_id, w.from_day, w.until_day, w.because, w.made_at, w.made_by, \
            d.made_at as withdrawn_at, d.made_by as withdrawn_by, d.because as withdrawn_because \
         from waiver w join brand b using (brand_no) left join waiver_withdrawal d using (waiver_no) \
         where $1::int[] is null or w.brand_no = any($1) \
         order by b.brand_id, w.from_day, w.waiver_no",
    )
    .bind(scope.into().numbers())
    .fetch_all(executor)
    .await?)
}

/// At most `limit` waivers of all brands or of one, withdrawn ones too, by the bytes of the brand's id, day and
/// number, after a place.
///
/// # Errors
/// If the database is away.
pub async fn page(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Record>, Error> {
    let listed = Listed {
        table: "waiver",
        no: "waiver_no",
        select: "select a.waiver_no, b.brand_id, a.from_day, a.until_day, a.because, a.made_at, \
                a.made_by, d.made_at as withdrawn_at, d.made_by as withdrawn_by, \
                d.because as withdrawn_because \
            from b join waiver a using (brand_no) left join waiver_withdrawal d using (waiver_no)",
    };
    over_brands::page(executor, listed, brand_no, after, limit).await
}

/// The waiver of this number.
///
/// # Errors
/// If the database is away.
pub async fn find(executor: impl PgExecutor<'_>, waiver_no: i64) -> Result<Option<Record>, Error> {
    Ok(sqlx::query_as(
        "select w.waiver_no, b.brand_id, w.from_day, w.until_day, w.because, w.made_at, w.made_by, \
            d.made_at as withdrawn_at, d.made_by as withdrawn_by, d.because as withdrawn_because \
         from waiver w join brand b using (brand_no) left join waiver_withdrawal d using (waiver_no) \
         where w.waiver_no = $1",
    )
    .bind(waiver_no)
    .fetch_optional(executor)
    .await?)
}

/// Those that were not withdrawn.
///
/// # Errors
/// If the database is away.
pub async fn standing(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
) -> Result<Vec<Record>, Error> {
    let mut all = records(executor, brand_no).await?;
    all.retain(|record| record.withdrawn_at.is_none());
    Ok(all)
}

/// Waives the usage of `[from, until)`, whenever it is counted. The answer is the waiver's number.
///
/// # Errors
/// If the database is away; the inner error says why it is refused.
pub async fn waive(
    pool: &PgPool,
    brand: &BrandId,
    (from, until): (NaiveDate, NaiveDate),
    because: &str,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Result<i64, Refusal>, Error> {
    let mut transaction = change::begin(pool).await?;
    let held = Held::lock(&mut transaction, brand, now).await?;
    if let Err(refusal) = check_waiver(&held.taken(), from, until) {
        return Ok(Err(refusal));
    }
    let no = sqlx::query_scalar(
        "insert into waiver (brand_no, from_day, until_day, because, made_by) \
         values ($1, $2, $3, $4, $5) returning waiver_no",
    )
    .bind(held.brand.no)
    .bind(from)
    .bind(until)
    .bind(because)
    .bind(by)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Ok(no))
}

/// Withdraws a waiver, so that its days are unassigned again. False if the brand has no such waiver
/// that stands.
///
/// # Errors
/// If the database is away.
pub async fn withdraw(
    pool: &PgPool,
    brand: &BrandId,
    no: i64,
    because: &str,
    by: &str,
) -> Result<bool, Error> {
    let mut transaction = change::begin(pool).await?;
    let done = sqlx::query(
        "insert into waiver_withdrawal (waiver_no, because, made_by) \
         select w.waiver_no, $3, $4 from waiver w join brand b using (brand_no) \
         where w.waiver_no = $2 and b.brand_id = $1 on conflict (waiver_no) do nothing",
    )
    .bind(brand.as_str())
    .bind(no)
    .bind(because)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    change::commit_if(transaction, done.rows_affected() == 1).await
}
