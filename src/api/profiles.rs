//! What invoices say of a brand, in versions, and how it is taxed from which day.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use billing::ids::BrandId;
use billing::party::{self, Field, Party, Role};
use billing::tax::{self, Category, Dated, Treatment};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::{Day, Percent, Seen};
use super::page::{Body, Path};
use super::problem::{Fault, Problem};
use crate::store::brands::Brand;
use crate::store::{forms, profiles};

/// What invoices say of a brand.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandProfile {
    /// Counted from 1; 0 while there is none. It is the `ETag`.
    #[schema(example = 2)]
    version: i32,
    /// The fields that are set, by name.
    #[schema(example = json!({"legal_name": "Acme GmbH", "country": "DE"}))]
    fields: BTreeMap<String, String>,
    /// What an invoice still needs: of each entry one field.
    #[schema(example = json!([["vat_id", "registration_id"]]))]
    missing: Vec<Vec<String>>,
    #[schema(example = "2026-03-01T08:00:00Z")]
    made_at: Option<DateTime<Utc>>,
    /// Null for a caller of the brand.
    #[schema(example = "key 1 (finance)")]
    made_by: Option<String>,
}

impl BrandProfile {
    fn of(caller: &Caller, newest: Option<profiles::Version>, category: Option<Category>) -> Self {
        let names =
            |any: &&[Field]| any.iter().map(|field| field.as_str().to_owned()).collect::<Vec<_>>();
        match newest {
            None => Self {
                version: 0,
                fields: BTreeMap::new(),
                missing: vec![vec!["legal_name".to_owned()]],
                made_at: None,
                made_by: None,
            },
            Some(newest) => Self {
                version: newest.version,
                fields: newest
                    .party
                    .values()
                    .map(|(field, text)| (field.as_str().to_owned(), text.to_owned()))
                    .collect(),
                missing: newest.party.missing(category).iter().map(names).collect(),
                made_at: Some(newest.made_at),
                made_by: caller.may_know(newest.made_by),
            },
        }
    }
}

/// What invoices say of a brand, in its newest version.
#[utoipa::path(get, path = "/v1/brands/{brand}/profile", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    responses((status = 200, description = "The profile; its `ETag` is the version, 0 while there is none",
        body = BrandProfile, headers(("ETag" = String, description = "To be sent as `If-Match`")))))]
pub async fn profile(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Response, Problem> {
    shown(&api, &caller, &brand).await
}

async fn shown(api: &Api, caller: &Caller, brand: &str) -> Result<Response, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    let newest = profiles::versions(&mut *snapshot, brand.no).await?.pop();
    let taxes = profiles::taxes(&mut *snapshot, Some(brand.no)).await?.remove(&brand.no);
    drop(snapshot);
    let profile =
        BrandProfile::of(caller, newest, category_today(&brand, taxes.unwrap_or_default()));
    let tag = format!("\"{}\"", profile.version);
    Ok(([("etag", tag)], Json(profile)).into_response())
}

fn category_today(brand: &Brand, taxes: Vec<profiles::TaxRecord>) -> Option<Category> {
    let today = billing::usage::usage_day(Utc::now(), brand.zone);
    let dated: Vec<Dated> = taxes.into_iter().map(|record| record.dated).collect();
    tax::in_force(&dated, today).map(Treatment::category)
}

/// What invoices are to say of a brand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBrandProfile {
    /// All fields by name; what is left out is removed: `legal_name`, `street`, `street_more`, `city`,
    /// `postcode`, `country`, `vat_id`, `registration_id`, `electronic_scheme`, `electronic_address`,
    /// `contact_name`, `contact_email`, `contact_phone`, `buyer_reference`, `purchase_order`, `terms_days`.
    #[schema(example = json!({"legal_name": "Acme GmbH", "street": "Hauptstr. 1", "city": "Bonn",
        "postcode": "53111", "country": "DE", "vat_id": "DE123456789", "terms_days": "30"}))]
    fields: BTreeMap<String, String>,
}

/// Says anew what invoices say of a brand: a version is added, and the earlier ones stay. Nothing is added if
/// it has this very content. `If-Match: "0"` is for the first version.
#[utoipa::path(put, path = "/v1/brands/{brand}/profile", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    request_body = NewBrandProfile,
    responses((status = 200, description = "The profile as it is now", body = BrandProfile,
        headers(("ETag" = String, description = "For the next change")))))]
pub async fn set_profile(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Seen(seen): Seen,
    Body(NewBrandProfile { fields }): Body<NewBrandProfile>,
) -> Result<Response, Problem> {
    let id = existing(&api, &caller, &brand).await?;
    let party = party(fields)?;
    let change = |newest: Option<&profiles::Version>| {
        let version = newest.map_or(0, |newest| newest.version);
        if version.to_string() == seen { Ok(party) } else { Err(Seen::moved("the profile")) }
    };
    profiles::change(&api.store().pool, &id, &caller.name, change).await??;
    shown(&api, &caller, &brand).await
}

