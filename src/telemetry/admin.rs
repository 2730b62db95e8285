//! The admin listener: `/livez`, `/readyz` and `/metrics`. Keep it on loopback or a private network.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::health::{Component, Health, verdict};
use super::metrics::Metrics;

/// What the listener shows.
#[derive(Clone)]
pub struct Admin {
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
}

/// Serves until `stop` completes.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = axum::Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let found = admin.health.look().await;
    let is_ready = found.values().all(Option::is_none);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let named = |component: &Component| component.as_str().to_owned();
    let checks: Map<String, Value> =
        found.iter().map(|(one, why)| (named(one), verdict(why.as_ref()).into())).collect();
    let reasons: Map<String, Value> =
        found.iter().filter_map(|(one, why)| Some((named(one), why.clone()?.into()))).collect();
    let notices: Map<String, Value> = admin
        .health
        .notices()
        .into_iter()
        .map(|(notice, what)| (notice.as_str().to_owned(), what.into()))
        .collect();
    let body =
        json!({ "ready": is_ready, "checks": checks, "reasons": reasons, "notices": notices });
    (status, Json(body)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    /// The text format that `prometheus-client` writes.
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], admin.metrics.render()).into_response()
}
