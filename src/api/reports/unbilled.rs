//! Unbilled revenue as of a day.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use billing::money::Money;
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::super::amount::Exact;
use super::super::caller::Caller;
use super::super::page::Query;
use super::super::problem::Problem;
use super::{AsOf, asked};
use crate::store::unbilled;

/// What a brand owes in a currency and was not charged. Net amounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unbilled {
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "EUR")]
    currency: String,
    /// For periods that have ended and have no invoice: what their drafts charge.
    #[schema(example = "386.42")]
    ended: Exact,
    /// For periods with an invoice whose usage is another one by now; below zero if they owe less.
    #[schema(example = "-1.50")]
    late: Exact,
    /// For the period that runs: what it would owe if it ended on that day.
    #[schema(example = "12.05")]
    running: Exact,
    /// The sum of the three.
    #[schema(example = "396.97")]
    total: Exact,
    /// Receipts that no charge of the plan takes, so that they are in no amount.
    #[schema(example = "0")]
    unpriced_receipts: Exact,
}

/// The sum over all brands in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnbilledSum {
    #[schema(example = "EUR")]
    currency: String,
    #[schema(example = "396.97")]
    total: Exact,
}

/// Unbilled revenue at the end of a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnbilledRevenue {
    #[schema(example = "2026-09-30")]
    as_of: NaiveDate,
    /// By brand and currency; those that owe nothing are left out.
    data: Vec<Unbilled>,
    totals: Vec<UnbilledSum>,
}

/// Unbilled revenue as of a day, by brand and currency: what was counted on days up to it, less what documents
/// that were issued by then charge. Usage without a plan has no price: `/v1/unassigned` lists it.
#[utoipa::path(get, path = "/v1/reports/unbilled", tag = "reports", params(AsOf),
    responses((status = 200, description = "It", body = UnbilledRevenue)))]
pub async fn unbilled(
    State(api): State<Api>,
    caller: Caller,
    Query(wanted): Query<AsOf>,
) -> Result<Json<UnbilledRevenue>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let (as_of, brand_no) = asked(&api, &mut snapshot, &caller, wanted).await?;
    let rows = unbilled::as_of(&mut snapshot, as_of, brand_no).await?;
    drop(snapshot);
    let mut sums: BTreeMap<&str, Money> = BTreeMap::new();
    let mut data = Vec::with_capacity(rows.len());
    for row in rows {
        let total = row.total()?;
        let currency = total.currency();
        let sum = sums.entry(currency.code()).or_insert(Money::zero(currency));
        *sum = sum.plus(total).map_err(|error| Problem::internal(&error))?;
        data.push(Unbilled {
            brand: row.brand,
            currency: currency.code().to_owned(),
            ended: row.ended.into(),
            late: row.late.into(),
            running: row.running.into(),
            total: total.into(),
            unpriced_receipts: row.unpriced.into(),
        });
    }
    let sum = |(currency, total): (&str, Money)| UnbilledSum {
        currency: currency.to_owned(),
        total: total.into(),
    };
    let totals = sums.into_iter().map(sum).collect();
    Ok(Json(UnbilledRevenue { as_of, data, totals }))
}
