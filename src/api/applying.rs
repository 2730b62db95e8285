//! Applying a version of a plan, or trying what it would change; and withdrawing it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::caller::Caller;
use super::form::{Because, Day};
use super::page::{Body, Path, Query};
use super::plans::{PlanVersions, get, known};
use super::problem::{Fault, Problem};
use crate::store::plan_change::{self, Applied, Outcome, Refused, Wanted};
use crate::store::plan_file::changes::Change;
use crate::store::plans;

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
    let found = known(&api, &caller, &plan).await?;
    if !found.iter().any(|one| one.version.version == version) {
        return Err(Problem::not_found(format!("version {version} of plan {plan}")));
    }
    let pool = &api.store().pool;
    plans::withdraw(pool, &plan, version, &because.0, &caller.name)
        .await
        .map_err(Problem::of_rule)?;
    get(State(api), caller, Path(plan)).await
}
