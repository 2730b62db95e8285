//! Request rows: what the command line and the API want the engine to do, and its answers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::Error;

/// The channel on which PostgreSQL tells the engine that a request was written.
pub const CHANNEL: &str = "prooftally_request";

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// Read the events of these rejections again and count what can be counted now.
    RetryRejections { numbers: Vec<i64> },
    /// Give these rejections up, with a reason.
    DismissRejections { numbers: Vec<i64>, reason: String },
    /// Give the brand another zone and rebuild its usage days; only if it still has the zone that was
    /// `seen`, where that is said.
    SetZone {
        brand: String,
        zone: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<String>,
    },
    /// What was counted stands against these conflicts.
    DismissConflicts { numbers: Vec<i64>, because: String },
    /// The contents of these conflicts are right: count them instead.
    ResolveConflicts { numbers: Vec<i64>, because: String },
    /// Take these receipts of the brand back.
    VoidReceipts { brand: String, receipts: Vec<String>, because: String },
    /// Move entries that count a receipt again out of the ledger: pairs of the entry that stays and
    /// the one that goes.
    RepairDoubles { doubles: Vec<(i64, i64)>, because: String },
    /// Keep the brand's events from now on, and meter none of them until it is unparked.
    Park { brand: String, because: String },
    /// Meter the brand's parked events, in order, and then its live ones again.
    Unpark { brand: String },
    /// Accept that what is in these gaps will not come, with a reason.
    AcceptGaps { numbers: Vec<i64>, reason: String },
    /// Begin a new epoch with the stream as it is now, with a reason.
    AdoptStream { reason: String },
}

impl Ask {
    fn kind(&self) -> &'static str {
        match self {
            Ask::RetryRejections { .. } => "retry_rejections",
            Ask::DismissRejections { .. } => "dismiss_rejections",
            Ask::SetZone { .. } => "set_zone",
            Ask::DismissConflicts { .. } => "dismiss_conflicts",
            Ask::ResolveConflicts { .. } => "resolve_conflicts",
            Ask::VoidReceipts { .. } => "void_receipts",
            Ask::RepairDoubles { .. } => "repair_doubles",
            Ask::Park { .. } => "park",
            Ask::Unpark { .. } => "unpark",
            Ask::AcceptGaps { .. } => "accept_gaps",
            Ask::AdoptStream { .. } => "adopt_stream",
        }
    }
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct Request {
    pub request_no: i64,
    pub ask: Ask,
    pub asked_by: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Waiting,
    Done(String),
    Refused(String),
}

/// Writes a request and returns its number.
///
/// # Errors
/// If the database is away.
pub async fn ask(executor: impl PgExecutor<'_>, ask: &Ask, asked_by: &str) -> Result<i64, Error> {
    let body = serde_json::to_string(ask).expect("a request has string keys and plain values");
    let number = sqlx::query_scalar(
        "insert into request (kind, body, asked_by) values ($1, $2::jsonb, $3) \
             returning request_no",
    )
    .bind(ask.kind())
    .bind(body)
    .bind(asked_by)
    .fetch_one(executor)
    .await?;
    Ok(number)
}

/// The oldest request that waits.
///
/// # Errors
/// If the database is away.
pub async fn next(pool: &PgPool) -> Result<Option<Request>, Error> {
    let row: Option<(i64, String, String)> = sqlx::query_as(
        "select request_no, body::text, asked_by from request where state = 'waiting' \
         order by request_no limit 1",
    )
    .fetch_optional(pool)
    .await?;
    let Some((request_no, body, asked_by)) = row else { return Ok(None) };
    match serde_json::from_str(&body) {
        Ok(ask) => Ok(Some(Request { request_no, ask, asked_by })),
        Err(error) => {
            // A newer command line wrote it: refusing keeps it from standing in the way for ever.
            let text = format!("this engine does not know the request: {error}");
            answer(pool, request_no, "refused", &text).await?;
            Ok(None)
        }
    }
}

