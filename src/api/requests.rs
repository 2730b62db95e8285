//! Requests: what the engine is asked to do, since it alone writes what is counted. Whoever asks waits a
//! short time for the answer. What is done by then is answered with 200; what waits still, with 202 and the
//! address where its answer will be; it is carried out whoever waits, and after a restart too.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::page::Path;
use super::problem::{Fault, Kind, Problem};
use crate::store::requests::{self, Ask, Record};
use crate::store::{Error, change};

/// As long is waited for the engine's answer.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Most requests that one call makes.
const REQUESTS_MAX: usize = 100;

/// What the engine was asked to do, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Request {
    #[schema(example = 17)]
    request_no: i64,
    /// `retry_rejections`, `dismiss_rejections`, `resolve_conflicts`, `dismiss_conflicts`, `accept_gaps`,
    /// `void_receipts`, `set_zone`, `park`, `unpark`, `repair_doubles` or `adopt_stream`.
    #[schema(example = "retry_rejections")]
    kind: String,
    /// `waiting`, `done` or `refused`. Refused means that nothing was done.
    #[schema(example = "done")]
    state: String,
    /// What was done, or why not; null while it waits.
    #[schema(example = "1 counted, 0 duplicates, 0 conflicts, 0 still rejected")]
    answer: Option<String>,
    #[schema(example = "key 1 (operations)")]
    asked_by: String,
    #[schema(example = "2026-03-02T09:00:00Z")]
    asked_at: DateTime<Utc>,
    /// Null while it waits.
    #[schema(example = "2026-03-02T09:00:01Z")]
    answered_at: Option<DateTime<Utc>>,
}

impl From<Record> for Request {
    fn from(record: Record) -> Self {
        Self {
            request_no: record.request_no,
            kind: record.kind,
            state: record.state,
            answer: record.answer,
            asked_by: record.asked_by,
            asked_at: record.asked_at,
            answered_at: record.answered_at,
        }
    }
}

/// What the engine was asked to do with many things: in pages, a request each, carried out in this order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Requests {
    /// How many things are meant.
    #[schema(example = 1200)]
    meant: usize,
    data: Vec<Request>,
}

/// A request, as it stands now.
#[utoipa::path(get, path = "/v1/requests/{request_no}", tag = "exceptions",
    params(("request_no" = i64, Path, description = "Its number", example = 17)),
    responses((status = 200, description = "It", body = Request)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(request_no): Path<i64>,
) -> Result<Json<Request>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let found = requests::records(&mut *snapshot, &[request_no]).await?.pop();
    drop(snapshot);
    let found = found.ok_or_else(|| Problem::not_found(format!("request {request_no}")))?;
    Ok(Json(found.into()))
}

/// Asks the engine, and answers with the request as it stands after a short time.
///
/// # Errors
/// The engine's refusal; or the database is away.
pub async fn carry_out(api: &Api, caller: &Caller, ask: Ask) -> Result<Response, Problem> {
    let record = answered(api, caller, &[ask]).await?.pop();
    let record = record.ok_or_else(|| Problem::not_found("request"))?;
    if record.state == "refused" {
        return Err(refused(std::slice::from_ref(&record)));
    }
    let location = location(&record);
    Ok(respond(location, Request::from(record)))
}

/// Asks the engine for many things, and answers with the requests as they stand after a short time. They
/// are carried out in the order of their numbers, so the last one's address is the one to look at.
///
/// # Errors
/// The engine's refusals, if it did nothing of it; or the database is away.
pub async fn carry_out_all(
    api: &Api,
    caller: &Caller,
    pages: Vec<Vec<i64>>,
    ask: impl Fn(Vec<i64>) -> Ask,
) -> Result<Response, Problem> {
    let meant = pages.iter().map(Vec::len).sum();
    let asks: Vec<Ask> = pages.into_iter().map(ask).collect();
    let records = answered(api, caller, &asks).await?;
    if records.iter().all(|record| record.state == "refused") {
        return Err(refused(&records));
    }
    let location = records.last().and_then(location);
    let data = records.into_iter().map(Request::from).collect();
    Ok(respond(location, Requests { meant, data }))
}

