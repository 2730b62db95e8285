//! What was not counted and may need a person: rejections, and the tally of failed proofs.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgTransaction};

use super::Error;
use super::commit::{NewFailures, NewRejection, Settlement};

/// Keeps `rejections`. One of a position that is kept already stays as it is.
pub(super) async fn add(
    transaction: &mut PgTransaction<'_>,
    rejections: &[NewRejection],
) -> Result<(), Error> {
    if rejections.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into rejection (epoch, sequence, stored_at, subject, reason, detail, brand_id, \
            receipt_id, raw) \
         select * from unnest($1::int[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], \
            $6::text[], $7::text[], $8::text[], $9::bytea[]) \
         on conflict (epoch, sequence) do nothing",
    )
    .bind(rejections.iter().map(|new| new.epoch).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.sequence).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.stored_at).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.subject.as_str()).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.reason).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.detail.as_str()).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.brand_id.as_deref()).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.receipt_id.as_deref()).collect::<Vec<_>>())
    .bind(rejections.iter().map(|new| new.raw.as_slice()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Adds failed proofs to their tallies.
pub(super) async fn add_failures(
    transaction: &mut PgTransaction<'_>,
    failures: &[NewFailures],
) -> Result<(), Error> {
    if failures.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into failed_day as f (failed_on, predicate, error_code, failures) \
         select * from unnest($1::date[], $2::text[], $3::text[], $4::bigint[]) \
         on conflict (failed_on, predicate, error_code) do update \
         set failures = f.failures + excluded.failures",
    )
    .bind(failures.iter().map(|new| new.failed_on).collect::<Vec<_>>())
    .bind(failures.iter().map(|new| new.predicate.as_str()).collect::<Vec<_>>())
    .bind(failures.iter().map(|new| new.error_code.as_str()).collect::<Vec<_>>())
    .bind(failures.iter().map(|new| new.failures).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Ends rejections that are still open; one that was settled meanwhile stays as it is.
pub(super) async fn settle(
    transaction: &mut PgTransaction<'_>,
    settlements: &[Settlement],
) -> Result<(), Error> {
    if settlements.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update rejection r set state = s.state, entry = s.entry, settled_at = now(), \
            settled_by = s.settled_by, settlement = s.settlement \
         from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[]) \
            as s (rejection_no, state, entry, settled_by, settlement) \
         where r.rejection_no = s.rejection_no and r.state = 'open'",
    )
    .bind(settlements.iter().map(|of| of.rejection_no).collect::<Vec<_>>())
    .bind(settlements.iter().map(|of| of.state).collect::<Vec<_>>())
    .bind(settlements.iter().map(|of| of.entry).collect::<Vec<_>>())
    .bind(settlements.iter().map(|of| of.settled_by.as_str()).collect::<Vec<_>>())
    .bind(settlements.iter().map(|of| of.settlement.as_str()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A rejection as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Rejection {
    pub rejection_no: i64,
    pub epoch: i32,
    pub sequence: i64,
    pub stored_at: DateTime<Utc>,
    pub subject: String,
    pub reason: String,
    pub detail: String,
    pub brand_id: Option<String>,
    pub receipt_id: Option<String>,
    pub raw: Vec<u8>,
    pub state: String,
    pub entry: Option<i64>,
    pub settled_at: Option<DateTime<Utc>>,
    pub settled_by: Option<String>,
    pub settlement: Option<String>,
}

/// Which rejections are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these numbers; empty for any.
    pub numbers: Vec<i64>,
    pub reason: Option<String>,
    pub brand: Option<String>,
    /// `open`, `retried`, `dismissed`, or any.
    pub state: Option<String>,
    /// Only numbers above this one, for paging.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// The rejections that `filter` names, by number.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Rejection>, Error> {
    let rejections = sqlx::query_as(
        "select rejection_no, epoch, sequence, stored_at, subject, reason, detail, brand_id, \
            receipt_id, raw, state, entry, settled_at, settled_by, settlement \
         from rejection \
         where (cardinality($1::bigint[]) = 0 or rejection_no = any($1)) \
            and ($2::text is null or reason = $2) and ($3::text is null or brand_id = $3) \
            and ($4::text is null or state = $4) and rejection_no > $5 \
         order by rejection_no limit $6",
    )
    .bind(&filter.numbers)
    .bind(&filter.reason)
    .bind(&filter.brand)
    .bind(&filter.state)
    .bind(filter.after)
    .bind(filter.limit)
    .fetch_all(executor)
    .await?;
    Ok(rejections)
}

impl Filter {
    /// True if it names some of them, and not all.
    pub fn is_narrow(&self) -> bool {
        !self.numbers.is_empty() || self.reason.is_some() || self.brand.is_some()
    }
}

/// Most rejections of one request.
pub const PAGE_ROWS: i64 = 1_000;

/// The numbers of the first open rejections that `filter` names, so many that a request for them makes
/// one chunk.
///
/// # Errors
/// If the database is away.
pub async fn page(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<i64>, Error> {
    const PAGE_BYTES: i64 = 4 << 20;
    let numbers = sqlx::query_scalar(
        "select rejection_no from ( \
            select rejection_no, \
                sum(length(raw)) over (order by rejection_no) - length(raw) as bytes_before \
            from rejection \
            where (cardinality($1::bigint[]) = 0 or rejection_no = any($1)) \
                and ($2::text is null or reason = $2) and ($3::text is null or brand_id = $3) \
                and state = 'open' and rejection_no > $4) r \
         where bytes_before < $6 order by rejection_no limit $5",
    )
    .bind(&filter.numbers)
    .bind(&filter.reason)
    .bind(&filter.brand)
    .bind(filter.after)
    .bind(PAGE_ROWS)
    .bind(PAGE_BYTES)
    .fetch_all(executor)
    .await?;
    Ok(numbers)
}

/// Open rejections by reason.
///
/// # Errors
/// If the database is away.
pub async fn open_by_reason(executor: impl PgExecutor<'_>) -> Result<Vec<(String, i64)>, Error> {
    Ok(sqlx::query_as(
        "select reason, count(*) from rejection where state = 'open' group by reason order by reason",
    )
    .fetch_all(executor)
    .await?)
}

/// Failed proofs by day, predicate and error code.
///
/// # Errors
/// If the database is away.
pub async fn failures(executor: impl PgExecutor<'_>) -> Result<Vec<NewFailures>, Error> {
    let rows: Vec<(chrono::NaiveDate, String, String, i64)> = sqlx::query_as(
        "select failed_on, predicate, error_code, failures from failed_day \
         order by failed_on, predicate, error_code",
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(failed_on, predicate, error_code, failures)| NewFailures {
            failed_on,
            predicate,
            error_code,
            failures,
        })
        .collect())
}

/// Open rejections that name no brand that is known: nobody is billed for them.
///
/// # Errors
/// If the database is away.
pub async fn open_without_brand(executor: impl PgExecutor<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "select count(*) from rejection r where state = 'open' \
            and not exists (select from brand b where b.brand_id = r.brand_id)",
    )
    .fetch_one(executor)
    .await?)
}
