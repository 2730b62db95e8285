//! Rejections: events that could not be counted, until a person has settled them.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::page::{At, Listed, Page, Query};
use super::problem::Problem;
use crate::store::rejections::{self, Filter};

/// An event that could not be counted. Its bytes are shown by `prooftally events rejected show`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejection {
    rejection_no: i64,
    /// Of a closed list.
    #[schema(example = "brand_missing")]
    reason: String,
    detail: String,
    /// As far as the event says.
    brand: Option<String>,
    receipt_id: Option<String>,
    subject: String,
    epoch: i32,
    sequence: i64,
    stored_at: DateTime<Utc>,
    /// Of the event.
    bytes: usize,
    /// `open`, `retried` or `dismissed`.
    #[schema(example = "open")]
    state: String,
    /// What a retry counted it as; null if that was a duplicate or a conflict.
    entry: Option<i64>,
    settled_at: Option<DateTime<Utc>>,
    settled_by: Option<String>,
    settlement: Option<String>,
}

impl From<rejections::Rejection> for Rejection {
    fn from(row: rejections::Rejection) -> Self {
        Self {
            rejection_no: row.rejection_no,
            reason: row.reason,
            detail: row.detail,
            brand: row.brand_id,
            receipt_id: row.receipt_id,
            subject: row.subject,
            epoch: row.epoch,
            sequence: row.sequence,
            stored_at: row.stored_at,
            bytes: row.raw.len(),
            state: row.state,
            entry: row.entry,
            settled_at: row.settled_at,
            settled_by: row.settled_by,
            settlement: row.settlement,
        }
    }
}

/// Which rejections are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand, as the events name it.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Only for this reason.
    #[param(example = "brand_missing")]
    reason: Option<String>,
    /// `open`, `retried` or `dismissed`.
    #[param(example = "open")]
    state: Option<String>,
}

/// Events that could not be counted, oldest first.
#[utoipa::path(get, path = "/v1/rejections", tag = "exceptions", params(At, Which),
    responses((status = 200, description = "A page", body = Page<Rejection>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<Rejection>, Problem> {
    if which.state.as_deref().is_some_and(|one| !["open", "retried", "dismissed"].contains(&one)) {
        return Err(Problem::query("state is open, retried or dismissed"));
    }
    let filter = Filter {
        numbers: Vec::new(),
        reason: which.reason,
        brand: which.brand,
        state: which.state,
        after: at.after()?.unwrap_or(0),
        limit: at.rows(),
    };
    let mut snapshot = api.read(&caller).await?;
    let rows = rejections::list(&mut *snapshot, &filter).await?;
    snapshot.rollback().await?;
    Ok(at.page(rows, |row| row.rejection_no.to_string(), Rejection::from))
}
