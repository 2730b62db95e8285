//! Rejections: events that could not be counted, until a person has settled them.

use axum::extract::State;
use axum::response::Response;
use billing::receipt;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::form::{self, Because, Reason};
use super::page::{At, Body, Listed, Page, Path, Query};
use super::problem::Problem;
use super::requests::{self, Pages, Request, Requests};
use crate::store::rejections::{self, Filter};
use crate::store::requests::Ask;

/// An event that could not be counted. Its bytes are shown by `prooftally events rejected show`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejection {
    #[schema(example = 3)]
    rejection_no: i64,
    /// Of a closed list.
    #[schema(example = "brand_missing")]
    reason: String,
    #[schema(example = "the event names no brand")]
    detail: String,
    /// As far as the event says.
    #[schema(example = json!(null))]
    brand: Option<String>,
    #[schema(example = "rcpt-7f3a")]
    receipt_id: Option<String>,
    #[schema(example = "proofs.verified")]
    subject: String,
    #[schema(example = 1)]
    epoch: i32,
    #[schema(example = 120_401)]
    sequence: i64,
    #[schema(example = "2026-03-02T09:00:00Z")]
    stored_at: DateTime<Utc>,
    /// Of the event.
    #[schema(example = 312)]
    bytes: usize,
    /// `open`, `retried` or `dismissed`.
    #[schema(example = "open")]
    state: String,
    /// What a retry counted it as; null if that was a duplicate or a conflict.
    #[schema(example = json!(null))]
    entry: Option<i64>,
    #[schema(example = json!(null))]
    settled_at: Option<DateTime<Utc>>,
    #[schema(example = json!(null))]
    settled_by: Option<String>,
    #[schema(example = json!(null))]
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
    /// Only of this brand, as the events name it: it need not be one.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Only for this reason; what is none is refused with the list of them.
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
    form::one_of("reason", which.reason.as_deref(), &receipt::Reason::names())
        .map_err(Problem::query)?;
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
    drop(snapshot);
    Ok(at.page(rows, |row| row.rejection_no.to_string(), Rejection::from))
}

/// Which rejections are to be counted now. One of the four is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RetryRejections)]
pub struct Retry {
    /// These; at most 1,000.
    #[serde(default)]
    #[schema(example = json!([3, 4]), max_items = 1000)]
    numbers: Vec<i64>,
    /// Only those with this reason.
    #[schema(example = "unknown_brand")]
    reason: Option<String>,
    /// Only those that name this brand.
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    /// All that are open; with none of the others.
    #[serde(default)]
    #[schema(example = false)]
    all: bool,
}

/// Which rejections are given up, and why. One of the first four is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissRejections {
    /// These; at most 1,000.
    #[serde(default)]
    #[schema(example = json!([3, 4]), max_items = 1000)]
    numbers: Vec<i64>,
    /// Only those with this reason.
    #[schema(example = "brand_missing")]
    reason: Option<String>,
    /// Only those that name this brand.
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    /// All that are open; with none of the others.
    #[serde(default)]
    #[schema(example = false)]
    all: bool,
    /// Why; kept with each of them.
    #[schema(value_type = String, example = "a test of the bus", min_length = 1, max_length = 1000)]
    because: Reason,
}

/// Reads the events of rejections again, and counts what can be counted now. It is answered with the
/// requests that the engine was given: 200 if it has carried them out, 202 if it will.
#[utoipa::path(post, path = "/v1/rejections/retry", tag = "exceptions", request_body = Retry,
    responses((status = 200, description = "They are answered", body = Requests),
        (status = 202, description = "They wait for the engine", body = Requests,
            headers(("Location" = String, description = "The last request, which is carried out last")))))]
