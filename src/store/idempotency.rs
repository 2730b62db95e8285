//! Answers that are kept under a caller's Idempotency-Key, so that what is sent again is not done again.

use std::collections::BTreeMap;

use billing::hash::Hash;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::Error;

/// Older ones are forgotten.
const KEPT: &str = "30 days";
/// A first request that has not answered for so long never will: its process is gone, or could not note the
/// answer. What it did is not known here, so it is not done again.
const ABANDONED: &str = "10 minutes";

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: the request is the first, and is noted.
    First,
    /// The first one is at work.
    Running,
    /// The first one never answered: it may have been done or not.
    Unknown,
    /// The first one was another request.
    Other,
    /// The first one's answer; `None` where it was not kept.
    Answered { status: u16, answer: Option<Answer> },
}

/// What was answered, beside the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By their names in lower case; only those that belong to the answer and not to its transport.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(FromRow)]
struct Row {
    request_hash: Vec<u8>,
    is_abandoned: bool,
    status: Option<i16>,
    answer: Option<Vec<u8>>,
    headers: Option<Json<BTreeMap<String, String>>>,
}

/// Notes a request under the caller's key, or says what became of the first one.
///
/// # Errors
/// If the database is away.
pub async fn begin(pool: &PgPool, caller: &str, key: &str, request: Hash) -> Result<Known, Error> {
    sqlx::query(
        "delete from idempotency_key where (caller, key) in (select caller, key \
            from idempotency_key where began_at < now() - $1::interval order by began_at limit 10)",
    )
    .bind(KEPT)
    .execute(pool)
    .await?;
    let first = sqlx::query(
        "insert into idempotency_key (caller, key, request_hash) values ($1, $2, $3) \
         on conflict do nothing",
    )
    .bind(caller)
    .bind(key)
    .bind(request.as_bytes().as_slice())
    .execute(pool)
    .await?;
    if first.rows_affected() == 1 {
        return Ok(Known::First);
    }
    let row: Option<Row> = sqlx::query_as(
        "select request_hash, began_at < now() - $3::interval as is_abandoned, status, answer, \
            headers from idempotency_key where caller = $1 and key = $2",
    )
    .bind(caller)
    .bind(key)
    .bind(ABANDONED)
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some(row) if row.request_hash != request.as_bytes() => Known::Other,
        Some(Row { status: None, is_abandoned: true, .. }) => Known::Unknown,
        // Without a row the first one has just failed and taken its note back.
        None | Some(Row { status: None, .. }) => Known::Running,
        Some(Row { status: Some(status), answer, headers, .. }) => {
            let headers = headers.map(|Json(headers)| headers).unwrap_or_default();
            let answer = answer.map(|body| Answer { headers, body });
            Known::Answered { status: status.unsigned_abs(), answer }
        }
    })
}

/// Keeps the answer; `None` notes only that there was one.
///
/// # Errors
/// If the database is away.
pub async fn keep(
    pool: &PgPool,
    caller: &str,
    key: &str,
    status: u16,
    answer: Option<&Answer>,
) -> Result<(), Error> {
    sqlx::query(
        "update idempotency_key set status = $3, answer = $4, headers = $5 \
         where caller = $1 and key = $2",
    )
    .bind(caller)
    .bind(key)
    .bind(status.cast_signed())
    .bind(answer.map(|answer| answer.body.as_slice()))
    .bind(answer.map(|answer| Json(&answer.headers)))
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes the note of a request back that came to nothing, so that it can be sent again.
///
/// # Errors
/// If the database is away.
pub async fn forget(pool: &PgPool, caller: &str, key: &str) -> Result<(), Error> {
    sqlx::query("delete from idempotency_key where caller = $1 and key = $2 and status is null")
        .bind(caller)
        .bind(key)
        .execute(pool)
        .await?;
    Ok(())
}
