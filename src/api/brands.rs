//! Brands: who pays, whose calendar they count by, and whether their events are parked.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use billing::hash::Hash;
use billing::ids::BrandId;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::caller::{Caller, no_brand};
use super::form::Seen;
use super::page::{At, Body, Listed, Page, Path};
use super::problem::{Kind, Problem};
use super::requests::{self, Request};
use crate::store::brands::{self, Profile};
use crate::store::forms;
use crate::store::requests::Ask;

/// A brand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Brand {
    #[schema(example = "brand-acme")]
    brand: String,
    /// What people call it.
    #[schema(example = "Acme Fashion")]
    name: Option<String>,
    /// Whose calendar gives its usage days.
    #[schema(example = "Europe/Berlin")]
    zone: String,
    /// What was counted and not taken back.
    #[schema(example = "120400")]
    receipts: Exact,
    /// Events that wait since the brand failed on them.
    #[schema(example = "0")]
    parked_events: Exact,
    #[schema(example = "2026-03-01T08:00:00Z")]
    created_at: DateTime<Utc>,
}

impl From<Profile> for Brand {
    fn from(profile: Profile) -> Self {
        Self {
            brand: profile.brand.id.as_str().to_owned(),
            name: profile.display_name,
            zone: profile.brand.zone.name().to_owned(),
            receipts: profile.receipts.into(),
            parked_events: profile.parked.into(),
            created_at: profile.created_at,
        }
    }
}

/// The brands, by id.
#[utoipa::path(get, path = "/v1/brands", tag = "brands", params(At),
    responses((status = 200, description = "A page", body = Page<Brand>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
) -> Result<Listed<Brand>, Problem> {
    let after: Option<String> = at.after()?;
    let mut snapshot = api.read(&caller).await?;
    let rows = brands::page(&mut *snapshot, caller.brand_no(), after.as_deref(), at.rows()).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.brand.id.as_str().to_owned(), Brand::from))
}

/// One brand.
#[utoipa::path(get, path = "/v1/brands/{brand}", tag = "brands",
    params(("brand" = String, Path, example = "brand-acme")),
    responses((status = 200, description = "It", body = Brand)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Json<Brand>, Problem> {
    caller.brand_of(Some(&brand))?;
    let mut snapshot = api.read(&caller).await?;
    let found = brands::profiles(&mut *snapshot, Some(&brand)).await?.pop();
    drop(snapshot);
    found.map(|found| Json(found.into())).ok_or_else(|| no_brand(&brand))
}

/// The brand that is named, as the caller may see it.
pub async fn known(
    snapshot: &mut sqlx::PgConnection,
    caller: &Caller,
    brand: &str,
) -> Result<brands::Brand, Problem> {
    caller.brand_of(Some(brand))?;
    let found = match BrandId::new(brand) {
        Some(id) => brands::find(snapshot, &id).await?,
        None => None,
    };
    found.ok_or_else(|| no_brand(brand))
}

/// The calendar that a brand counts its days by.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandZone {
    /// Of the IANA list.
    #[schema(example = "Europe/Berlin", min_length = 1, max_length = 64)]
    zone: String,
}

/// The calendar that a brand counts its days by.
#[utoipa::path(get, path = "/v1/brands/{brand}/zone", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    responses((status = 200, description = "The zone; its `ETag` is for a change", body = BrandZone,
        headers(("ETag" = String, description = "To be sent as `If-Match`")))))]
pub async fn zone(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Response, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    drop(snapshot);
    let zone = brand.zone.name();
    Ok(([("etag", format!("\"{zone}\""))], Json(BrandZone { zone: zone.to_owned() }))
        .into_response())
}

