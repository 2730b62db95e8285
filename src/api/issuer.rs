//! The issuer: who issues documents, in versions by date. They are configured and not changed here.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::store::due::issuer_at;

/// Who issues documents from a day on.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuerVersion {
    /// The first day, in its own zone.
    #[schema(example = "2026-01-01")]
    from: NaiveDate,
    /// Whose calendar gives issue dates.
    #[schema(example = "Europe/Berlin")]
    zone: String,
    /// What documents say of it, by name.
    #[schema(example = json!({"legal_name": "ZK-DPP Network GmbH", "country": "DE"}))]
    fields: BTreeMap<String, String>,
    /// True of the one whose name is on a document that is issued now.
    #[schema(example = true)]
    in_force: bool,
}

/// The issuer in all its versions, by day; none where nothing is configured.
#[derive(Debug, Serialize, ToSchema)]
pub struct Issuer {
    data: Vec<IssuerVersion>,
}

/// Who issues documents, in versions by date. They stand in the configuration, under `[[issuer]]`.
#[utoipa::path(get, path = "/v1/issuer", tag = "service",
    responses((status = 200, description = "All versions, by day", body = Issuer)))]
pub async fn get(State(api): State<Api>) -> Json<Issuer> {
    let issuers = &api.config().terms.issuers;
    let now = issuer_at(issuers, Utc::now()).map(|one| one.from);
    let version = |one: &crate::store::due::Issuer| IssuerVersion {
        from: one.from,
        zone: one.zone.name().to_owned(),
        fields: one
            .party
            .values()
            .map(|(field, text)| (field.as_str().to_owned(), text.to_owned()))
            .collect(),
        in_force: now == Some(one.from),
    };
    let mut data: Vec<IssuerVersion> = issuers.iter().map(version).collect();
    data.sort_by_key(|one| one.from);
    Json(Issuer { data })
}
