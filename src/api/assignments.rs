//! Which plan a brand has from which day.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::page::Query;
use super::problem::Problem;
use crate::store::assignments;

/// A plan that a brand has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Assignment {
    #[schema(example = 4)]
    assignment_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "zkdpp-standard")]
    plan: String,
    #[schema(example = "2026-03-01")]
    from: NaiveDate,
    /// The first day without it; null while it is open.
    #[schema(example = json!(null))]
    until: Option<NaiveDate>,
    /// The day from which periods are counted; null for the calendar.
    #[schema(example = json!(null))]
    anchor: Option<NaiveDate>,
    /// It ends the period that is running, and does not wait for the next one.
    #[schema(example = false)]
    splits: bool,
    #[schema(example = "contract of February")]
    because: Option<String>,
    #[schema(example = "2026-03-01T08:00:00Z")]
    made_at: DateTime<Utc>,
    #[schema(example = "key 1 (finance)")]
    made_by: String,
}

/// Assignments by brand and day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Assignments {
    data: Vec<Assignment>,
}

/// Of which brand.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// The brand; one's own without it.
    #[param(example = "brand-acme")]
    brand: Option<String>,
}

impl Of {
    pub fn brand(&self, caller: &Caller) -> Result<String, Problem> {
        let brand = caller.brand_of(self.brand.as_deref())?;
        brand.ok_or_else(|| Problem::query("say of which brand"))
    }
}

/// The assignments of a brand, withdrawn ones too; there are at most 1,000.
#[utoipa::path(get, path = "/v1/assignments", tag = "assignments", params(Of),
    responses((status = 200, description = "All of them", body = Assignments)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(of): Query<Of>,
) -> Result<Json<Assignments>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &of.brand(&caller)?).await?;
    let records = assignments::records(&mut *snapshot, Some(brand.no)).await?;
    drop(snapshot);
    let row = |record: assignments::Record| Assignment {
        assignment_no: record.assignment_no,
        brand: record.brand_id,
        plan: record.plan_name,
        from: record.from_day,
        until: record.until_day,
        anchor: record.anchor_day,
        splits: record.is_split,
        because: record.because,
        made_at: record.made_at,
        made_by: record.made_by,
    };
    Ok(Json(Assignments { data: records.into_iter().map(row).collect() }))
}
