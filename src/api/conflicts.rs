//! Conflicts: events that name a counted receipt with another content.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::page::{At, Listed, Page, Query};
use super::problem::Problem;
use crate::store::conflicts::{self, Filter};

/// A content that contradicts a counted receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conflict {
    conflict_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "rcpt-7f3a")]
    receipt_id: String,
    /// The entry that it contradicts.
    entry: i64,
    /// In which fields.
    fields: Vec<String>,
    epoch: i32,
    /// First and last position with this content, and how often it was seen.
    sequence: i64,
    last_sequence: i64,
    seen: i64,
    stored_at: DateTime<Utc>,
    /// `open`, `resolved` (this content is right) or `dismissed` (what was counted stands).
    #[schema(example = "open")]
    state: String,
    /// The entry that counts this content instead.
    resolution: Option<i64>,
    settled_at: Option<DateTime<Utc>>,
    settled_by: Option<String>,
    settlement: Option<String>,
}

impl From<conflicts::Conflict> for Conflict {
    fn from(row: conflicts::Conflict) -> Self {
        Self {
            conflict_no: row.conflict_no,
            brand: row.brand_id,
            receipt_id: row.receipt_id,
            entry: row.entry,
            fields: row.fields,
            epoch: row.epoch,
            sequence: row.sequence,
            last_sequence: row.last_sequence,
            seen: row.seen,
            stored_at: row.stored_at,
            state: row.state,
            resolution: row.resolution,
            settled_at: row.settled_at,
            settled_by: row.settled_by,
            settlement: row.settlement,
        }
    }
}

/// Which conflicts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Only those in this field.
    #[param(example = "supplier")]
    field: Option<String>,
    /// `open`, `resolved` or `dismissed`.
    #[param(example = "open")]
    state: Option<String>,
}

/// Contents that contradict counted receipts, oldest first.
#[utoipa::path(get, path = "/v1/conflicts", tag = "exceptions", params(At, Which),
    responses((status = 200, description = "A page", body = Page<Conflict>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<Conflict>, Problem> {
    if which.state.as_deref().is_some_and(|one| !["open", "resolved", "dismissed"].contains(&one)) {
        return Err(Problem::query("state is open, resolved or dismissed"));
    }
    let filter = Filter {
        numbers: Vec::new(),
        brand: which.brand,
        field: which.field,
        state: which.state,
        after: at.after()?.unwrap_or(0),
        limit: at.rows(),
    };
    let mut snapshot = api.read(&caller).await?;
    let rows = conflicts::list(&mut *snapshot, &filter).await?;
    snapshot.rollback().await?;
    Ok(at.page(rows, |row| row.conflict_no.to_string(), Conflict::from))
}
