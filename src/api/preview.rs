//! Previews: what periods of a brand cost by the usage counted so far.

use axum::Json;
use axum::extract::State;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::Day;
use super::lines::{ChargeLine, TaxShare};
use super::page::{Path, Query};
use super::problem::{Kind, Problem};
use crate::store::preview::{self, Case, Known, Shown, Wanted, When};

/// What is previewed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// A day of the period, or a month as YYYY-MM for every period that has days in it; the period of `at`, or
    /// of today, without it.
    #[param(example = "2026-09", pattern = r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$")]
    period: Option<String>,
    /// Only usage up to the end of this day, in the brand's zone.
    #[param(example = "2026-09-15")]
    at: Option<Day>,
    /// As if the rest of the period went on like the days up to `at`, or today: an estimate.
    #[param(example = false)]
    project: Option<bool>,
}

/// What a period costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodPreview {
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "2026-09-01")]
    period_start: NaiveDate,
    /// The day after the last.
    #[schema(example = "2026-10-01")]
    period_end: NaiveDate,
    /// Days of the period, and of the whole period that it is cut from.
    #[schema(example = 30)]
    days: u32,
    #[schema(example = 30)]
    of_days: u32,
    #[schema(example = "zkdpp-standard")]
    plan: String,
    #[schema(example = 3)]
    plan_version: Option<i32>,
    /// The assignment that the period is of.
    #[schema(example = 12)]
    assignment_no: Option<i64>,
    /// The last day whose usage is in it.
    #[schema(example = "2026-09-30")]
    usage_until: NaiveDate,
    /// Whether it is an estimate.
    #[schema(example = false)]
    is_projected: bool,
    #[schema(example = "1200")]
    receipts: Exact,
    #[schema(example = "EUR")]
    currency: String,
    lines: Vec<ChargeLine>,
    #[schema(example = "60.00")]
    net_total: Exact,
    /// Null while it is not known how the brand is taxed, as are tax and total.
    taxes: Option<Vec<TaxShare>>,
    #[schema(example = "11.40")]
    tax_total: Option<Exact>,
    #[schema(example = "71.40")]
    total: Option<Exact>,
    /// Receipts that no charge of the plan takes.
    unpriced: Vec<UnpricedUsage>,
}

/// Receipts that no charge takes.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnpricedUsage {
    #[schema(example = "CERT_VALID@V1")]
    predicate: String,
    #[schema(example = true)]
    result: bool,
    #[schema(example = "12")]
    receipts: Exact,
}

/// Previews, by period.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodPreviews {
    data: Vec<PeriodPreview>,
}

impl PeriodPreview {
    fn of(case: &Case, shown: &Shown) -> Self {
        let (period, tax) = (case.slot.period, shown.tax.as_ref());
        let unpriced = shown.unpriced.iter().map(|one| UnpricedUsage {
            predicate: one.predicate.clone(),
            result: one.result,
            receipts: one.receipts.into(),
        });
        Self {
            brand: case.brand.id.as_str().to_owned(),
            period_start: period.start(),
            period_end: period.end(),
            days: period.days(),
            of_days: case.slot.whole.days(),
            plan: case.plan.terms().name.clone(),
            plan_version: case.version,
            assignment_no: case.assignment,
            usage_until: case.until,
            is_projected: case.is_projected,
            receipts: shown.receipts.into(),
            currency: shown.net_total.currency().code().to_owned(),
            lines: shown.lines.iter().map(|line| ChargeLine::of(line, period.start())).collect(),
            net_total: shown.net_total.into(),
            taxes: tax.map(|tax| tax.groups.iter().map(TaxShare::from).collect()),
            tax_total: tax.map(|tax| tax.tax.into()),
            total: tax.map(|tax| tax.total.into()),
            unpriced: unpriced.collect(),
        }
    }
}

/// What periods of a brand cost by the usage counted so far, with the arithmetic of each line. Nothing is
/// written.
///
/// Changes to periods that are billed already are not in it; drafts have those.
#[utoipa::path(get, path = "/v1/brands/{brand}/preview", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"), Of),
    responses((status = 200, description = "By period", body = PeriodPreviews)))]
pub async fn preview(
    State(api): State<Api>,
    caller: Caller,
    Path(brand): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<PeriodPreviews>, Problem> {
    let when = |text: &String| {
        let wrong = || Problem::query("period is a day as YYYY-MM-DD or a month as YYYY-MM");
        When::parse(text).ok_or_else(wrong)
    };
    let period = of.period.as_ref().map(when).transpose()?;
    let projected = of.project.unwrap_or(false);
    let (wanted, now) = (Wanted { period, at: of.at.map(|day| day.0), projected }, Utc::now());
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    let known = Known::read(&mut snapshot, Some(brand.no)).await.map_err(problem)?;
    let days = wanted.days(&brand, now).map_err(problem)?;
    let priced = known.assigned(&brand, days).map_err(problem)?;
    if priced.is_empty() {
        let (first, last) = (days.start(), days.last_day());
        let detail = format!("plan of {} from {first} to {last}", brand.id);
        return Err(Problem::not_found(detail));
    }
    let mut data = Vec::with_capacity(priced.len());
    for priced in priced {
        let case = known.case(&mut snapshot, &wanted, brand.clone(), priced, None, now).await;
        let case = case.map_err(problem)?;
        data.push(PeriodPreview::of(&case, &case.draft().map_err(problem)?));
    }
    drop(snapshot);
    data.sort_by_key(|one| one.period_start);
    Ok(Json(PeriodPreviews { data }))
}

fn problem(error: preview::Error) -> Problem {
    match error {
        preview::Error::Store(error) => error.into(),
        preview::Error::NotBegun { .. } | preview::Error::Calendar => {
            Problem::query(error.to_string())
        }
        preview::Error::WithoutPlan(text) => Problem::new(Kind::NotFound, text),
        error => Problem::internal(&error),
    }
}
