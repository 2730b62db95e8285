//! Gaps: positions of the stream whose events may be lost.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::form::{Because, Reason};
use super::page::{At, Body, Listed, Page, Path, Query};
use super::problem::Problem;
use super::requests::{self, Request, Requests};
use crate::store::gaps::{self, Filter};
use crate::store::requests::Ask;

/// Positions whose events may be lost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gap {
    #[schema(example = 1)]
    gap_no: i64,
    #[schema(example = 1)]
    epoch: i32,
    #[schema(example = 21)]
    first: i64,
    /// Null where nobody can know.
    #[schema(example = 25)]
    last: Option<i64>,
    /// `missing`, `commits_lost` or `stream_changed`.
    #[schema(example = "missing")]
    reason: String,
    #[schema(example = "the stream begins at 26")]
    detail: String,
    #[schema(example = "2026-03-02T09:00:00Z")]
    found_at: DateTime<Utc>,
    /// Periods that begin before this wait until the gap is accepted; null while all do.
    #[schema(example = "2026-03-02T08:59:00Z")]
    next_stored_at: Option<DateTime<Utc>>,
    /// Null while it is open.
    #[schema(example = json!(null))]
    accepted_at: Option<DateTime<Utc>>,
    #[schema(example = json!(null))]
    accepted_by: Option<String>,
    #[schema(example = json!(null))]
    acceptance: Option<String>,
}

impl From<gaps::Gap> for Gap {
    fn from(row: gaps::Gap) -> Self {
        Self {
            gap_no: row.gap_no,
            epoch: row.epoch,
            first: row.first,
            last: row.last,
            reason: row.reason,
            detail: row.detail,
            found_at: row.found_at,
            next_stored_at: row.next_stored_at,
            accepted_at: row.accepted_at,
            accepted_by: row.accepted_by,
            acceptance: row.acceptance,
        }
    }
}

/// Which gaps are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only open ones, or only accepted ones.
    #[param(example = true)]
    open: Option<bool>,
}

/// Positions of the stream whose events may be lost, by number.
#[utoipa::path(get, path = "/v1/gaps", tag = "exceptions", params(At, Which),
    responses((status = 200, description = "A page", body = Page<Gap>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<Gap>, Problem> {
    let after = at.after()?.unwrap_or(0);
    let filter = Filter { numbers: Vec::new(), is_open: which.open, limit: at.rows() };
    let mut snapshot = api.read(&caller).await?;
    let rows = gaps::after(&mut *snapshot, &filter, after).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.gap_no.to_string(), Gap::from))
}

/// Which gaps are accepted, and why. One of the first two is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptGaps {
    /// These, all of which must be open; at most 1,000.
    #[serde(default)]
    #[schema(example = json!([1, 2]), max_items = 1000)]
    numbers: Vec<i64>,
    /// All that are open, the first 1,000; without numbers.
    #[serde(default)]
    #[schema(example = false)]
    all: bool,
    /// Why; kept with each of them.
    #[schema(value_type = String, example = "the stream was purged before go-live", min_length = 1,
        max_length = 1000)]
    because: Reason,
}

/// Accepts that what is in gaps will not come, so that they block no period any more.
#[utoipa::path(post, path = "/v1/gaps/accept", tag = "exceptions", request_body = AcceptGaps,
    responses((status = 200, description = "They are answered", body = Requests),
        (status = 202, description = "They wait for the engine", body = Requests,
            headers(("Location" = String, description = "The last request, which is carried out last")))))]
pub async fn accept_all(
    State(api): State<Api>,
    caller: Caller,
    Body(AcceptGaps { mut numbers, all, because }): Body<AcceptGaps>,
) -> Result<Response, Problem> {
    requests::must_say_which(numbers.len(), !numbers.is_empty(), all)?;
    numbers.sort_unstable();
    numbers.dedup();
    let open = open(&api, &caller, &numbers).await?;
    if let Some(missing) = numbers.iter().find(|number| !open.contains(number)) {
        return Err(Problem::refused(format!("gap {missing} is not open, so nothing was done")));
    }
    if open.is_empty() {
        return Err(Problem::not_found("gap that is open"));
    }
    let ask = |numbers| Ask::AcceptGaps { numbers, reason: because.0.clone() };
    requests::carry_out_all(&api, &caller, vec![open], ask).await
}

/// Accepts that what is in a gap will not come, so that it blocks no period any more.
#[utoipa::path(post, path = "/v1/gaps/{gap_no}/accept", tag = "exceptions",
    params(("gap_no" = i64, Path, description = "Its number", example = 1)),
    request_body = Because,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn accept(
    State(api): State<Api>,
    caller: Caller,
    Path(gap_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Response, Problem> {
    let filter = Filter { numbers: vec![gap_no], is_open: None, limit: 1 };
    let mut snapshot = api.read(&caller).await?;
    let found = gaps::list(&mut *snapshot, &filter).await?.pop();
    drop(snapshot);
    let found = found.ok_or_else(|| Problem::not_found(format!("gap {gap_no}")))?;
    if found.accepted_at.is_some() {
        return Err(Problem::refused(format!("gap {gap_no} is accepted already")));
    }
    let ask = Ask::AcceptGaps { numbers: vec![gap_no], reason: because.0 };
    requests::carry_out(&api, &caller, ask).await
}

/// The first open ones, of these numbers or of all.
async fn open(api: &Api, caller: &Caller, numbers: &[i64]) -> Result<Vec<i64>, Problem> {
    let limit = gaps::PAGE_ROWS;
    let filter = Filter { numbers: numbers.to_vec(), is_open: Some(true), limit };
    let mut snapshot = api.read(caller).await?;
    let found = gaps::list(&mut *snapshot, &filter).await?;
    drop(snapshot);
    Ok(found.into_iter().map(|gap| gap.gap_no).collect())
}