/// Most things that are named by number in one call.
const NUMBERS_MAX: usize = 1_000;

/// Refuses a call that does not say what it means: some by a condition, or all.
///
/// # Errors
/// If it says neither, or both.
pub fn must_say_which(numbers: usize, is_narrow: bool, all: bool) -> Result<(), Problem> {
    if numbers > NUMBERS_MAX {
        return Err(Problem::body(format!("numbers has at most {NUMBERS_MAX}")));
    }
    match (is_narrow, all) {
        (false, false) => Err(Problem::body("say which: by numbers, by a condition, or all")),
        (true, true) => Err(Problem::body("all goes with no other condition")),
        _ => Ok(()),
    }
}

/// The pages of what is meant, each of which is one request.
#[derive(Debug, Default)]
pub struct Pages {
    pages: Vec<Vec<i64>>,
}

impl Pages {
    /// The number after which the next page begins.
    pub fn after(&self) -> i64 {
        self.pages.last().and_then(|page| page.last()).copied().unwrap_or(0)
    }

    /// Adds a page. False if it is empty, which is the end.
    ///
    /// # Errors
    /// If more are meant than fit a call.
    pub fn add(&mut self, numbers: Vec<i64>) -> Result<bool, Problem> {
        if numbers.is_empty() {
            return Ok(false);
        }
        if self.pages.len() == REQUESTS_MAX {
            let detail = format!("more are meant than {REQUESTS_MAX} requests hold: say fewer");
            return Err(Problem::refused(detail));
        }
        self.pages.push(numbers);
        Ok(true)
    }

    /// All of them.
    ///
    /// # Errors
    /// If there are none.
    pub fn end(self, what: &str) -> Result<Vec<Vec<i64>>, Problem> {
        if self.pages.is_empty() {
            return Err(Problem::not_found(format!("{what} that is meant")));
        }
        Ok(self.pages)
    }
}

/// Writes the requests, all or none, and waits for the last one's answer.
async fn answered(api: &Api, caller: &Caller, asks: &[Ask]) -> Result<Vec<Record>, Problem> {
    let pool = &api.store().pool;
    let mut numbers = Vec::new();
    let mut transaction = change::begin(pool).await?;
    for ask in asks {
        numbers.push(requests::ask(&mut *transaction, ask, &caller.name).await?);
    }
    transaction.commit().await?;
    let longest = WAIT_MAX.min(api.config().request_timeout / 2);
    if let Some(last) = numbers.last() {
        match requests::wait(pool, *last, longest).await {
            // They are asked for, whether or not there is a connection to see what becomes of them.
            Ok(_) | Err(Error::Unavailable(sqlx::Error::PoolTimedOut)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut snapshot = api.read(caller).await?;
    let records = requests::records(&mut *snapshot, &numbers).await?;
    drop(snapshot);
    Ok(records)
}

/// Where the answer will be, if there is none yet.
fn location(record: &Record) -> Option<String> {
    (record.state == "waiting").then(|| format!("/v1/requests/{}", record.request_no))
}

fn respond(location: Option<String>, body: impl Serialize) -> Response {
    match location {
        None => Json(body).into_response(),
        Some(location) => {
            (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response()
        }
    }
}

fn refused(records: &[Record]) -> Problem {
    let fault = |record: &Record| Fault {
        code: "request_refused".to_owned(),
        detail: format!(
            "request {}: {}",
            record.request_no,
            record.answer.as_deref().unwrap_or_default()
        ),
    };
    let why = records.first().and_then(|record| record.answer.clone()).unwrap_or_default();
    Problem::new(Kind::Refused, why).with_errors(records.iter().map(fault).collect()).undone()
}