/// The fields of a buyer, or all that is wrong with them.
fn party(fields: BTreeMap<String, String>) -> Result<Party, Problem> {
    let mut values = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in fields {
        match Field::from_name(&name) {
            Some(field) => values.push((field, text)),
            None => faults.push(Fault {
                code: "unknown_field".to_owned(),
                detail: format!(
                    "there is no field {:?}",
                    name.chars().take(64).collect::<String>()
                ),
            }),
        }
    }
    let wrong = |fault: party::Fault| Fault {
        code: fault.why.name().to_owned(),
        detail: fault.to_string(),
    };
    let party = Party::new(Role::Buyer, values);
    match party {
        Ok(party) if faults.is_empty() => Ok(party),
        Ok(_) => Err(Problem::body("the profile cannot be so").with_errors(faults)),
        Err(found) => {
            faults.extend(found.into_iter().map(wrong));
            Err(Problem::body("the profile cannot be so").with_errors(faults))
        }
    }
}

async fn existing(api: &Api, caller: &Caller, brand: &str) -> Result<BrandId, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    drop(snapshot);
    Ok(brand.id)
}

/// How a brand is taxed from a day on.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandTax {
    #[schema(example = "2026-03-01")]
    from: NaiveDate,
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT.
    #[schema(example = "S")]
    category: String,
    #[schema(example = "19")]
    rate_percent: Exact,
    #[schema(example = json!(null))]
    exemption: Option<String>,
    /// False if a later row corrects it.
    #[schema(example = true)]
    holds: bool,
    #[schema(example = "2026-03-01T08:00:00Z")]
    made_at: DateTime<Utc>,
    /// Null for a caller of the brand.
    #[schema(example = "key 1 (finance)")]
    made_by: Option<String>,
}

/// How a brand is taxed, as it was set, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrandTaxes {
    data: Vec<BrandTax>,
}

/// How a brand is taxed, with what was corrected.
#[utoipa::path(get, path = "/v1/brands/{brand}/taxes", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme")),
    responses((status = 200, description = "Oldest first; its `ETag` names the newest row, 0 while there is none",
        body = BrandTaxes, headers(("ETag" = String, description = "To be sent as `If-Match`")))))]
pub async fn taxes(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
) -> Result<Response, Problem> {
    shown_taxes(&api, &caller, &brand).await
}

async fn shown_taxes(api: &Api, caller: &Caller, brand: &str) -> Result<Response, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    let records = profiles::taxes(&mut *snapshot, Some(brand.no)).await?.remove(&brand.no);
    drop(snapshot);
    let records = records.unwrap_or_default();
    let row = |(at, record): (usize, &profiles::TaxRecord)| BrandTax {
        from: record.dated.from,
        category: record.dated.treatment.category().code().to_owned(),
        rate_percent: record.dated.treatment.rate_percent().into(),
        exemption: record.dated.treatment.exemption().map(str::to_owned),
        holds: !records[at + 1..].iter().any(|later| later.dated.from == record.dated.from),
        made_at: record.made_at,
        made_by: caller.may_know(record.made_by.clone()),
    };
    let tag = records.last().map_or(0, |newest| newest.tax_no);
    let taxes = BrandTaxes { data: records.iter().enumerate().map(row).collect() };
    Ok(([("etag", format!("\"{tag}\""))], Json(taxes)).into_response())
}

/// How a brand is to be taxed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBrandTax {
    /// `S` standard, `Z` zero rated, `E` exempt, `AE` reverse charge, `O` outside the scope of VAT.
    #[schema(example = "S")]
    category: String,
    /// Above 0 and at most 100 for `S`, with at most 4 decimals; 0 for the others, which may leave it out.
    #[schema(value_type = Option<String>, example = "19", pattern = r"^[0-9]+(\.[0-9]+)?$")]
    rate_percent: Option<Percent>,
    /// Why no tax is due: needed for `E`, `AE` and `O`.
    #[schema(example = json!(null), max_length = 1000)]
    exemption: Option<String>,
}

/// Says how a brand is taxed from a day on: a row is added, and setting a day again corrects it. A line takes
/// the treatment of the last day of its period. `If-Match` is the `ETag` of the brand's taxes, `"0"` for the
/// first.
#[utoipa::path(put, path = "/v1/brands/{brand}/taxes/{from}", tag = "brands",
    params(("brand" = String, Path, description = "Its id", example = "brand-acme"),
        ("from" = String, Path, description = "The first day", example = "2026-03-01", format = Date)),
    request_body = NewBrandTax,
    responses((status = 200, description = "How it is taxed now, oldest first", body = BrandTaxes,
        headers(("ETag" = String, description = "For the next change")))))]
pub async fn set_tax(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, from)): Path<(String, Day)>,
    Seen(seen): Seen,
    Body(NewBrandTax { category, rate_percent, exemption }): Body<NewBrandTax>,
) -> Result<Response, Problem> {
    let id = existing(&api, &caller, &brand).await?;
    let rate = rate_percent.map(|rate| rate.0).unwrap_or_default();
    let exemption = exemption.filter(|text| !text.trim().is_empty());
    let exemption =
        exemption.map(|text| forms::reason(&text)).transpose().map_err(Problem::body)?;
    let treatment = profiles::treatment(&category, rate, exemption)
        .map_err(|refused| Problem::body(refused.to_string()))?;
    let seen = seen.parse().map_err(|_| Seen::moved("how it is taxed"))?;
    let dated = Dated { from: from.0, treatment };
    let pool = &api.store().pool;
    if !profiles::set_tax(pool, &id, &dated, Some(seen), &caller.name).await? {
        return Err(Seen::moved("how it is taxed"));
    }
    shown_taxes(&api, &caller, &brand).await
}
