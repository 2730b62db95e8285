//! Holds: while one stands, nothing of a brand, or of one of its periods, is issued.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::form::{Because, Day, Reason};
use super::page::{At, Body, Listed, Page, Path, Query};
use super::problem::Problem;
use crate::store::brands::Brand;
use crate::store::holds::{self, Filter, Hold};

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct BillingHold {
    #[schema(example = 4)]
    hold_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    /// Of the period that begins on that day; null for the brand as a whole.
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    #[schema(example = "a dispute about September")]
    because: String,
    #[schema(example = "2026-10-02T08:30:00Z")]
    made_at: DateTime<Utc>,
    #[schema(example = "key 3 (finance lead)")]
    made_by: String,
    /// Null while it stands.
    #[schema(example = "2026-10-05T08:30:00Z")]
    released_at: Option<DateTime<Utc>>,
    #[schema(example = "key 3 (finance lead)")]
    released_by: Option<String>,
}

impl From<Hold> for BillingHold {
    fn from(hold: Hold) -> Self {
        Self {
            hold_no: hold.hold_no,
            brand: hold.brand_id,
            period_start: hold.period_start,
            because: hold.because,
            made_at: hold.made_at,
            made_by: hold.made_by,
            released_at: hold.released_at,
            released_by: hold.released_by,
        }
    }
}

/// Which holds are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Released ones too.
    #[param(example = false)]
    released: Option<bool>,
}

/// Holds that stand, by number.
#[utoipa::path(get, path = "/v1/holds", tag = "drafts", params(At, Which),
    responses((status = 200, description = "A page", body = Page<BillingHold>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<BillingHold>, Problem> {
    let after = at.after()?;
    let mut snapshot = api.read(&caller).await?;
    let mut brand_no = None;
    if let Some(brand) = &which.brand {
        brand_no = Some(known(&mut snapshot, &caller, brand).await?.no);
    }
    let released = which.released.unwrap_or(false);
    let filter = Filter { brand_no, released, hold_no: None, after, limit: at.rows() };
    let rows = holds::list(&mut *snapshot, &filter).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.hold_no.to_string(), BillingHold::from))
}

/// A hold that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    because: Reason,
    /// Only the period that begins on that day.
    #[schema(example = "2026-09-01")]
    period_start: Option<Day>,
}

/// Puts a brand on hold, or one of its periods: nothing of it is issued until the hold is released.
#[utoipa::path(post, path = "/v1/brands/{brand}/hold", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme")), request_body = NewHold,
    responses((status = 201, description = "The hold", body = BillingHold)))]
pub async fn hold(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Body(new): Body<NewHold>,
) -> Result<Response, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    drop(snapshot);
    set(&api, &caller, &brand, new.period_start.map(|day| day.0), &new.because).await
}

/// Sets a hold and answers it.
pub async fn set(
    api: &Api,
    caller: &Caller,
    brand: &Brand,
    period_start: Option<NaiveDate>,
    because: &Reason,
) -> Result<Response, Problem> {
    let (pool, because) = (&api.store().pool, because.as_str());
    let no = holds::set(pool, &brand.id, period_start, because, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(of_number(api, caller, no).await?)).into_response())
}

async fn of_number(api: &Api, caller: &Caller, no: i64) -> Result<BillingHold, Problem> {
    let filter = Filter { hold_no: Some(no), released: true, limit: 1, ..Filter::default() };
    let mut snapshot = api.read(caller).await?;
    let found = holds::list(&mut *snapshot, &filter).await?.pop();
    drop(snapshot);
    found.map(BillingHold::from).ok_or_else(|| no_hold(no))
}

fn no_hold(no: i64) -> Problem {
    Problem::not_found(format!("hold {no}"))
}

/// Releases a hold.
#[utoipa::path(post, path = "/v1/holds/{hold_no}/release", tag = "drafts",
    params(("hold_no" = i64, Path, example = 4)), request_body = Because,
    responses((status = 200, description = "The hold as it was", body = BillingHold)))]
pub async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path(hold_no): Path<i64>,
    Body(why): Body<Because>,
) -> Result<Json<BillingHold>, Problem> {
    let hold = of_number(&api, &caller, hold_no).await?;
    let pool = &api.store().pool;
    if !holds::clear(pool, hold_no, why.because.as_str(), &caller.name).await? {
        return Err(Problem::refused(format!("hold {} is released already", hold.hold_no)));
    }
    of_number(&api, &caller, hold_no).await.map(Json)
}
