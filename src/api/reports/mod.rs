//! Reports for the books.

pub mod ageing;
pub mod register;
pub mod unbilled;

use axum::Json;
use axum::extract::State;
use chrono::{NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::Day;
use super::page::Query;
use super::problem::Problem;
use crate::store::reports;

/// Which documents are summed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Issued {
    /// First issue date; the earliest without it.
    #[param(example = "2026-09-01")]
    from: Option<Day>,
    /// The day after the last issue date.
    #[param(example = "2026-10-01")]
    until: Option<Day>,
}

/// Tax of a country, category and rate in one currency. Credit notes are taken from it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaxSum {
    /// The buyer's.
    #[schema(example = "DE")]
    country: Option<String>,
    #[schema(example = "EUR")]
    currency: String,
    /// S standard, Z zero rated, E exempt, AE reverse charge, O outside the scope of VAT.
    #[schema(example = "S")]
    category: String,
    #[schema(example = "19")]
    rate_percent: Exact,
    #[schema(example = 12)]
    documents: i64,
    #[schema(example = "1000.00")]
    taxable: Exact,
    #[schema(example = "190.00")]
    tax: Exact,
}

/// Sums by country, currency, category and rate.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaxSummary {
    data: Vec<TaxSum>,
}

/// The tax of all documents that were issued in a time and are not voided.
#[utoipa::path(get, path = "/v1/reports/tax_summary", tag = "reports", params(Issued),
    responses((status = 200, description = "It", body = TaxSummary)))]
pub async fn tax_summary(
    State(api): State<Api>,
    caller: Caller,
    Query(issued): Query<Issued>,
) -> Result<Json<TaxSummary>, Problem> {
    let (from, until) = days(issued.from, issued.until)?;
    let mut snapshot = api.read(&caller).await?;
    let sums = reports::taxes(&mut *snapshot, (from, until)).await?;
    drop(snapshot);
    let row = |sum: reports::TaxSum| TaxSum {
        country: sum.country,
        category: sum.category,
        // The column has four decimals, and a rate is written as it was given everywhere else.
        rate_percent: sum.rate_percent.normalize().into(),
        documents: sum.documents,
        taxable: Exact::money(sum.taxable, &sum.currency),
        tax: Exact::money(sum.tax, &sum.currency),
        currency: sum.currency,
    };
    Ok(Json(TaxSummary { data: sums.into_iter().map(row).collect() }))
}

/// Days in between, which a query may leave out.
///
/// # Errors
/// If there are none.
fn days(from: Option<Day>, until: Option<Day>) -> Result<(NaiveDate, NaiveDate), Problem> {
    // No document is older, and PostgreSQL knows no later day of four digits.
    let first = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default();
    let (from, until) = (from.map_or(first, |day| day.0), until.map_or(last, |day| day.0));
    if from >= until {
        return Err(Problem::query("until is the day after the last one, so it lies after from"));
    }
    Ok((from, until))
}

/// As of when, and of whom.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AsOf {
    /// The day at whose end things are looked at; today without it.
    #[param(example = "2026-09-30")]
    as_of: Option<Day>,
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
}

/// The day, and the number of the brand, that are asked for.
async fn asked(
    api: &Api,
    snapshot: &mut PgConnection,
    caller: &Caller,
    wanted: AsOf,
) -> Result<(NaiveDate, Option<i32>), Problem> {
    let now = Utc::now();
    let day = wanted.as_of.map_or_else(|| api.today(now), |day| day.0);
    // Nowhere is the day further than that.
    if day > (now + TimeDelta::hours(14)).date_naive() {
        return Err(Problem::query("as_of lies in the future"));
    }
    let brand_no = match &wanted.brand {
        Some(brand) => Some(known(snapshot, caller, brand).await?.no),
        None => None,
    };
    Ok((day, brand_no))
}
