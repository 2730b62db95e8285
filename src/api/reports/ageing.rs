//! What is open, by how long it is past its due date.

use axum::Json;
use axum::extract::State;
use billing::currency::Currency;
use billing::money::Money;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::amount::Exact;
use super::super::caller::Caller;
use super::super::page::Query;
use super::super::problem::Problem;
use super::{AsOf, asked};
use crate::store::{Error, reports};

/// What is open in one currency, tax included.
#[derive(Debug, Serialize, ToSchema)]
pub struct Aged {
    #[schema(example = "EUR")]
    currency: String,
    /// Not due before the day.
    #[schema(example = "459.84")]
    current: Exact,
    #[schema(example = "40.46")]
    days_1_30: Exact,
    #[schema(example = "0.00")]
    days_31_60: Exact,
    #[schema(example = "0.00")]
    days_61_90: Exact,
    #[schema(example = "0.00")]
    days_over_90: Exact,
    /// The sum of the five.
    #[schema(example = "500.30")]
    total: Exact,
    /// How many documents are open.
    #[schema(example = 2)]
    documents: i64,
    /// What is owed to buyers and in none of the sums: paid too much, or given back by a credit note that is
    /// not for a document.
    #[schema(example = "0.00")]
    owed_to_buyers: Exact,
}

/// What was open at the end of a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ageing {
    #[schema(example = "2026-09-30")]
    as_of: NaiveDate,
    /// By currency.
    data: Vec<Aged>,
}

/// Open amounts as of a day, by currency and days past the due date. Payments and credit notes of up to that
/// day are counted; what is voided or written off is not open.
#[utoipa::path(get, path = "/v1/reports/ageing", tag = "reports", params(AsOf),
    responses((status = 200, description = "It", body = Ageing)))]
pub async fn ageing(
    State(api): State<Api>,
    caller: Caller,
    Query(wanted): Query<AsOf>,
) -> Result<Json<Ageing>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let (as_of, brand_no) = asked(&api, &mut snapshot, &caller, wanted).await?;
    let rows = reports::ageing(&mut *snapshot, as_of, brand_no).await?;
    drop(snapshot);
    let data = rows.into_iter().map(aged).collect::<Result<_, _>>()?;
    Ok(Json(Ageing { as_of, data }))
}

fn aged(row: reports::Ageing) -> Result<Aged, Problem> {
    let corrupt = || Error::Corrupt(format!("open amounts in {}", row.currency));
    let currency = Currency::from_code(&row.currency).ok_or_else(corrupt)?;
    let money = |amount: Decimal| Money::new(amount, currency).ok_or_else(corrupt);
    let bands =
        [row.current, row.days_1_30, row.days_31_60, row.days_61_90, row.days_over_90].map(money);
    let mut total = Money::zero(currency);
    for band in bands {
        total = total.plus(band?).map_err(|error| Problem::internal(&error))?;
    }
    let exact = |amount| money(amount).map(Exact::from);
    Ok(Aged {
        current: exact(row.current)?,
        days_1_30: exact(row.days_1_30)?,
        days_31_60: exact(row.days_31_60)?,
        days_61_90: exact(row.days_61_90)?,
        days_over_90: exact(row.days_over_90)?,
        total: total.into(),
        documents: row.documents,
        owed_to_buyers: exact(row.owed_to_buyers)?,
        currency: row.currency,
    })
}
