//! `/livez`, `/readyz`, `/version`, the pages of problems, and who one is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::page::Path;
use super::problem::{Kind, Problem};
use crate::telemetry::health::verdict;

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "service",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "alive\n"
}

/// Whether the engine can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    #[schema(example = true)]
    ready: bool,
    /// Each component with `well` or `ill`.
    #[schema(example = json!({"database": "well", "bus": "well"}))]
    checks: BTreeMap<String, String>,
    /// What is ill, by component.
    reasons: BTreeMap<String, String>,
    /// What people should know of although it works.
    notices: BTreeMap<String, String>,
}

/// Whether the engine can do its work, and if not, why.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses((status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot", body = Readiness)))]
pub async fn readyz(State(api): State<Api>) -> Response {
    let health = &api.inner.health;
    let found = health.look().await;
    let named = |(name, why): (&'static str, String)| (name.to_owned(), why);
    let checks = found
        .iter()
        .map(|(one, why)| named((one.as_str(), verdict(why.as_ref()).to_owned())))
        .collect();
    let reasons: BTreeMap<_, _> =
        found.into_iter().filter_map(|(one, why)| Some(named((one.as_str(), why?)))).collect();
    let notices =
        health.notices().into_iter().map(|(one, what)| named((one.as_str(), what))).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, checks, reasons, notices })).into_response()
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    #[schema(example = "prooftally")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Which version of prooftally this is.
#[utoipa::path(get, path = "/version", tag = "service",
    responses((status = 200, description = "Its name and version", body = Version)))]
pub async fn version() -> Json<Version> {
    Json(Version { name: "prooftally", version: env!("CARGO_PKG_VERSION") })
}

/// A type of problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemType {
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-found")]
    type_: String,
    #[schema(example = 404)]
    status: u16,
    title: &'static str,
}

/// Every type of problem.
#[utoipa::path(get, path = "/problems", tag = "service",
    responses((status = 200, description = "All types", body = Vec<ProblemType>)))]
pub async fn problems() -> Json<Vec<ProblemType>> {
    let row = |kind: Kind| ProblemType {
        type_: format!("/problems/{}", kind.name()),
        status: kind.status().as_u16(),
        title: kind.title(),
    };
    Json(Kind::all().map(row).collect())
}

/// What a type of problem means, and what to do.
#[utoipa::path(get, path = "/problems/{type}", tag = "service",
    params(("type" = String, Path, description = "Its name", example = "not-found")),
    responses((status = 200, description = "Its page", body = String, content_type = "text/markdown")))]
pub async fn problem(Path(name): Path<String>) -> Result<Response, Problem> {
    let kind = Kind::from_name(&name).ok_or_else(|| Problem::not_found("such type of problem"))?;
    let kind_of_text = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")];
    Ok((kind_of_text, kind.page()).into_response())
}

/// Who calls.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    #[schema(example = "key 1 (finance)")]
    name: String,
    #[schema(example = json!(["finance"]))]
    roles: Vec<&'static str>,
    /// The brand that one belongs to and sees alone.
    #[schema(example = json!(null))]
    brand: Option<String>,
}

/// Whom the key or token belongs to.
#[utoipa::path(get, path = "/v1/me", tag = "access",
    responses((status = 200, description = "Name, roles and brand", body = Me)))]
pub async fn me(caller: Caller) -> Json<Me> {
    let roles = caller.roles.iter().map(|role| role.as_str()).collect();
    let brand = caller.brand.map(|(_, id)| id);
    Json(Me { name: caller.name, roles, brand })
}
