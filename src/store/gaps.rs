//! Gaps: positions whose events may be lost. Open until a person has accepted them, with a reason.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool, PgTransaction};

use super::Error;

/// Why positions are a gap. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The stream no longer has them: dropped by its limits, purged or deleted.
    Missing,
    /// They were committed, and the database has forgotten it: it was restored to an earlier point.
    /// They are read again.
    CommitsLost,
    /// The stream is not the one that was metered; what the old one held after this is unknown.
    StreamChanged,
}

impl Reason {
    pub const ALL: [Self; 3] = [Self::Missing, Self::CommitsLost, Self::StreamChanged];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::CommitsLost => "commits_lost",
            Self::StreamChanged => "stream_changed",
        }
    }
}

/// A gap that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGap {
    pub epoch: i32,
    pub first: i64,
    /// `None` where nobody can know.
    pub last: Option<i64>,
    pub reason: Reason,
    pub detail: String,
    /// Store time of the first message after it, if there is one.
    pub next_stored_at: Option<DateTime<Utc>>,
}

impl NewGap {
    /// How many positions it has, as far as that is known.
    pub fn positions(&self) -> i64 {
        self.last.map_or(0, |last| last - self.first + 1)
    }
}

/// An operator's word that what is in these gaps will not come.
#[derive(Clone, Debug)]
pub struct Acceptance {
    pub numbers: Vec<i64>,
    pub by: String,
    pub because: String,
}

/// A gap as it is listed.
#[derive(Clone, Debug, FromRow)]
pub struct Gap {
    pub gap_no: i64,
    pub epoch: i32,
    pub first: i64,
    pub last: Option<i64>,
    pub reason: String,
    pub detail: String,
    pub found_at: DateTime<Utc>,
    pub next_stored_at: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub accepted_by: Option<String>,
    pub acceptance: Option<String>,
}

/// Which gaps are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these numbers; empty for any.
    pub numbers: Vec<i64>,
    /// Only open ones, only accepted ones, or any.
    pub is_open: Option<bool>,
    /// At most so many.
    pub limit: i64,
}

/// Most gaps of one request.
pub const PAGE_ROWS: i64 = 1_000;

/// Keeps the gaps of a chunk, in its transaction.
pub(super) async fn add(transaction: &mut PgTransaction<'_>, gaps: &[NewGap]) -> Result<(), Error> {
    if gaps.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into gap (epoch, first, last, reason, detail, next_stored_at) \
         select * from unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], \
            $6::timestamptz[])",
    )
    .bind(gaps.iter().map(|new| new.epoch).collect::<Vec<_>>())
    .bind(gaps.iter().map(|new| new.first).collect::<Vec<_>>())
    .bind(gaps.iter().map(|new| new.last).collect::<Vec<_>>())
    .bind(gaps.iter().map(|new| new.reason.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|new| new.detail.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|new| new.next_stored_at).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Notes when the first message after the gap that ends at `last` was stored.
pub(super) async fn note_next(
    transaction: &mut PgTransaction<'_>,
    epoch: i32,
    last: i64,
    stored_at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "update gap set next_stored_at = $3 where epoch = $1 and last = $2 \
            and reason = 'missing' and next_stored_at is null",
    )
    .bind(epoch)
    .bind(last)
    .bind(stored_at)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Accepts those of the gaps that are open, and answers the request.
pub(super) async fn accept(
    transaction: &mut PgTransaction<'_>,
    acceptance: &Acceptance,
) -> Result<(), Error> {
    sqlx::query(
        "update gap set accepted_at = now(), accepted_by = $2, acceptance = $3 \
         where gap_no = any($1) and accepted_at is null",
    )
    .bind(&acceptance.numbers)
    .bind(&acceptance.by)
    .bind(&acceptance.because)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Keeps a gap that is found outside of any chunk, under the engine's fence. True if it is new: not
/// within an open one of the same reason.
///
/// # Errors
/// If the database is away.
pub async fn note(pool: &PgPool, fence: i64, gap: &NewGap) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "insert into gap (epoch, first, last, reason, detail, next_stored_at) \
         select $2, $3, $4, $5, $6, $7 from cursor where fence = $1 and not exists ( \
            select from gap where epoch = $2 and reason = $5 and accepted_at is null \
                and first <= $3 and (last is null or last >= $4)) \
         on conflict (epoch, reason, first) where accepted_at is null \
            do update set detail = excluded.detail, last = case when excluded.last is not null \
                then greatest(gap.last, excluded.last) end",
    )
    .bind(fence)
    .bind(gap.epoch)
    .bind(gap.first)
    .bind(gap.last)
    .bind(gap.reason.as_str())
    .bind(&gap.detail)
    .bind(gap.next_stored_at)
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// True if a gap ends at `last` whose next message has not been seen.
///
/// # Errors
/// If the database is away.
pub async fn awaits_next(pool: &PgPool, epoch: i32, last: i64) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select exists (select from gap where epoch = $1 and last = $2 \
            and reason = 'missing' and next_stored_at is null)",
    )
    .bind(epoch)
    .bind(last)
    .fetch_one(pool)
    .await?)
}

/// The gaps that `filter` names, by number.
///
/// # Errors
/// If the database is away.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Vec<Gap>, Error> {
    after(executor, filter, 0).await
}

/// As [`list`], only those with numbers above `gap_no`.
///
/// # Errors
/// If the database is away.
pub async fn after(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    gap_no: i64,
) -> Result<Vec<Gap>, Error> {
    Ok(sqlx::query_as(
        "select gap_no, epoch, first, last, reason, detail, found_at, next_stored_at, accepted_at, \
            accepted_by, acceptance from gap \
         where (cardinality($1::bigint[]) = 0 or gap_no = any($1)) \
            and ($2::bool is null or (accepted_at is null) = $2) and gap_no > $4 \
         order by gap_no limit $3",
    )
    .bind(&filter.numbers)
    .bind(filter.is_open)
    .bind(filter.limit)
    .bind(gap_no)
    .fetch_all(executor)
    .await?)
}

/// How many gaps are open, by reason.
///
/// # Errors
/// If the database is away.
pub async fn open_by_reason(executor: impl PgExecutor<'_>) -> Result<Vec<(Reason, i64)>, Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select reason, count(*) from gap where accepted_at is null group by reason",
    )
    .fetch_all(executor)
    .await?;
    let of = |reason: Reason| {
        rows.iter().find(|(name, _)| name == reason.as_str()).map_or(0, |(_, count)| *count)
    };
    Ok(Reason::ALL.map(|reason| (reason, of(reason))).into())
}
