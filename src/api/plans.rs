//! Plans: their versions, with what they say.

use axum::Json;
use axum::extract::State;
use billing::ids;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::page::{At, Listed, Page, Path};
use super::plan_terms::PlanTerms;
use super::problem::Problem;
use crate::store::plan_change;
use crate::store::plans::{self, Version, Withdrawal};

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    #[schema(example = "zkdpp-standard")]
    plan: String,
    /// The version that is in force today, in UTC; null if there is none yet.
    #[schema(example = 2)]
    in_force: Option<i32>,
    /// The newest version that holds; null if all were withdrawn.
    #[schema(example = 3)]
    newest: Option<i32>,
}

impl From<plans::Named> for Plan {
    fn from(row: plans::Named) -> Self {
        Self { plan: row.plan_name, in_force: row.in_force, newest: row.newest }
    }
}

/// A version of a plan, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanVersion {
    #[schema(example = "zkdpp-standard")]
    plan: String,
    /// Counted from 1.
    #[schema(example = 2)]
    version: i32,
    /// In force from this day until the next version's.
    #[schema(example = "2026-03-01")]
    effective_from: NaiveDate,
    /// It is in force today, in UTC.
    #[schema(example = true)]
    in_force: bool,
    /// Of its text, in hexadecimal digits.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: String,
    #[schema(example = "2026-02-20T10:00:00Z")]
    applied_at: DateTime<Utc>,
    #[schema(example = "key 1 (finance)")]
    applied_by: String,
    /// Null while it holds; a version that was withdrawn is as if it had never been applied.
    withdrawn: Option<PlanWithdrawal>,
}

/// Why a version no longer holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanWithdrawal {
    #[schema(example = "wrong day")]
    because: String,
    #[schema(example = "2026-02-21T10:00:00Z")]
    made_at: DateTime<Utc>,
    #[schema(example = "key 1 (finance)")]
    made_by: String,
}

/// The versions of a plan, by number.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanVersions {
    data: Vec<PlanVersion>,
}

/// A version of a plan with all that it says.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanText {
    #[serde(flatten)]
    version: PlanVersion,
    terms: PlanTerms,
    /// The TOML, byte for byte as it was applied.
    #[schema(example = "name = \"zkdpp-standard\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n")]
    source: String,
}

/// A version as it stands.
pub struct Standing {
    pub version: Version,
    is_in_force: bool,
    withdrawal: Option<Withdrawal>,
}

impl From<Standing> for PlanVersion {
    fn from(Standing { version, is_in_force, withdrawal }: Standing) -> Self {
        Self {
            plan: version.plan_name,
            version: version.version,
            effective_from: version.effective_from,
            in_force: is_in_force,
            sha256: version.sha256,
            applied_at: version.applied_at,
            applied_by: version.applied_by,
            withdrawn: withdrawal.map(|why| PlanWithdrawal {
                because: why.because,
                made_at: why.made_at,
                made_by: why.made_by,
            }),
        }
    }
}

/// All versions of a plan, with their withdrawals, by number.
async fn versions(api: &Api, caller: &Caller, name: &str) -> Result<Vec<Standing>, Problem> {
    let mut snapshot = api.read(caller).await?;
    let today = Utc::now().date_naive();
    let holding = plans::versions(&mut *snapshot, Some(name)).await?;
    let withdrawn = plans::withdrawn(&mut snapshot, Some(name)).await?;
    drop(snapshot);
    let is_over = |at: usize| holding.get(at + 1).is_some_and(|next| next.effective_from <= today);
    let holds = |(at, version): (usize, &Version)| Standing {
        version: version.clone(),
        is_in_force: version.effective_from <= today && !is_over(at),
        withdrawal: None,
    };
    let was = |(version, why): (Version, Withdrawal)| Standing {
        version,
        is_in_force: false,
        withdrawal: Some(why),
    };
    let mut all: Vec<Standing> = holding.iter().enumerate().map(holds).collect();
    all.extend(withdrawn.into_iter().map(was));
    all.sort_by_key(|one| one.version.version);
    Ok(all)
}

fn no_plan(plan: &str) -> Problem {
    Problem::not_found(format!("plan {}", plan.chars().take(64).collect::<String>()))
}

/// The plans that were applied, by name.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(At),
    responses((status = 200, description = "A page", body = Page<Plan>)))]
pub async fn list(State(api): State<Api>, at: At) -> Result<Listed<Plan>, Problem> {
    let (after, today): (Option<String>, _) = (at.after()?, Utc::now().date_naive());
    let rows = plans::page(&api.store().pool, after.as_deref(), today, at.rows()).await?;
    Ok(at.page(rows, |row| row.plan_name.clone(), Plan::from))
}

/// The versions of a plan, withdrawn ones too.
#[utoipa::path(get, path = "/v1/plans/{plan}", tag = "plans",
    params(("plan" = String, Path, description = "Its name", example = "zkdpp-standard")),
    responses((status = 200, description = "By number", body = PlanVersions)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(plan): Path<String>,
) -> Result<Json<PlanVersions>, Problem> {
    let found = known(&api, &caller, &plan).await?;
    Ok(Json(PlanVersions { data: found.into_iter().map(PlanVersion::from).collect() }))
}

/// The versions of a plan that was applied.
///
/// # Errors
/// If none was.
pub async fn known(api: &Api, caller: &Caller, plan: &str) -> Result<Vec<Standing>, Problem> {
    if !ids::is_name(plan, ids::NAME_BYTES_MAX) {
        return Err(no_plan(plan));
    }
    let found = versions(api, caller, plan).await?;
    if found.is_empty() { Err(no_plan(plan)) } else { Ok(found) }
}

/// A version of a plan with its terms and its text, also one that was withdrawn.
#[utoipa::path(get, path = "/v1/plans/{plan}/versions/{version}", tag = "plans",
    params(("plan" = String, Path, description = "Its name", example = "zkdpp-standard"),
        ("version" = i32, Path, description = "Counted from 1", example = 1)),
    responses((status = 200, description = "It", body = PlanText)))]
pub async fn version(
    State(api): State<Api>,
    caller: Caller,
    Path((plan, version)): Path<(String, i32)>,
) -> Result<Json<PlanText>, Problem> {
    let mut all = known(&api, &caller, &plan).await?.into_iter();
    let found = all.find(|one| one.version.version == version);
    let found =
        found.ok_or_else(|| Problem::not_found(format!("version {version} of plan {plan}")))?;
    let terms = PlanTerms::from(&plan_change::plan(&found.version)?);
    let source = found.version.source.clone();
    Ok(Json(PlanText { version: found.into(), terms, source }))
}
