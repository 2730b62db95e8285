//! Plans: their versions, and what a new one would change or has changed.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use billing::ids;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::form::Day;
use super::page::{At, Body, Listed, Page, Path, Query};
use super::plan_terms::PlanTerms;
use super::problem::{Fault, Problem};
use super::requests::Because;
use crate::store::plan_change::{self, Applied, Outcome, Refused, Wanted};
use crate::store::plan_file::changes::Change;
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

/// All versions of a plan, or of all, with their withdrawals, by name and number.
async fn versions(
    api: &Api,
    name: Option<&str>,
) -> Result<Vec<(Version, bool, Option<Withdrawal>)>, Problem> {
    let pool = &api.store().pool;
    let today = Utc::now().date_naive();
    let holding = plans::versions(pool, name).await?;
    let withdrawn = plans::withdrawn(pool, name).await?;
    let is_over = |at: usize, version: &Version| {
        let next = holding.get(at + 1).filter(|next| next.plan_name == version.plan_name);
        next.is_some_and(|next| next.effective_from <= today)
    };
    let in_force = |(at, version): (usize, &Version)| {
        let in_force = version.effective_from <= today && !is_over(at, version);
        (version.clone(), in_force, None)
    };
    let mut all: Vec<_> = holding.iter().enumerate().map(in_force).collect();
    all.extend(withdrawn.into_iter().map(|(version, why)| (version, false, Some(why))));
    all.sort_by(|(one, ..), (next, ..)| {
        (&one.plan_name, one.version).cmp(&(&next.plan_name, next.version))
    });
    Ok(all)
}

fn version_of(version: &Version, in_force: bool, why: Option<Withdrawal>) -> PlanVersion {
    PlanVersion {
        plan: version.plan_name.clone(),
        version: version.version,
        effective_from: version.effective_from,
        in_force,
        sha256: version.sha256.clone(),
        applied_at: version.applied_at,
        applied_by: version.applied_by.clone(),
        withdrawn: why.map(|why| PlanWithdrawal {
            because: why.because,
            made_at: why.made_at,
            made_by: why.made_by,
        }),
    }
}

fn no_plan(plan: &str) -> Problem {
    Problem::not_found(format!("plan {}", plan.chars().take(64).collect::<String>()))
}

/// The plans that were applied, by name.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(At),
    responses((status = 200, description = "A page", body = Page<Plan>)))]
pub async fn list(State(api): State<Api>, at: At) -> Result<Listed<Plan>, Problem> {
    let after: Option<String> = at.after()?;
    let mut found: Vec<Plan> = Vec::new();
    for (version, in_force, why) in versions(&api, None).await? {
        if found.last().is_none_or(|last| last.plan != version.plan_name) {
            found.push(Plan { plan: version.plan_name.clone(), in_force: None, newest: None });
        }
        let Some(plan) = found.last_mut().filter(|_| why.is_none()) else { continue };
        plan.newest = Some(version.version);
        if in_force {
            plan.in_force = Some(version.version);
        }
    }
    found.retain(|plan| after.as_ref().is_none_or(|after| plan.plan > *after));
    found.truncate(usize::try_from(at.rows()).unwrap_or(usize::MAX));
    Ok(at.page(found, |plan| plan.plan.clone(), |plan| plan))
}

/// The versions of a plan, withdrawn ones too.
#[utoipa::path(get, path = "/v1/plans/{plan}", tag = "plans",
    params(("plan" = String, Path, description = "Its name", example = "zkdpp-standard")),
    responses((status = 200, description = "By number", body = PlanVersions)))]
pub async fn get(
    State(api): State<Api>,
    Path(plan): Path<String>,
) -> Result<Json<PlanVersions>, Problem> {
    let found = known(&api, &plan).await?;
    let data = found.into_iter().map(|(version, now, why)| version_of(&version, now, why));
    Ok(Json(PlanVersions { data: data.collect() }))
}

async fn known(api: &Api, plan: &str) -> Result<Vec<(Version, bool, Option<Withdrawal>)>, Problem> {
    if !ids::is_name(plan, ids::NAME_BYTES_MAX) {
        return Err(no_plan(plan));
    }
    let found = versions(api, Some(plan)).await?;
    if found.is_empty() { Err(no_plan(plan)) } else { Ok(found) }
}

/// A version of a plan with its terms and its text, also one that was withdrawn.
#[utoipa::path(get, path = "/v1/plans/{plan}/versions/{version}", tag = "plans",
    params(("plan" = String, Path, description = "Its name", example = "zkdpp-standard"),
        ("version" = i32, Path, description = "Counted from 1", example = 1)),
    responses((status = 200, description = "It", body = PlanText)))]
pub async fn version(
    State(api): State<Api>,
    Path((plan, version)): Path<(String, i32)>,
) -> Result<Json<PlanText>, Problem> {
    let found = known(&api, &plan).await?.into_iter().find(|(one, ..)| one.version == version);
    let (found, in_force, why) =
        found.ok_or_else(|| Problem::not_found(format!("version {version} of plan {plan}")))?;
    let terms = PlanTerms::from(&plan_change::plan(&found)?);
    let version = version_of(&found, in_force, why);
    Ok(Json(PlanText { version, terms, source: found.source }))
}