pub async fn retry_all(
    State(api): State<Api>,
    caller: Caller,
    Body(which): Body<Retry>,
) -> Result<Response, Problem> {
    let Retry { numbers, reason, brand, all } = which;
    let pages = meant(&api, &caller, numbers, reason, brand, all).await?;
    let ask = |numbers| Ask::RetryRejections { numbers };
    requests::carry_out_all(&api, &caller, pages, ask).await
}

/// Gives rejections up. It is answered with the requests that the engine was given: 200 if it has carried
/// them out, 202 if it will.
#[utoipa::path(post, path = "/v1/rejections/dismiss", tag = "exceptions",
    request_body = DismissRejections,
    responses((status = 200, description = "They are answered", body = Requests),
        (status = 202, description = "They wait for the engine", body = Requests,
            headers(("Location" = String, description = "The last request, which is carried out last")))))]
pub async fn dismiss_all(
    State(api): State<Api>,
    caller: Caller,
    Body(which): Body<DismissRejections>,
) -> Result<Response, Problem> {
    let DismissRejections { numbers, reason, brand, all, because } = which;
    let pages = meant(&api, &caller, numbers, reason, brand, all).await?;
    let ask = |numbers| Ask::DismissRejections { numbers, reason: because.0.clone() };
    requests::carry_out_all(&api, &caller, pages, ask).await
}

/// Reads the event of a rejection again, and counts it if it can be counted now. That it could not is told
/// by the answer (`1 still rejected`), and the rejection stays open.
#[utoipa::path(post, path = "/v1/rejections/{rejection_no}/retry", tag = "exceptions",
    params(("rejection_no" = i64, Path, description = "Its number", example = 3)),
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Path(rejection_no): Path<i64>,
) -> Result<Response, Problem> {
    must_be_open(&api, &caller, rejection_no).await?;
    let ask = Ask::RetryRejections { numbers: vec![rejection_no] };
    requests::carry_out(&api, &caller, ask).await
}

/// Gives a rejection up.
#[utoipa::path(post, path = "/v1/rejections/{rejection_no}/dismiss", tag = "exceptions",
    params(("rejection_no" = i64, Path, description = "Its number", example = 3)),
    request_body = Because,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn dismiss(
    State(api): State<Api>,
    caller: Caller,
    Path(rejection_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Response, Problem> {
    must_be_open(&api, &caller, rejection_no).await?;
    let ask = Ask::DismissRejections { numbers: vec![rejection_no], reason: because.0 };
    requests::carry_out(&api, &caller, ask).await
}

async fn must_be_open(api: &Api, caller: &Caller, rejection_no: i64) -> Result<(), Problem> {
    let filter = Filter { numbers: vec![rejection_no], limit: 1, ..Filter::default() };
    let mut snapshot = api.read(caller).await?;
    let found = rejections::list(&mut *snapshot, &filter).await?.pop();
    drop(snapshot);
    match found {
        None => Err(Problem::not_found(format!("rejection {rejection_no}"))),
        Some(found) if found.state == "open" => Ok(()),
        Some(found) => {
            Err(Problem::refused(format!("rejection {rejection_no} is {} already", found.state)))
        }
    }
}

/// The open rejections that are meant, in pages that make one chunk each.
async fn meant(
    api: &Api,
    caller: &Caller,
    numbers: Vec<i64>,
    reason: Option<String>,
    brand: Option<String>,
    all: bool,
) -> Result<Vec<Vec<i64>>, Problem> {
    let mut filter =
        Filter { numbers, reason, brand, limit: rejections::PAGE_ROWS, ..Filter::default() };
    form::one_of("reason", filter.reason.as_deref(), &receipt::Reason::names())
        .map_err(Problem::body)?;
    requests::must_say_which(filter.numbers.len(), filter.is_narrow(), all)?;
    let mut snapshot = api.read(caller).await?;
    let mut pages = Pages::default();
    loop {
        filter.after = pages.after();
        if !pages.add(rejections::page(&mut *snapshot, &filter).await?)? {
            break;
        }
    }
    drop(snapshot);
    pages.end("open rejection")
}
