//! Brands: who pays, what invoices say of them, and how they are taxed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use billing::ids::BrandId;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::caller::{Caller, no_brand};
use super::page::{At, Listed, Page, Path};
use super::problem::Problem;
use crate::store::brands::{self, Profile};
use crate::store::profiles;

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
    receipts: Exact,
    /// Events that wait since the brand failed on them.
    parked_events: Exact,
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
    snapshot.rollback().await?;
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
    snapshot.rollback().await?;
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

/// What invoices say of a brand.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandProfile {
    /// Counted from 1; 0 while there is none.
    version: i32,
    /// The fields that are set, by name.
    #[schema(example = json!({"legal_name": "Acme GmbH", "country": "DE"}))]
    fields: BTreeMap<String, String>,
    /// What an invoice still needs: of each entry one field.
    missing: Vec<Vec<String>>,
    made_at: Option<DateTime<Utc>>,
    made_by: Option<String>,
}

/// What invoices say of a brand, in its newest version.
#[utoipa::path(get, path = "/v1/brands/{brand}/profile", tag = "brands",
    params(("brand" = String, Path, example = "brand-acme")),
    responses((status = 200, description = "The profile; its `ETag` is the version", body = BrandProfile)))]
pub async fn profile(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<([(&'static str, String); 1], Json<BrandProfile>), Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    let newest = profiles::versions(&mut *snapshot, brand.no).await?.pop();
    let taxes = profiles::taxes(&mut *snapshot, Some(brand.no)).await?.remove(&brand.no);
    snapshot.rollback().await?;
    let today = billing::usage::usage_day(Utc::now(), brand.zone);
    let dated: Vec<_> = taxes.into_iter().flatten().map(|record| record.dated).collect();
    let category = billing::tax::in_force(&dated, today).map(billing::tax::Treatment::category);
    let version = newest.as_ref().map_or(0, |newest| newest.version);
    let names = |any: &&[billing::party::Field]| {
        any.iter().map(|field| field.as_str().to_owned()).collect::<Vec<_>>()
    };
    let profile = match newest {
        None => BrandProfile {
            version,
            fields: BTreeMap::new(),
            missing: vec![vec!["legal_name".to_owned()]],
            made_at: None,
            made_by: None,
        },
        Some(newest) => BrandProfile {
            version,
            fields: newest
                .party
                .values()
                .map(|(field, text)| (field.as_str().to_owned(), text.to_owned()))
                .collect(),
            missing: newest.party.missing(category).iter().map(names).collect(),
            made_at: Some(newest.made_at),
            made_by: Some(newest.made_by),
        },
    };
    Ok(([("etag", format!("\"{version}\""))], Json(profile)))
}

/// How a brand is taxed from a day on.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandTax {
    from: NaiveDate,
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT.
    #[schema(example = "S")]
    category: String,
    rate_percent: Exact,
    exemption: Option<String>,
    /// False if a later row corrects it.
    holds: bool,
    made_at: DateTime<Utc>,
    made_by: String,
}

/// How a brand is taxed, as it was set, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandTaxes {
    data: Vec<BrandTax>,
}

/// How a brand is taxed, with what was corrected.
#[utoipa::path(get, path = "/v1/brands/{brand}/taxes", tag = "brands",
    params(("brand" = String, Path, example = "brand-acme")),
    responses((status = 200, description = "Oldest first", body = BrandTaxes)))]
pub async fn taxes(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Json<BrandTaxes>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    let records = profiles::taxes(&mut *snapshot, Some(brand.no)).await?.remove(&brand.no);
    snapshot.rollback().await?;
    let records = records.unwrap_or_default();
    let row = |(at, record): (usize, &profiles::TaxRecord)| BrandTax {
        from: record.dated.from,
        category: record.dated.treatment.category().code().to_owned(),
        rate_percent: record.dated.treatment.rate_percent().into(),
        exemption: record.dated.treatment.exemption().map(str::to_owned),
        holds: !records[at + 1..].iter().any(|later| later.dated.from == record.dated.from),
        made_at: record.made_at,
        made_by: record.made_by.clone(),
    };
    Ok(Json(BrandTaxes { data: records.iter().enumerate().map(row).collect() }))
}