/// Whether it is only tried.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Dry {
    /// Says what the version would change, and writes nothing.
    #[param(example = true)]
    dry_run: Option<bool>,
}

/// A version that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlanVersion {
    /// The plan's TOML; `config/plans/zkdpp-standard.toml` describes how it is written.
    #[schema(
        example = "name = \"zkdpp-standard\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n[[charge]]\nname = \"Certificates\"\npredicate = \"CERT_VALID@V1\"\nmodel = \"per_unit\"\nunit_price = \"0.03\"\n",
        min_length = 1,
        max_length = 1_048_576
    )]
    source: String,
    /// First day on which it is in force: after the newest version's, at most two years ahead. Today in UTC
    /// if it is left out, but the first version needs one.
    #[schema(value_type = Option<String>, format = Date, example = "2026-03-01")]
    effective_from: Option<Day>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppliedPlanVersion {
    #[schema(example = "zkdpp-standard")]
    plan: String,
    #[schema(example = 2)]
    version: i32,
    #[schema(example = "2026-03-01")]
    effective_from: NaiveDate,
    /// `applied`; `dry_run`, which wrote nothing; or `same`, since the newest version has this very text.
    #[schema(example = "applied")]
    outcome: String,
    /// The terms that differ from the version before it.
    changes: Vec<PlanChange>,
}

/// A term that differs.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanChange {
    /// `added`, `removed` or `changed`.
    #[schema(example = "changed")]
    change: String,
    #[schema(example = "charge \"Certificates\": price")]
    what: String,
    /// Empty where there was nothing.
    #[schema(example = "per_unit 0.03")]
    before: String,
    /// Empty where nothing is left.
    #[schema(example = "per_unit 0.04")]
    after: String,
}

impl From<Applied> for AppliedPlanVersion {
    fn from(applied: Applied) -> Self {
        let outcome = match applied.outcome {
            Outcome::Applied => "applied",
            Outcome::NotApplied => "dry_run",
            Outcome::Same => "same",
        };
        let change = |Change { change, what, before, after }| PlanChange {
            change: change.to_owned(),
            what,
            before,
            after,
        };
        Self {
            plan: applied.name,
            version: applied.version,
            effective_from: applied.effective_from,
            outcome: outcome.to_owned(),
            changes: applied.changes.into_iter().map(change).collect(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let fault = Fault { code: refused.name().to_owned(), detail: refused.to_string() };
        let problem = match refused {
            Refused::File(_)
            | Refused::OtherPlan { .. }
            | Refused::Undated(_)
            | Refused::TooFarAhead { .. } => Self::body(refused.to_string()),
            refused => Self::refused(refused),
        };
        problem.with_errors(vec![fault])
    }
}

/// Adds a text as a new version of its plan, or only says what that would change (`dry_run`). A version is
/// never changed afterwards; a period takes the one that is in force on its first day. Applying the newest
/// version's text again changes nothing.
#[utoipa::path(post, path = "/v1/plans/{plan}/versions", tag = "plans",
    params(("plan" = String, Path, description = "Its name, as the text has it",
        example = "zkdpp-standard"), Dry),
    request_body = NewPlanVersion,
    responses((status = 201, description = "It is applied", body = AppliedPlanVersion),
        (status = 200, description = "Nothing was written: a dry run, or the same text",
            body = AppliedPlanVersion)))]
pub async fn apply(
    State(api): State<Api>,
    caller: Caller,
    Path(plan): Path<String>,
    Query(dry): Query<Dry>,
    Body(NewPlanVersion { source, effective_from }): Body<NewPlanVersion>,
) -> Result<(StatusCode, Json<AppliedPlanVersion>), Problem> {
    let wanted = Wanted {
        name: Some(&plan),
        source: &source,
        effective_from: effective_from.map(|day| day.0),
        is_dry_run: dry.dry_run.unwrap_or(false),
    };
    let today = Utc::now().date_naive();
    let pool = &api.store().pool;
    let applied = plan_change::apply(pool, &wanted, today, &caller.name).await??;
    let status = match applied.outcome {
        Outcome::Applied => StatusCode::CREATED,
        Outcome::NotApplied | Outcome::Same => StatusCode::OK,
    };
    Ok((status, Json(applied.into())))
}

/// Takes the newest version of a plan back, if no document has used it; its number is not used again. A
/// plan's only version stays while an assignment has the plan.
#[utoipa::path(post, path = "/v1/plans/{plan}/versions/{version}/withdraw", tag = "plans",
    params(("plan" = String, Path, description = "Its name", example = "zkdpp-standard"),
        ("version" = i32, Path, description = "Its number", example = 2)),
    request_body = Because,
    responses((status = 200, description = "The versions as they are now", body = PlanVersions)))]
pub async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    Path((plan, version)): Path<(String, i32)>,
    Body(Because { because }): Body<Because>,
) -> Result<Json<PlanVersions>, Problem> {
    let found = known(&api, &plan).await?;
    if !found.iter().any(|(one, ..)| one.version == version) {
        return Err(Problem::not_found(format!("version {version} of plan {plan}")));
    }
    let pool = &api.store().pool;
    plans::withdraw(pool, &plan, version, &because.0, &caller.name)
        .await
        .map_err(Problem::of_rule)?;
    get(State(api), Path(plan)).await
}
