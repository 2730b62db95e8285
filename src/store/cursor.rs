//! The cursor: how far we are. The only truth about it is its row.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::Error;

/// The cursor's row.
#[derive(Clone, Debug, FromRow)]
pub struct Cursor {
    pub fence: i64,
    /// The stream that is read; `None` until the first engine has started.
    pub stream: Option<String>,
    pub epoch: i32,
    /// The epoch begins at `began_after + 1`.
    pub began_after: i64,
    pub sequence: i64,
    pub stored_at: Option<DateTime<Utc>>,
    pub entry: i64,
    pub segment_entries: Option<i64>,
    pub chunk: i64,
    #[sqlx(flatten)]
    pub totals: Totals,
}

/// How far somebody says that we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub epoch: i32,
    pub sequence: i64,
    pub entry: i64,
    pub fence: i64,
}

impl Cursor {
    pub fn place(&self) -> Place {
        let Self { epoch, sequence, entry, fence, .. } = *self;
        Place { epoch, sequence, entry, fence }
    }
}

/// Positions by disposition, over all epochs, and receipts counted later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Totals {
    pub counted: i64,
    pub duplicate: i64,
    pub conflict: i64,
    pub rejected: i64,
    pub ignored: i64,
    pub parked: i64,
    pub gap: i64,
    pub counted_later: i64,
    /// Entries that took back another one.
    pub voided: i64,
    /// Entries that count another content in the place of one that was taken back.
    pub resolved: i64,
    /// Entries that were moved to `ledger_double`.
    pub doubled: i64,
}

impl Totals {
    /// Positions that have a disposition.
    pub fn positions(&self) -> i64 {
        self.counted
            + self.duplicate
            + self.conflict
            + self.rejected
            + self.ignored
            + self.parked
            + self.gap
    }

    /// Entries that were ever given, whatever became of them.
    pub fn entries(&self) -> i64 {
        self.counted + self.counted_later + self.voided + self.resolved + self.doubled
    }
}

const COLUMNS: &str = "select fence, stream, epoch, began_after, sequence, stored_at, entry, \
    segment_entries, chunk, counted, duplicate, conflict, rejected, ignored, parked, gap, \
    counted_later, voided, resolved, doubled from cursor";

/// Reads the cursor.
///
/// # Errors
/// If the database is away or not migrated.
pub async fn read(executor: impl PgExecutor<'_>) -> Result<Cursor, Error> {
    Ok(sqlx::query_as(COLUMNS).fetch_one(executor).await?)
}

/// Notes that the cursor had, at a moment, everything that the stream had. Only for the engine whose cursor
/// it still is, and once usage has it all too, since periods end by this.
///
/// # Errors
/// If the database is away.
pub async fn note_caught_up(
    pool: &PgPool,
    cursor: &Cursor,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "update caught_up set at = greatest(at, $3), epoch = $2, sequence = $4 \
         where exists (select from cursor where fence = $1 and epoch = $2) \
            and exists (select from usage_fold where entry >= $5)",
    )
    .bind(cursor.fence)
    .bind(cursor.epoch)
    .bind(at)
    .bind(cursor.sequence)
    .bind(cursor.entry)
    .execute(pool)
    .await?;
    Ok(())
}

/// Reads the cursor and keeps it from moving until the transaction ends.
pub(super) async fn read_for_update(executor: impl PgExecutor<'_>) -> Result<Cursor, Error> {
    // The clause is added to a constant of ours, so nothing can be smuggled in.
    let query = sqlx::AssertSqlSafe(format!("{COLUMNS} for update"));
    Ok(sqlx::query_as(query).fetch_one(executor).await?)
}

/// Keeps the cursor of this engine from moving until the transaction ends. Returns its entry.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; or if the database is away.
pub(super) async fn hold(executor: impl PgExecutor<'_>, fence: i64) -> Result<i64, Error> {
    let entry = sqlx::query_scalar("select entry from cursor where fence = $1 for update")
        .bind(fence)
        .fetch_optional(executor)
        .await?;
    entry.ok_or(Error::Stale { fence })
}

/// Lives of the engine that did not end in order, the present one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Lives {
    /// How many in a row have not committed anything.
    pub without_commit: i32,
    /// How many began within a stretch of the stream, and where it begins.
    pub in_stretch: i32,
    pub stretch_from: i64,
}

/// Notes that a life of the engine begins to meter. A new stretch begins where the one before is more
/// than `stretch` positions behind.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; or if the database is away.
pub async fn note_life(pool: &PgPool, fence: i64, stretch: i64) -> Result<Lives, Error> {
    let lives = sqlx::query_as(
        "update cursor set lives_without_commit = lives_without_commit + 1, \
            lives_in_stretch = case when lives_in_stretch > 0 and sequence < stretch_from + $2 \
                then lives_in_stretch + 1 else 1 end, \
            stretch_from = case when lives_in_stretch > 0 and sequence < stretch_from + $2 \
                then stretch_from else sequence end \
         where fence = $1 \
         returning lives_without_commit as without_commit, lives_in_stretch as in_stretch, \
            stretch_from",
    )
    .bind(fence)
    .bind(stretch)
    .fetch_optional(pool)
    .await?;
    lives.ok_or(Error::Stale { fence })
}

/// Notes that this life of the engine ends in order: it was not ended by an event.
///
/// # Errors
/// If the database is away.
pub async fn note_end(pool: &PgPool, fence: i64) -> Result<(), Error> {
    sqlx::query(
        "update cursor set lives_without_commit = 0, lives_in_stretch = 0 where fence = $1",
    )
    .bind(fence)
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes a new fence for an engine that reads `stream`, so that chunks of every earlier engine fail.
/// The first engine ever also fixes the size of a segment and the place where the epoch begins:
/// `began_after`, one before the first message that the stream still has.
///
/// # Errors
/// If the database is away.
pub async fn take_fence(
    pool: &PgPool,
    stream: &str,
    began_after: i64,
    segment_entries: i64,
) -> Result<Cursor, Error> {
    sqlx::query(
        "update cursor set fence = fence + 1, \
            began_after = case when stream is null then $2 else began_after end, \
            sequence = case when stream is null then $2 else sequence end, \
            segment_entries = coalesce(segment_entries, $3), \
            stream = coalesce(stream, $1)",
    )
    .bind(stream)
    .bind(began_after)
    .bind(segment_entries)
    .execute(pool)
    .await?;
    read(pool).await
}
