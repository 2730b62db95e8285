//! Conflicts: events that name a counted receipt with another content.

use axum::extract::State;
use axum::response::Response;
use billing::receipt::Content;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::form::{self, Because, Reason};
use super::page::{At, Body, Listed, Page, Path, Query};
use super::problem::Problem;
use super::requests::{self, Pages, Request, Requests};
use crate::store::conflicts::{self, Filter};
use crate::store::requests::Ask;

/// A content that contradicts a counted receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conflict {
    #[schema(example = 5)]
    conflict_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "rcpt-7f3a")]
    receipt_id: String,
    /// The entry that it contradicts.
    #[schema(example = 120_007)]
    entry: i64,
    /// In which fields.
    #[schema(example = json!(["supplier"]))]
    fields: Vec<String>,
    #[schema(example = 1)]
    epoch: i32,
    /// First and last position with this content, and how often it was seen.
    #[schema(example = 120_402)]
    sequence: i64,
    #[schema(example = 120_402)]
    last_sequence: i64,
    #[schema(example = 1)]
    seen: i64,
    #[schema(example = "2026-03-02T09:00:00Z")]
    stored_at: DateTime<Utc>,
    /// `open`, `resolved` (this content is right) or `dismissed` (what was counted stands).
    #[schema(example = "open")]
    state: String,
    /// The entry that counts this content instead.
    #[schema(example = json!(null))]
    resolution: Option<i64>,
    #[schema(example = json!(null))]
    settled_at: Option<DateTime<Utc>>,
    #[schema(example = json!(null))]
    settled_by: Option<String>,
    #[schema(example = json!(null))]
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
    /// Only those in this field: `predicate`, `supplier`, `product` or `result`.
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
    form::one_of("field", which.field.as_deref(), &Content::FIELDS).map_err(Problem::query)?;
    let filter = Filter {
        numbers: Vec::new(),
        brand: which.brand,
        field: which.field,
        state: which.state,
        after: at.after()?.unwrap_or(0),
        limit: at.rows(),
    };
    let mut snapshot = api.read(&caller).await?;
    if let Some(brand) = &filter.brand {
        known(&mut snapshot, &caller, brand).await?;
    }
    let rows = conflicts::list(&mut *snapshot, &filter).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.conflict_no.to_string(), Conflict::from))
}

/// Which conflicts are settled, and why. One of the first four is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SettleConflicts)]
pub struct Settle {
    /// These; at most 1,000. Resolving them by number, dismissed ones are meant too.
    #[serde(default)]
    #[schema(example = json!([5, 6]), max_items = 1000)]
    numbers: Vec<i64>,
    /// Only those of this brand.
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    /// Only those that contradict this field: `predicate`, `supplier`, `product` or `result`.
    #[schema(example = "supplier")]
    field: Option<String>,
    /// All that are open; with none of the others.
    #[serde(default)]
    #[schema(example = false)]
    all: bool,
    /// Why; kept with each of them.
    #[schema(value_type = String, example = "the mill was renamed", min_length = 1, max_length = 1000)]
    because: Reason,
}

/// Takes back what was counted, and counts the other content instead. It is answered with the requests that the engine was given: 200 if it has
/// carried them out, 202 if it will.
#[utoipa::path(post, path = "/v1/conflicts/resolve", tag = "exceptions", request_body = Settle,
    responses((status = 200, description = "They are answered", body = Requests),
        (status = 202, description = "They wait for the engine", body = Requests,
            headers(("Location" = String, description = "The last request, which is carried out last")))))]
pub async fn resolve_all(
    State(api): State<Api>,
    caller: Caller,
    Body(which): Body<Settle>,
) -> Result<Response, Problem> {
    let because = which.because.0.clone();
    let pages = meant(&api, &caller, which, Settling::Resolve).await?;
    let ask = |numbers| Ask::ResolveConflicts { numbers, because: because.clone() };
    requests::carry_out_all(&api, &caller, pages, ask).await
}

