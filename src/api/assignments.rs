//! Which plan a brand has from which day.

use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::page::{At, Listed, Page, Query};
use super::place::{Written, written};
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
    /// Null for a caller of the brand.
    #[schema(example = "key 1 (finance)")]
    made_by: Option<String>,
}

impl Assignment {
    fn told(caller: &Caller, record: assignments::Record) -> Self {
        Self {
            assignment_no: record.assignment_no,
            brand: record.brand_id,
            plan: record.plan_name,
            from: record.from_day,
            until: record.until_day,
            anchor: record.anchor_day,
            splits: record.is_split,
            because: record.because,
            made_at: record.made_at,
            made_by: caller.may_know(record.made_by),
        }
    }
}

/// Of which brand.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
}

impl Of {
    /// The number of the brand that is meant: one's own, or the one that is named; `None` for all.
    pub async fn number(
        &self,
        snapshot: &mut PgConnection,
        caller: &Caller,
    ) -> Result<Option<i32>, Problem> {
        match caller.brand_of(self.brand.as_deref())? {
            Some(brand) => Ok(Some(known(snapshot, caller, &brand).await?.no)),
            None => Ok(None),
        }
    }
}

/// Assignments by brand and first day, withdrawn ones too.
#[utoipa::path(get, path = "/v1/assignments", tag = "assignments", params(At, Of),
    responses((status = 200, description = "A page", body = Page<Assignment>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(of): Query<Of>,
) -> Result<Listed<Assignment>, Problem> {
    let after = at.after()?.map(|Written(place)| place);
    let mut snapshot = api.read(&caller).await?;
    let brand_no = of.number(&mut snapshot, &caller).await?;
    let rows = assignments::page(&mut *snapshot, brand_no, after.as_ref(), at.rows()).await?;
    drop(snapshot);
    let key = |row: &assignments::Record| written(&row.brand_id, row.from_day, row.assignment_no);
    Ok(at.page(rows, key, |row| Assignment::told(&caller, row)))
}
