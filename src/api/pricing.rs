//! What plans do with usage: what no charge takes, and whether cases hold.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::caller::Caller;
use super::page::{At, Body, Listed, Page, Query};
use super::problem::Problem;
use crate::store::plan_file::verdict::{self, Difference};
use crate::store::plan_file::{FILE_BYTES_MAX, cases};
use crate::store::unpriced::{self, Refused, Row};

/// Usage that no charge takes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnpricedOfBrand)]
pub struct UnpricedUsage {
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "CERT_VALID@V2")]
    predicate: String,
    #[schema(example = true)]
    result: bool,
    #[schema(example = "12")]
    receipts: Exact,
    #[schema(example = "2026-03-02")]
    first_day: NaiveDate,
    #[schema(example = "2026-03-09")]
    last_day: NaiveDate,
}

/// What pages are ordered by: the brand, the predicate and the result.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(String, String, bool);

impl Place {
    fn of(row: &Row) -> Self {
        Self(row.brand.clone(), row.predicate.clone(), row.result)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(brand, predicate, result) = self;
        write!(to, "{brand}/{predicate}/{result}")
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Neither the id of a brand nor a predicate has a slash.
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(brand), Some(predicate), Some(result), None) => {
                let result = result.parse().map_err(|_| ())?;
                Ok(Self(brand.to_owned(), predicate.to_owned(), result))
            }
            _ => Err(()),
        }
    }
}

/// By which plan.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct By {
    /// Puts all brands to this plan; without it each is put to that of its assignment, and those without one
    /// to `billing.default_plan`.
    #[param(example = "zkdpp-standard")]
    plan: Option<String>,
}

/// Counted usage that no charge takes, by the version that prices its period. It blocks the brand's
/// invoices.
#[utoipa::path(get, path = "/v1/unpriced", tag = "plans", params(At, By),
    responses((status = 200, description = "A page; empty, if all usage has a price",
        body = Page<UnpricedUsage>)))]
pub async fn unpriced(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(By { plan }): Query<By>,
) -> Result<Listed<UnpricedUsage>, Problem> {
    let after: Option<Place> = at.after()?;
    let mut snapshot = api.read(&caller).await?;
    let lists = &api.config().price_lists;
    let found = unpriced::find(&mut snapshot, lists, plan.as_deref()).await?;
    drop(snapshot);
    let mut rows = found.map_err(|refused| match refused {
        Refused::NoPlan(name) => Problem::not_found(format!("plan {name}")),
        Refused::Timeline(error) => Problem::refused(error),
        Refused::File(error) => Problem::internal(&error),
    })?;
    // It is computed as a whole, in this order.
    rows.retain(|row| after.as_ref().is_none_or(|after| Place::of(row) > *after));
    let row = |Row { brand, predicate, result, receipts, first_day, last_day }| UnpricedUsage {
        brand,
        predicate,
        result,
        receipts: receipts.into(),
        first_day,
        last_day,
    };
    Ok(at.page(rows, |row| Place::of(row).to_string(), row))
}

/// What finance expects of plans, periods and usage days.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanCases {
    /// The cases' TOML, as `config/plans/zkdpp-standard.cases.toml` describes it.
    #[schema(
        example = "[[usage_day]]\ncase = \"new year in Berlin\"\ninstant = \"2025-12-31T23:30:00Z\"\nzone = \"Europe/Berlin\"\nusage_day = \"2026-01-01\"\n",
        min_length = 1,
        max_length = 1_048_576
    )]
    cases: String,
    /// The texts of the plan files that the cases name, by the name that they use.
    #[serde(default)]
    #[schema(example = json!({}))]
    files: BTreeMap<String, String>,
}

/// How cases turned out.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanVerdict {
    /// How many cases there are.
    #[schema(example = 12)]
    cases: usize,
    /// None, if every case holds.
    differences: Vec<PlanDifference>,
}

/// Something that is not as a case expects it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanDifference {
    #[schema(example = "new year in Berlin")]
    case: String,
    #[schema(example = "charge:4 amount")]
    what: String,
    #[schema(example = "12.50")]
    expected: String,
    #[schema(example = "12.48")]
    got: String,
}

/// Checks what finance expects of plans, periods and usage days. It reads and writes nothing.
#[utoipa::path(post, path = "/v1/plans/test", tag = "plans", request_body = PlanCases,
    responses((status = 200, description = "What differs", body = PlanVerdict)))]
pub async fn test(
    Body(PlanCases { cases, files }): Body<PlanCases>,
) -> Result<Json<PlanVerdict>, Problem> {
    let task = tokio::task::spawn_blocking(move || run(&cases, &files));
    task.await.map_err(|error| Problem::internal(&error))?.map(Json)
}

fn run(cases: &str, files: &BTreeMap<String, String>) -> Result<PlanVerdict, Problem> {
    let read = |name: &str| match files.get(name) {
        Some(text) if text.len() <= FILE_BYTES_MAX => Ok(text.clone()),
        Some(_) => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        None => Err("it is not among the files that were sent".to_owned()),
    };
    let cases = cases::parse(cases, &read).map_err(|error| Problem::body(error.to_string()))?;
    let row =
        |Difference { case, what, expected, got }| PlanDifference { case, what, expected, got };
    let differences = verdict::differences(&cases).into_iter().map(row).collect();
    Ok(PlanVerdict { cases: cases.count(), differences })
}
