//! Which plan a brand has from which day, and usage that nobody pays for.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::page::Query;
use super::problem::Problem;
use crate::store::{assignments, unassigned, waivers};

/// A plan that a brand has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Assignment {
    assignment_no: i64,
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "zkdpp-standard")]
    plan: String,
    from: NaiveDate,
    /// The first day without it; null while it is open.
    until: Option<NaiveDate>,
    /// The day from which periods are counted; null for the calendar.
    anchor: Option<NaiveDate>,
    /// A later version of the plan ends the period, and does not wait for the next one.
    splits: bool,
    because: Option<String>,
    made_at: DateTime<Utc>,
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
    fn brand(&self, caller: &Caller) -> Result<String, Problem> {
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
    snapshot.rollback().await?;
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

/// How a brand's receipts are settled: counted = assigned + waived + unassigned.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coverage {
    counted: Exact,
    assigned: Exact,
    waived: Exact,
    unassigned: Exact,
    /// The stretches of days with usage and neither a plan nor a waiver.
    open: Vec<Stretch>,
    /// What was waived, withdrawn waivers too.
    waivers: Vec<Waiver>,
}

/// Usage without a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stretch {
    first_day: NaiveDate,
    last_day: NaiveDate,
    receipts: Exact,
}

/// Usage days that nobody will pay for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiver {
    waiver_no: i64,
    from: NaiveDate,
    until: NaiveDate,
    because: String,
    made_at: DateTime<Utc>,
    made_by: String,
    withdrawn_at: Option<DateTime<Utc>>,
    withdrawn_by: Option<String>,
}

/// How a brand's usage is settled: what has a plan, what is waived, and what waits for either.
#[utoipa::path(get, path = "/v1/unassigned", tag = "assignments", params(Of),
    responses((status = 200, description = "It", body = Coverage)))]
pub async fn coverage(
    State(api): State<Api>,
    caller: Caller,
    Query(of): Query<Of>,
) -> Result<Json<Coverage>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &of.brand(&caller)?).await?;
    let sums = unassigned::coverage(&mut *snapshot, Some(brand.no)).await?.pop();
    let open = unassigned::unassigned(&mut *snapshot, Some(brand.no)).await?;
    let waived = waivers::records(&mut *snapshot, Some(brand.no)).await?;
    snapshot.rollback().await?;
    let sum = |of: fn(&unassigned::Coverage) -> i64| Exact::from(sums.as_ref().map_or(0, of));
    let stretch = |row: unassigned::Unassigned| Stretch {
        first_day: row.first_day,
        last_day: row.last_day,
        receipts: row.receipts.into(),
    };
    let waiver = |row: waivers::Record| Waiver {
        waiver_no: row.waiver_no,
        from: row.from_day,
        until: row.until_day,
        because: row.because,
        made_at: row.made_at,
        made_by: row.made_by,
        withdrawn_at: row.withdrawn_at,
        withdrawn_by: row.withdrawn_by,
    };
    Ok(Json(Coverage {
        counted: sum(|sums| sums.counted),
        assigned: sum(|sums| sums.assigned),
        waived: sum(|sums| sums.waived),
        unassigned: sum(|sums| sums.unassigned),
        open: open.into_iter().map(stretch).collect(),
        waivers: waived.into_iter().map(waiver).collect(),
    }))
}
