//! Reports for the books.

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::caller::Caller;
use super::page::Query;
use super::problem::Problem;
use crate::store::reports;

/// Which documents are summed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Issued {
    /// First issue date; the earliest without it.
    #[param(example = "2026-09-01")]
    from: Option<NaiveDate>,
    /// The day after the last issue date.
    #[param(example = "2026-10-01")]
    until: Option<NaiveDate>,
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
    rate_percent: Exact,
    documents: i64,
    taxable: Exact,
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
    // No document is older, and PostgreSQL knows no later day of four digits.
    let first = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default();
    let (from, until) = (issued.from.unwrap_or(first), issued.until.unwrap_or(last));
    if from >= until {
        return Err(Problem::query("until is the day after the last one, so it lies after from"));
    }
    let mut snapshot = api.read(&caller).await?;
    let sums = reports::taxes(&mut *snapshot, (from, until)).await?;
    snapshot.rollback().await?;
    let row = |sum: reports::TaxSum| TaxSum {
        country: sum.country,
        currency: sum.currency,
        category: sum.category,
        rate_percent: sum.rate_percent.into(),
        documents: sum.documents,
        taxable: sum.taxable.into(),
        tax: sum.tax.into(),
    };
    Ok(Json(TaxSummary { data: sums.into_iter().map(row).collect() }))
}
