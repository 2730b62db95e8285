//! The activity log.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::form;
use super::page::{At, Listed, Page, Query};
use super::problem::Problem;
use crate::store::activity::{self, Act, Filter, SUBJECTS};

/// A change that somebody made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Activity {
    activity_no: i64,
    made_at: DateTime<Utc>,
    /// A key, a user of the machine, or the engine.
    #[schema(example = "key 1 (finance team)")]
    made_by: String,
    /// What changed, as the database names it.
    #[schema(example = "brand_profile")]
    subject: String,
    /// `added` or `changed`.
    #[schema(example = "added")]
    act: String,
    brand: Option<String>,
    /// As it was; null where nothing was.
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
    /// As it is.
    #[schema(value_type = Object)]
    after: Option<Box<RawValue>>,
}

impl From<Act> for Activity {
    fn from(act: Act) -> Self {
        let (before, after) = act.rows();
        Self {
            activity_no: act.activity_no,
            made_at: act.made_at,
            made_by: act.made_by,
            subject: act.subject,
            act: act.act,
            brand: act.brand_id,
            before,
            after,
        }
    }
}

/// Which changes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Only of this, as the database names it; what is none of its names is refused with all of them.
    #[param(example = "payment")]
    subject: Option<String>,
    /// Only by this one.
    #[param(example = "key 1 (finance team)")]
    made_by: Option<String>,
}

/// Every change that a person or a program made, newest first.
#[utoipa::path(get, path = "/v1/activity", tag = "access", params(At, Which),
    responses((status = 200, description = "A page", body = Page<Activity>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<Activity>, Problem> {
    form::one_of("subject", which.subject.as_deref(), &SUBJECTS).map_err(Problem::query)?;
    let filter = Filter {
        brand: which.brand,
        subject: which.subject,
        made_by: which.made_by,
        before: at.after()?,
        limit: at.rows(),
    };
    let mut snapshot = api.read(&caller).await?;
    if let Some(brand) = &filter.brand {
        known(&mut snapshot, &caller, brand).await?;
    }
    let rows = activity::list(&mut *snapshot, &filter).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.activity_no.to_string(), Activity::from))
}
