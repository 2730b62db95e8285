//! Answers that are kept under a caller's Idempotency-Key, so that what is sent again is not done again.
//!
//! A row is one try at a time. Its changes note themselves on it in their own transactions (see
//! [`change`](super::change)), so a try that ended in an error has made none if its row says so; its row is
//! then taken back, and with it goes the right to make any that are still on their way.

use std::collections::BTreeMap;

use billing::hash::Hash;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::Error;
use super::change::Attempt;

/// Older ones are forgotten.
const KEPT: &str = "30 days";
/// A try that has neither answered nor begun a change for so long never will: its process is gone, or could not
/// note the answer.
const ABANDONED: &str = "10 minutes";

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing that was done: the request is to be done now, as this try.
    First(Attempt),
    /// Another try is at work.
    Running,
    /// It was done, at least in part, and its answer is lost.
    Done,
    /// An engine before this one never answered it: it may have been done or not.
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
    state: String,
    status: Option<i16>,
    answer: Option<Vec<u8>>,
    headers: Option<Json<BTreeMap<String, String>>>,
}

impl Row {
    fn answered(self) -> Option<Known> {
        let status = self.status?.unsigned_abs();
        let headers = self.headers.map(|Json(headers)| headers).unwrap_or_default();
        Some(Known::Answered { status, answer: self.answer.map(|body| Answer { headers, body }) })
    }
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
    let first: Option<String> = sqlx::query_scalar(
        "insert into idempotency_key (caller, key, request_hash, attempt) \
         values ($1, $2, $3, gen_random_uuid()) on conflict do nothing returning attempt::text",
    )
    .bind(caller)
    .bind(key)
    .bind(request.as_bytes().as_slice())
    .fetch_optional(pool)
    .await?;
    if let Some(attempt) = first {
        return Ok(Known::First(Attempt(attempt)));
    }
    let row: Option<Row> = sqlx::query_as(
        "select request_hash, status, answer, headers, case \
                when status is not null then 'answered' \
                when done_at is not null and (ended_at is not null or is_old) then 'done' \
                when not is_old then 'running' \
                when attempt is not null then 'abandoned' \
                else 'unknown' end as state \
         from idempotency_key, lateral (select began_at < now() - $3::interval as is_old) as age \
         where caller = $1 and key = $2",
    )
    .bind(caller)
    .bind(key)
    .bind(ABANDONED)
    .fetch_optional(pool)
    .await?;
    // Without a row the first one has just failed and taken its note back.
    let Some(row) = row else { return Ok(Known::Running) };
    if row.request_hash != request.as_bytes() {
        return Ok(Known::Other);
    }
    match row.state.as_str() {
        "done" => Ok(Known::Done),
        "unknown" => Ok(Known::Unknown),
        "abandoned" => take_over(pool, caller, key).await,
        _ => Ok(row.answered().unwrap_or(Known::Running)),
    }
}

/// Gives an abandoned key to a new try, unless the old one has done something in this moment. What it sends
/// from now on is refused.
async fn take_over(pool: &PgPool, caller: &str, key: &str) -> Result<Known, Error> {
    let attempt: Option<String> = sqlx::query_scalar(
        "update idempotency_key set attempt = gen_random_uuid(), began_at = now() \
         where caller = $1 and key = $2 and attempt is not null and done_at is null \
            and status is null and began_at < now() - $3::interval returning attempt::text",
    )
    .bind(caller)
    .bind(key)
    .bind(ABANDONED)
    .fetch_optional(pool)
    .await?;
    Ok(attempt.map_or(Known::Running, |attempt| Known::First(Attempt(attempt))))
}

/// Keeps the answer; `None` notes only that there was one.
///
/// # Errors
/// If the database is away.
pub async fn keep(
    pool: &PgPool,
    attempt: &Attempt,
    status: u16,
    answer: Option<&Answer>,
) -> Result<(), Error> {
    sqlx::query(
        "update idempotency_key set status = $2, answer = $3, headers = $4 \
         where attempt = $1::uuid",
    )
    .bind(&attempt.0)
    .bind(status.cast_signed())
    .bind(answer.map(|answer| answer.body.as_slice()))
    .bind(answer.map(|answer| Json(&answer.headers)))
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends a try that has failed. If it has changed nothing, or nothing that counts (`is_undone`), its key is
/// taken back, so that the request can be sent again; a change that is being committed is waited for.
///
/// # Errors
/// If the database is away.
pub async fn end(pool: &PgPool, attempt: &Attempt, is_undone: bool) -> Result<(), Error> {
    let taken_back = sqlx::query(
        "delete from idempotency_key \
         where attempt = $1::uuid and status is null and (done_at is null or $2)",
    )
    .bind(&attempt.0)
    .bind(is_undone)
    .execute(pool)
    .await?;
    if taken_back.rows_affected() == 0 {
        sqlx::query("update idempotency_key set ended_at = now() where attempt = $1::uuid")
            .bind(&attempt.0)
            .execute(pool)
            .await?;
    }
    Ok(())
}
