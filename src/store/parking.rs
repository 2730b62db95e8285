//! Parked events: those of a brand that failed on them, kept with their bytes until it is unparked.

use chrono::{DateTime, Utc};
use sqlx::{Connection, FromRow, PgConnection, PgExecutor, PgTransaction};

use super::commit::{NewParked, Unparked};
use super::{Error, cursor, requests};

/// Parks a brand that somebody wants parked, and answers the request, in one transaction under the engine's
/// fence. The answer is whether the brand is parked now.
///
/// # Errors
/// [`Error::Stale`] if another engine has taken over; otherwise as any commit.
pub async fn begin(
    connection: &mut PgConnection,
    fence: i64,
    request_no: i64,
    brand_no: i32,
) -> Result<bool, Error> {
    let mut transaction = connection.begin().await?;
    cursor::hold(&mut *transaction, fence).await?;
    // An earlier try, whose reply was lost, may have done it.
    if !requests::is_waiting(&mut *transaction, request_no).await? {
        let is_parked = "select parked_at is not null from brand where brand_no = $1";
        let is_parked = sqlx::query_scalar(is_parked).bind(brand_no);
        return Ok(is_parked.fetch_one(&mut *transaction).await?);
    }
    requests::act_for(&mut *transaction, request_no).await?;
    let parked =
        sqlx::query("update brand set parked_at = now() where brand_no = $1 and parked_at is null")
            .bind(brand_no)
            .execute(&mut *transaction)
            .await?;
    let (state, text) = if parked.rows_affected() == 1 {
        ("done", "parked: its events are kept and not counted from now on, until it is unparked")
    } else {
        ("refused", "it is parked already")
    };
    requests::answer(&mut *transaction, request_no, state, text).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Keeps `parked` and marks their brands.
pub(super) async fn park(
    transaction: &mut PgTransaction<'_>,
    parked: &[NewParked],
) -> Result<(), Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let brands: Vec<i32> = parked.iter().map(|new| new.brand_no).collect();
    sqlx::query(
        "insert into parked_event (epoch, sequence, brand_no, stored_at, raw) \
         select * from unnest($1::int[], $2::bigint[], $3::int[], $4::timestamptz[], $5::bytea[])",
    )
    .bind(parked.iter().map(|new| new.epoch).collect::<Vec<_>>())
    .bind(parked.iter().map(|new| new.sequence).collect::<Vec<_>>())
    .bind(&brands)
    .bind(parked.iter().map(|new| new.stored_at).collect::<Vec<_>>())
    .bind(parked.iter().map(|new| new.raw.as_slice()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "update brand set parked_at = now() where brand_no = any($1) and parked_at is null",
    )
    .bind(&brands)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Writes what became of parked events, and ends the parking of a brand that has no more.
pub(super) async fn unpark(
    transaction: &mut PgTransaction<'_>,
    unparked: &[Unparked],
    ends_parking_of: Option<i32>,
) -> Result<(), Error> {
    if !unparked.is_empty() {
        sqlx::query(
            "update parked_event p set outcome = u.outcome, entry = u.entry, raw = null \
             from unnest($1::int[], $2::bigint[], $3::text[], $4::bigint[]) \
                as u (epoch, sequence, outcome, entry) \
             where p.epoch = u.epoch and p.sequence = u.sequence",
        )
        .bind(unparked.iter().map(|new| new.epoch).collect::<Vec<_>>())
        .bind(unparked.iter().map(|new| new.sequence).collect::<Vec<_>>())
        .bind(unparked.iter().map(|new| new.outcome).collect::<Vec<_>>())
        .bind(unparked.iter().map(|new| new.entry).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
    }
    if let Some(brand_no) = ends_parking_of {
        sqlx::query("update brand set parked_at = null where brand_no = $1")
            .bind(brand_no)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// A parked event that waits.
#[derive(Clone, Debug, FromRow)]
pub struct ParkedEvent {
    pub epoch: i32,
    pub sequence: i64,
    pub stored_at: DateTime<Utc>,
    pub raw: Vec<u8>,
}

/// The brand's oldest parked events after a position, at most `limit`.
///
/// # Errors
/// If the database is away.
pub async fn oldest(
    executor: impl PgExecutor<'_>,
    brand_no: i32,
    after: Option<(i32, i64)>,
    limit: usize,
) -> Result<Vec<ParkedEvent>, Error> {
    let (epoch, sequence) = after.unwrap_or_default();
    Ok(sqlx::query_as(
        "select epoch, sequence, stored_at, raw from parked_event \
         where brand_no = $1 and outcome is null and (epoch, sequence) > ($2, $3) \
         order by epoch, sequence limit $4",
    )
    .bind(brand_no)
    .bind(epoch)
    .bind(sequence)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?)
}