/// Whether the request waits still, with its row locked.
pub(super) async fn is_waiting(
    executor: impl PgExecutor<'_>,
    request_no: i64,
) -> Result<bool, Error> {
    let state: Option<String> =
        sqlx::query_scalar("select state from request where request_no = $1 for update")
            .bind(request_no)
            .fetch_optional(executor)
            .await?;
    Ok(state.as_deref() == Some("waiting"))
}

/// Writes the answer to a request.
pub(super) async fn answer(
    executor: impl PgExecutor<'_>,
    request_no: i64,
    state: &str,
    answer: &str,
) -> Result<(), Error> {
    sqlx::query(
        "update request set state = $2, answer = $3, answered_at = now() \
         where request_no = $1 and state = 'waiting'",
    )
    .bind(request_no)
    .bind(state)
    .bind(answer)
    .execute(executor)
    .await?;
    Ok(())
}

/// Refuses a request, saying why, if the engine of this fence still writes: the next one may do it.
///
/// # Errors
/// If the database is away.
pub async fn refuse(
    executor: impl PgExecutor<'_>,
    fence: i64,
    request_no: i64,
    why: &str,
) -> Result<(), Error> {
    sqlx::query(
        "update request set state = 'refused', answer = $3, answered_at = now() \
         where request_no = $1 and state = 'waiting' \
            and exists (select from cursor where fence = $2)",
    )
    .bind(request_no)
    .bind(fence)
    .bind(why)
    .execute(executor)
    .await?;
    Ok(())
}

/// Names who asked for what this transaction carries out, for the activity log.
pub(super) async fn act_for(executor: impl PgExecutor<'_>, request_no: i64) -> Result<(), Error> {
    sqlx::query(
        "select set_config('prooftally.actor', asked_by, true) from request where request_no = $1",
    )
    .bind(request_no)
    .execute(executor)
    .await?;
    Ok(())
}

/// Waits for the answer to a request, [`Answer::Waiting`] if there is none in time.
///
/// # Errors
/// If the database is away.
pub async fn wait(pool: &PgPool, request_no: i64, longest: Duration) -> Result<Answer, Error> {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let answered = async {
        loop {
            match look(pool, request_no).await? {
                Answer::Waiting => tokio::time::sleep(LOOK_EVERY).await,
                answer => return Ok(answer),
            }
        }
    };
    tokio::time::timeout(longest, answered).await.unwrap_or(Ok(Answer::Waiting))
}

/// A request as it stands.
#[derive(Clone, Debug, FromRow)]
pub struct Record {
    pub request_no: i64,
    pub kind: String,
    pub asked_by: String,
    pub asked_at: DateTime<Utc>,
    /// `waiting`, `done` or `refused`.
    pub state: String,
    pub answer: Option<String>,
    pub answered_at: Option<DateTime<Utc>>,
}

/// The requests of these numbers, by number.
///
/// # Errors
/// If the database is away.
pub async fn records(executor: impl PgExecutor<'_>, numbers: &[i64]) -> Result<Vec<Record>, Error> {
    Ok(sqlx::query_as(
        "select request_no, kind, asked_by, asked_at, state, answer, answered_at from request \
         where request_no = any($1) order by request_no",
    )
    .bind(numbers)
    .fetch_all(executor)
    .await?)
}

/// What became of the request.
///
/// # Errors
/// If the database is away.
async fn look(pool: &PgPool, request_no: i64) -> Result<Answer, Error> {
    let (state, answer): (String, Option<String>) =
        sqlx::query_as("select state, answer from request where request_no = $1")
            .bind(request_no)
            .fetch_one(pool)
            .await?;
    let answer = answer.unwrap_or_default();
    Ok(match state.as_str() {
        "done" => Answer::Done(answer),
        "refused" => Answer::Refused(answer),
        _ => Answer::Waiting,
    })
}
