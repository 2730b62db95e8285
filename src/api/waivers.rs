//! Usage on days without a plan: what waits for one, and what nobody will pay for.

use std::collections::HashMap;
use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use billing::ids::BrandId;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::assignments::Of;
use super::brands::known;
use super::caller::{Caller, no_brand};
use super::form::{Because, Day, Reason};
use super::page::{At, Body, Listed, Page, Path, Query};
use super::place::{Written, written};
use super::problem::Problem;
use crate::store::assignments::Refused;
use crate::store::brands::{self, Brand, Scope};
use crate::store::{unassigned, waivers};

/// How a brand's receipts are settled: counted = assigned + waived + unassigned.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coverage {
    #[schema(example = "brand-acme")]
    brand: String,
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
    /// The waivers that stand; `/v1/waivers` has the withdrawn ones too.
    waivers: Vec<Waiver>,
}

impl Coverage {
    /// Of a brand without usage.
    fn none(brand: &str) -> Self {
        let zero = || Exact::from(0_i64);
        Self {
            brand: brand.to_owned(),
            counted: zero(),
            assigned: zero(),
            waived: zero(),
            unassigned: zero(),
            open: Vec::new(),
            waivers: Vec::new(),
        }
    }
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
    /// Null for a caller of the brand.
    #[schema(example = "key 1 (finance)")]
    made_by: Option<String>,
    /// Null while it stands.
    #[schema(example = json!(null))]
    withdrawn_at: Option<DateTime<Utc>>,
    /// Null for a caller of the brand.
    #[schema(example = json!(null))]
    withdrawn_by: Option<String>,
}

impl Waiver {
    fn told(caller: &Caller, row: waivers::Record) -> Self {
        Self {
            waiver_no: row.waiver_no,
            brand: row.brand_id,
            from: row.from_day,
            until: row.until_day,
            because: row.because,
            made_at: row.made_at,
            made_by: caller.may_know(row.made_by),
            withdrawn_at: row.withdrawn_at,
            withdrawn_by: row.withdrawn_by.and_then(|by| caller.may_know(by)),
        }
    }
}

/// How the usage of each brand is settled, by brand: what has a plan, what is waived, and what waits for either.
#[utoipa::path(get, path = "/v1/unassigned", tag = "assignments", params(At, Of),
    responses((status = 200, description = "A page", body = Page<Coverage>)))]
pub async fn coverage(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(of): Query<Of>,
) -> Result<Listed<Coverage>, Problem> {
    let after: Option<String> = at.after()?;
    let mut snapshot = api.read(&caller).await?;
    let brand_no = of.number(&mut snapshot, &caller).await?;
    let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let brands = brands::some(&mut *snapshot, brand_no, from, at.rows()).await?;
    // Only what is on the page is read.
    let scope = Scope::these(brands.iter().map(|brand| brand.no).collect());
    let mut settled = settled(&mut snapshot, &caller, &scope).await?;
    drop(snapshot);
    let row = |brand: Brand| {
        let id = brand.id.as_str();
        settled.remove(id).unwrap_or_else(|| Coverage::none(id))
    };
    let rows: Vec<Coverage> = brands.into_iter().map(row).collect();
    Ok(at.page(rows, |row| row.brand.clone(), |row| row))
}

/// How the usage of these brands is settled, by id; brands without any are not there.
async fn settled(
    snapshot: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
) -> Result<HashMap<String, Coverage>, Problem> {
    let sums = unassigned::coverage(&mut *snapshot, scope).await?;
    let open = unassigned::unassigned(&mut *snapshot, scope).await?;
    let waived = waivers::records(&mut *snapshot, scope).await?;
    let mut found: HashMap<String, Coverage> = HashMap::new();
    for row in sums {
        let of = one(&mut found, &row.brand);
        of.counted = row.counted.into();
        of.assigned = row.assigned.into();
        of.waived = row.waived.into();
        of.unassigned = row.unassigned.into();
    }
    for row in open {
        let (first_day, last_day) = (row.first_day, row.last_day);
        let stretch = Stretch { first_day, last_day, receipts: row.receipts.into() };
        one(&mut found, &row.brand).open.push(stretch);
    }
    for row in waived.into_iter().filter(|row| row.withdrawn_at.is_none()) {
        one(&mut found, &row.brand_id).waivers.push(Waiver::told(caller, row));
    }
    Ok(found)
}

fn one<'a>(found: &'a mut HashMap<String, Coverage>, brand: &str) -> &'a mut Coverage {
    found.entry(brand.to_owned()).or_insert_with(|| Coverage::none(brand))
}

/// What nobody will pay for, by brand and first day, withdrawn waivers too.
#[utoipa::path(get, path = "/v1/waivers", tag = "assignments", params(At, Of),
    responses((status = 200, description = "A page", body = Page<Waiver>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(of): Query<Of>,
) -> Result<Listed<Waiver>, Problem> {
    let after = at.after()?.map(|Written(place)| place);
    let mut snapshot = api.read(&caller).await?;
    let brand_no = of.number(&mut snapshot, &caller).await?;
    let rows = waivers::page(&mut *snapshot, brand_no, after.as_ref(), at.rows()).await?;
    drop(snapshot);
    let key = |row: &waivers::Record| written(&row.brand_id, row.from_day, row.waiver_no);
    Ok(at.page(rows, key, |row| Waiver::told(&caller, row)))
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
    Ok((StatusCode::CREATED, Json(Waiver::told(&caller, record(&api, &caller, no).await?))))
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
    let found = record(&api, &caller, waiver_no).await?;
    let brand = BrandId::new(&found.brand_id).ok_or_else(|| no_brand(&found.brand_id))?;
    let pool = &api.store().pool;
    if !waivers::withdraw(pool, &brand, waiver_no, &because.0, &caller.name).await? {
        return Err(Problem::refused(format!("waiver {waiver_no} is withdrawn already")));
    }
    Ok(Json(Waiver::told(&caller, record(&api, &caller, waiver_no).await?)))
}

async fn record(api: &Api, caller: &Caller, waiver_no: i64) -> Result<waivers::Record, Problem> {
    let mut snapshot = api.read(caller).await?;
    let found = waivers::find(&mut *snapshot, waiver_no).await?;
    drop(snapshot);
    found.ok_or_else(|| Problem::not_found(format!("waiver {waiver_no}")))
}