/// Lets what was counted stand. It is answered with the requests that the engine was given: 200 if it has
/// carried them out, 202 if it will.
#[utoipa::path(post, path = "/v1/conflicts/dismiss", tag = "exceptions", request_body = Settle,
    responses((status = 200, description = "They are answered", body = Requests),
        (status = 202, description = "They wait for the engine", body = Requests,
            headers(("Location" = String, description = "The last request, which is carried out last")))))]
pub async fn dismiss_all(
    State(api): State<Api>,
    caller: Caller,
    Body(which): Body<Settle>,
) -> Result<Response, Problem> {
    let because = which.because.0.clone();
    let pages = meant(&api, &caller, which, Settling::Dismiss).await?;
    let ask = |numbers| Ask::DismissConflicts { numbers, because: because.clone() };
    requests::carry_out_all(&api, &caller, pages, ask).await
}

/// Takes back what was counted, and counts the other content instead. One that was dismissed can be
/// resolved too: it is the way back.
#[utoipa::path(post, path = "/v1/conflicts/{conflict_no}/resolve", tag = "exceptions",
    params(("conflict_no" = i64, Path, description = "Its number", example = 5)),
    request_body = Because,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn resolve(
    State(api): State<Api>,
    caller: Caller,
    Path(conflict_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Response, Problem> {
    must_be(&api, &caller, conflict_no, Settling::Resolve).await?;
    let ask = Ask::ResolveConflicts { numbers: vec![conflict_no], because: because.0 };
    requests::carry_out(&api, &caller, ask).await
}

/// Lets what was counted stand.
#[utoipa::path(post, path = "/v1/conflicts/{conflict_no}/dismiss", tag = "exceptions",
    params(("conflict_no" = i64, Path, description = "Its number", example = 5)),
    request_body = Because,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn dismiss(
    State(api): State<Api>,
    caller: Caller,
    Path(conflict_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Response, Problem> {
    must_be(&api, &caller, conflict_no, Settling::Dismiss).await?;
    let ask = Ask::DismissConflicts { numbers: vec![conflict_no], because: because.0 };
    requests::carry_out(&api, &caller, ask).await
}

/// How a conflict is settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settling {
    Resolve,
    Dismiss,
}

impl Settling {
    /// What may be settled so, by its number.
    fn takes(self, state: &str) -> bool {
        state == "open" || (self == Settling::Resolve && state == "dismissed")
    }
}

async fn must_be(
    api: &Api,
    caller: &Caller,
    conflict_no: i64,
    settling: Settling,
) -> Result<(), Problem> {
    let filter = Filter { numbers: vec![conflict_no], limit: 1, ..Filter::default() };
    let mut snapshot = api.read(caller).await?;
    let found = conflicts::list(&mut *snapshot, &filter).await?.pop();
    drop(snapshot);
    match found {
        None => Err(Problem::not_found(format!("conflict {conflict_no}"))),
        Some(found) if settling.takes(&found.state) => Ok(()),
        Some(found) => {
            Err(Problem::refused(format!("conflict {conflict_no} is {} already", found.state)))
        }
    }
}

/// The conflicts that are meant, in pages of one request each.
async fn meant(
    api: &Api,
    caller: &Caller,
    which: Settle,
    settling: Settling,
) -> Result<Vec<Vec<i64>>, Problem> {
    let Settle { numbers, brand, field, all, because: _ } = which;
    let is_any_state = settling == Settling::Resolve && !numbers.is_empty();
    let state = (!is_any_state).then(|| "open".to_owned());
    let limit = conflicts::PAGE_ROWS;
    let mut filter = Filter { numbers, brand, field, state, limit, ..Filter::default() };
    form::one_of("field", filter.field.as_deref(), &Content::FIELDS).map_err(Problem::body)?;
    requests::must_say_which(filter.numbers.len(), filter.is_narrow(), all)?;
    let mut snapshot = api.read(caller).await?;
    if let Some(brand) = &filter.brand {
        known(&mut snapshot, caller, brand).await?;
    }
    let mut pages = Pages::default();
    loop {
        filter.after = pages.after();
        if !pages.add(conflicts::page(&mut *snapshot, &filter).await?)? {
            break;
        }
    }
    drop(snapshot);
    pages.end("open conflict")
}
