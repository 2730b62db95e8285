//! Usage on days without a plan: what waits for one, and what nobody will pay for.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use billing::ids::BrandId;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::assignments::Of;
use super::brands::known;
use super::caller::{Caller, no_brand};
use super::form::{Because, Day, Reason};
use super::page::{Body, Path, Query};
use super::problem::Problem;
use crate::store::assignments::Refused;
use crate::store::{unassigned, waivers};

/// How a brand's receipts are settled: counted = assigned + waived + unassigned.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coverage {
    #[schema(example = "120400")]
    counted: Exact,
    #[schema(example = "120000")]
    assigned: Exact,
    #[schema(example = "100")]
    waived: Exact,
    #[schema(example = "300")]
    unassigned: Exact,
    /// The stretches of days with usage and neither a plan nor a waiver.
    open: Vec<Stretch>,
    /// What was waived, withdrawn waivers too.
    waivers: Vec<Waiver>,
}

/// Usage without a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stretch {
    #[schema(example = "2026-02-01")]
    first_day: NaiveDate,
    #[schema(example = "2026-02-27")]
    last_day: NaiveDate,
    #[schema(example = "300")]
    receipts: Exact,
}

/// Usage days that nobody will pay for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiver {
    #[schema(example = 2)]
    waiver_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "2026-01-01")]
    from: NaiveDate,
    /// The first day that is not waived.
    #[schema(example = "2026-02-01")]
    until: NaiveDate,
    #[schema(example = "pilot before the contract")]
    because: String,
    #[schema(example = "2026-03-01T08:00:00Z")]
    made_at: DateTime<Utc>,
    #[schema(example = "key 1 (finance)")]
    made_by: String,
    /// Null while it stands.
    #[schema(example = json!(null))]
    withdrawn_at: Option<DateTime<Utc>>,
    #[schema(example = json!(null))]
    withdrawn_by: Option<String>,
}

impl From<waivers::Record> for Waiver {
    fn from(row: waivers::Record) -> Self {
        Self {
            waiver_no: row.waiver_no,
            brand: row.brand_id,
            from: row.from_day,
            until: row.until_day,
            because: row.because,
            made_at: row.made_at,
            made_by: row.made_by,
            withdrawn_at: row.withdrawn_at,
            withdrawn_by: row.withdrawn_by,
        }
    }
}

/// How a brand's usage is settled: what has a plan, what is waived, and what waits for either.
#[utoipa::path(get, path = "/v1/unassigned", tag = "assignments", params(Of),
    responses((status = 200, description = "It", body = Coverage)))]
pub async fn coverage(
    State(api): State<Api>,
    caller: Caller,
    Query(of): Query<Of>,
) -> Result<Json<Coverage>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &of.brand(&caller)?).await?;
    let sums = unassigned::coverage(&mut *snapshot, Some(brand.no)).await?.pop();
    let open = unassigned::unassigned(&mut *snapshot, Some(brand.no)).await?;
    let waived = waivers::records(&mut *snapshot, Some(brand.no)).await?;
    drop(snapshot);
    let sum = |of: fn(&unassigned::Coverage) -> i64| Exact::from(sums.as_ref().map_or(0, of));
    let stretch = |row: unassigned::Unassigned| Stretch {
        first_day: row.first_day,
        last_day: row.last_day,
        receipts: row.receipts.into(),
    };
    Ok(Json(Coverage {
        counted: sum(|sums| sums.counted),
        assigned: sum(|sums| sums.assigned),
        waived: sum(|sums| sums.waived),
        unassigned: sum(|sums| sums.unassigned),
        open: open.into_iter().map(stretch).collect(),
        waivers: waived.into_iter().map(Waiver::from).collect(),
    }))
}

/// Waivers by day, withdrawn ones too.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waivers {
    data: Vec<Waiver>,
}

/// What of a brand's usage nobody will pay for, withdrawn waivers too.
#[utoipa::path(get, path = "/v1/waivers", tag = "assignments", params(Of),
    responses((status = 200, description = "All of them", body = Waivers)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(of): Query<Of>,
) -> Result<Json<Waivers>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &of.brand(&caller)?).await?;
    let rows = waivers::records(&mut *snapshot, Some(brand.no)).await?;
    drop(snapshot);
    Ok(Json(Waivers { data: rows.into_iter().map(Waiver::from).collect() }))
}

/// Usage days that nobody is to pay for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWaiver {
    #[schema(example = "brand-acme")]
    brand: String,
    /// First day, in the brand's zone.
    #[schema(value_type = String, format = Date, example = "2026-01-01")]
    from: Day,
    /// First day that is not waived.
    #[schema(value_type = String, format = Date, example = "2026-02-01")]
    until: Day,
    /// Why, for the books.
    #[schema(value_type = String, example = "pilot before the contract", min_length = 1,
        max_length = 1000)]
    because: Reason,
}

/// Says that nobody will pay for the usage of days without an assignment, whenever it is counted.
#[utoipa::path(post, path = "/v1/waivers", tag = "assignments", request_body = NewWaiver,
    responses((status = 201, description = "It is waived", body = Waiver)))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(NewWaiver { brand, from, until, because }): Body<NewWaiver>,
) -> Result<(StatusCode, Json<Waiver>), Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?.id;
    drop(snapshot);
    let pool = &api.store().pool;
    let (days, now) = ((from.0, until.0), Utc::now());
    let no = waivers::waive(pool, &brand, days, &because.0, now, &caller.name).await;
    let no = no.map_err(Problem::of_rule)?.map_err(Refused::Place)?;
    Ok((StatusCode::CREATED, Json(record(&api, no).await?.into())))
}

/// Withdraws a waiver, so that its days are unassigned again.
#[utoipa::path(post, path = "/v1/waivers/{waiver_no}/withdraw", tag = "assignments",
    params(("waiver_no" = i64, Path, description = "Its number", example = 2)),
    request_body = Because,
    responses((status = 200, description = "It is withdrawn", body = Waiver)))]
pub async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    Path(waiver_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Json<Waiver>, Problem> {
    let found = record(&api, waiver_no).await?;
    let brand = BrandId::new(&found.brand_id).ok_or_else(|| no_brand(&found.brand_id))?;
    let pool = &api.store().pool;
    if !waivers::withdraw(pool, &brand, waiver_no, &because.0, &caller.name).await? {
        return Err(Problem::refused(format!("waiver {waiver_no} is withdrawn already")));
    }
    Ok(Json(record(&api, waiver_no).await?.into()))
}

async fn record(api: &Api, waiver_no: i64) -> Result<waivers::Record, Problem> {
    let found = waivers::find(&api.store().pool, waiver_no).await?;
    found.ok_or_else(|| Problem::not_found(format!("waiver {waiver_no}")))
}
