//! Gaps: positions of the stream whose events may be lost.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::page::Query;
use super::problem::Problem;
use crate::store::gaps::{self, Filter};

/// More gaps than a stream ever has; the oldest are shown.
const GAPS_MAX: i64 = 1_000;

/// Positions whose events may be lost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gap {
    gap_no: i64,
    epoch: i32,
    first: i64,
    /// Null where nobody can know.
    last: Option<i64>,
    /// `missing`, `commits_lost` or `stream_changed`.
    #[schema(example = "missing")]
    reason: String,
    detail: String,
    found_at: DateTime<Utc>,
    /// Periods that begin before this wait until the gap is accepted; null while all do.
    next_stored_at: Option<DateTime<Utc>>,
    /// Null while it is open.
    accepted_at: Option<DateTime<Utc>>,
    accepted_by: Option<String>,
    acceptance: Option<String>,
}

/// Gaps by number.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gaps {
    data: Vec<Gap>,
}

/// Which gaps are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only open ones, or only accepted ones.
    #[param(example = true)]
    open: Option<bool>,
}

/// Positions of the stream whose events may be lost: the first 1,000 by number.
#[utoipa::path(get, path = "/v1/gaps", tag = "exceptions", params(Which),
    responses((status = 200, description = "By number", body = Gaps)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<Gaps>, Problem> {
    let filter = Filter { numbers: Vec::new(), is_open: which.open, limit: GAPS_MAX };
    let mut snapshot = api.read(&caller).await?;
    let rows = gaps::list(&mut *snapshot, &filter).await?;
    snapshot.rollback().await?;
    let row = |row: gaps::Gap| Gap {
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
    };
    Ok(Json(Gaps { data: rows.into_iter().map(row).collect() }))
}
