//! Epochs: the lives of the stream. A stream that was re-created or restored begins a new one, by an
//! operator's word; positions of one epoch mean nothing in another, receipts are the same in all.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, FromRow, PgExecutor, PgTransaction};

use super::cursor::{self, Cursor};
use super::{Error, requests};

/// The beginning of a new epoch.
#[derive(Clone, Debug)]
pub struct Adoption {
    pub fence: i64,
    /// Names the attempt, as a chunk's does.
    pub chunk: i64,
    /// The epoch that ends.
    pub epoch: i32,
    /// One before the first position of the stream as it is now.
    pub began_after: i64,
    /// Store time of the stream's first message, if it has one.
    pub first_stored_at: Option<DateTime<Utc>>,
    pub request_no: i64,
    pub by: String,
    pub because: String,
}

/// Positions of an epoch that were metered: those after `began_after`, up to and with `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Extent {
    pub epoch: i32,
    pub began_after: i64,
    pub sequence: i64,
}

/// The extents of all epochs, the present one last.
///
/// # Errors
/// If the database is away.
pub async fn extents(executor: impl PgExecutor<'_>) -> Result<Vec<Extent>, Error> {
    Ok(sqlx::query_as(
        "select epoch, began_after, sequence from epoch \
         union all select epoch, began_after, sequence from cursor order by 1",
    )
    .fetch_all(executor)
    .await?)
}

/// Ends the present epoch and begins the next, or finds that an earlier attempt did. Answers the
/// request in the same transaction. Returns the cursor after it.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; otherwise as any commit.
pub async fn adopt(connection: &mut PgConnection, adoption: &Adoption) -> Result<Cursor, Error> {
    let mut transaction = connection.begin().await?;
    let before = cursor::read_for_update(&mut *transaction).await?;
    if before.fence != adoption.fence {
        return Err(Error::Stale { fence: adoption.fence });
    }
    if before.chunk == adoption.chunk {
        return Ok(before);
    }
    if before.epoch != adoption.epoch {
        return Err(Error::Corrupt(format!(
            "epoch {} is to end, but the cursor is in epoch {}",
            adoption.epoch, before.epoch
        )));
    }
    begin_next(&mut transaction, &before, adoption).await?;
    let text = format!(
        "epoch {} begins after position {}; what is in the stream is metered from its first message",
        adoption.epoch + 1,
        adoption.began_after
    );
    requests::answer(&mut *transaction, adoption.request_no, "done", &text).await?;
    let after = cursor::read(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(after)
}

async fn begin_next(
    transaction: &mut PgTransaction<'_>,
    before: &Cursor,
    adoption: &Adoption,
) -> Result<(), Error> {
    sqlx::query(
        "insert into epoch (epoch, began_after, sequence, stored_at, ended_by, because) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(before.epoch)
    .bind(before.began_after)
    .bind(before.sequence)
    .bind(before.stored_at)
    .bind(&adoption.by)
    .bind(&adoption.because)
    .execute(&mut **transaction)
    .await?;
    // The gap that the change has made ends where the new epoch begins.
    sqlx::query(
        "update gap set next_stored_at = $2 where epoch = $1 and reason = 'stream_changed' \
            and next_stored_at is null",
    )
    .bind(before.epoch)
    .bind(adoption.first_stored_at)
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "update cursor set epoch = epoch + 1, began_after = $1, sequence = $1, stored_at = null, \
            chunk = $2, lives_without_commit = 0, lives_in_stretch = 0, stretch_from = $1",
    )
    .bind(adoption.began_after)
    .bind(adoption.chunk)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