/// Gives a brand another calendar, and lets the engine rebuild its usage days. Refused once the brand has
/// documents. Answered with the request that the engine was given: 200 if it has carried it out, 202 if it
/// will.
#[utoipa::path(put, path = "/v1/brands/{brand}/zone", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    request_body = BrandZone,
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn set_zone(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Seen(seen): Seen,
    Body(BrandZone { zone }): Body<BrandZone>,
) -> Result<Response, Problem> {
    let zone = Tz::from_str(&zone).map_err(|_| Problem::body("zone is none of the IANA list"))?;
    let now = zone_of(&api, &caller, &brand).await?;
    if now.name() != seen {
        return Err(Seen::moved("the zone"));
    }
    let ask = Ask::SetZone { brand: brand.clone(), zone: zone.name().to_owned(), seen: Some(seen) };
    match requests::carry_out(&api, &caller, ask).await {
        Err(problem) if problem.kind == Kind::Refused => {
            // The engine looks once more: somebody else may have come first.
            let later = zone_of(&api, &caller, &brand).await?;
            Err(if later == now { problem } else { Seen::moved("the zone") })
        }
        answer => answer,
    }
}

async fn zone_of(api: &Api, caller: &Caller, brand: &str) -> Result<Tz, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    drop(snapshot);
    Ok(brand.zone)
}

/// What people call a brand.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandName {
    /// Null where nobody has said.
    #[schema(example = "Acme Fashion", min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// Names what is seen: names have letters that no header takes.
fn name_tag(name: Option<&str>) -> String {
    let hash = Hash::of(&[name.unwrap_or_default().as_bytes()]);
    hash.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What people call a brand.
#[utoipa::path(get, path = "/v1/brands/{brand}/name", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    responses((status = 200, description = "The name; its `ETag` is for a change", body = BrandName,
        headers(("ETag" = String, description = "To be sent as `If-Match`")))))]
pub async fn name(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Response, Problem> {
    let name = name_of(&api, &caller, &brand).await?;
    let tag = name_tag(name.as_deref());
    Ok(([("etag", format!("\"{tag}\""))], Json(BrandName { name })).into_response())
}

/// Says what people call a brand. Its id never changes.
#[utoipa::path(put, path = "/v1/brands/{brand}/name", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    request_body = BrandName,
    responses((status = 200, description = "The name", body = BrandName,
        headers(("ETag" = String, description = "For the next change")))))]
pub async fn set_name(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Seen(seen): Seen,
    Body(BrandName { name }): Body<BrandName>,
) -> Result<Response, Problem> {
    let name = name.ok_or_else(|| Problem::body("name has 1 to 200 characters"))?;
    let name = forms::display_name(&name).map_err(Problem::body)?;
    let before = name_of(&api, &caller, &brand).await?;
    if name_tag(before.as_deref()) != seen {
        return Err(Seen::moved("the name"));
    }
    let id = BrandId::new(&brand).ok_or_else(|| no_brand(&brand))?;
    let change = brands::Rename { seen: Some(before.as_deref()), name: &name };
    if !brands::set_display_name(&api.store().pool, &id, change, &caller.name).await? {
        return Err(Seen::moved("the name"));
    }
    let tag = name_tag(Some(&name));
    Ok(([("etag", format!("\"{tag}\""))], Json(BrandName { name: Some(name) })).into_response())
}

async fn name_of(api: &Api, caller: &Caller, brand: &str) -> Result<Option<String>, Problem> {
    caller.brand_of(Some(brand))?;
    let mut snapshot = api.read(caller).await?;
    known(&mut snapshot, caller, brand).await?;
    let found = brands::display_name(&mut *snapshot, brand).await?;
    drop(snapshot);
    Ok(found)
}

/// Lets the parked events of a brand be metered, in order, once the cause of its failure is gone; live events
/// are parked until then. Answered with the request that the engine was given: 200 if it has carried it out,
/// 202 if it will.
#[utoipa::path(post, path = "/v1/brands/{brand}/unpark", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    responses((status = 200, description = "It is answered", body = Request),
        (status = 202, description = "It waits for the engine", body = Request,
            headers(("Location" = String, description = "The request")))))]
pub async fn unpark(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Response, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?.id.as_str().to_owned();
    drop(snapshot);
    requests::carry_out(&api, &caller, Ask::Unpark { brand }).await
}
