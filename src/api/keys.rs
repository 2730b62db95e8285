//! API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use billing::ids::BrandId;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::caller::{Caller, no_brand};
use super::once::Secret;
use super::page::{At, Body, Listed, Page, Path};
use super::problem::Problem;
use crate::store::{api_keys, brands, forms};

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKey {
    key_no: i64,
    /// The part of the key that names it.
    #[schema(example = "3f9a1c07d2be")]
    prefix: String,
    #[schema(example = "finance team")]
    name: String,
    #[schema(example = "finance")]
    role: String,
    brand: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    made_at: DateTime<Utc>,
    made_by: String,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_by: Option<String>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        Self {
            key_no: key.key_no,
            prefix: key.prefix,
            name: key.name,
            role: key.role,
            brand: key.brand_id,
            expires_at: key.expires_at,
            made_at: key.made_at,
            made_by: key.made_by,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            revoked_by: key.revoked_by,
        }
    }
}

/// The keys, revoked ones too, by number.
#[utoipa::path(get, path = "/v1/keys", tag = "access", params(At),
    responses((status = 200, description = "A page", body = Page<ApiKey>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
) -> Result<Listed<ApiKey>, Problem> {
    let after = at.after()?.unwrap_or(0);
    let mut snapshot = api.read(&caller).await?;
    let rows = api_keys::list(&mut *snapshot, after, at.rows()).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.key_no.to_string(), ApiKey::from))
}

/// A key that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// For people; 1 to 100 characters on one line.
    #[schema(example = "finance team", min_length = 1, max_length = 100)]
    name: String,
    /// `finance_read`, `finance`, `operator` or `admin`.
    #[schema(example = "finance")]
    role: String,
    /// The brand that it sees alone; only with `finance_read`.
    brand: Option<String>,
    expires_at: Option<DateTime<Utc>>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeApiKey {
    key_no: i64,
    /// The key itself. It is shown this once and cannot be read again.
    key: String,
}

/// Makes a key, and shows it once.
#[utoipa::path(post, path = "/v1/keys", tag = "access", request_body = NewApiKey,
    responses((status = 201, description = "The key", body = MadeApiKey)))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewApiKey>,
) -> Result<Response, Problem> {
    let role = api_keys::Role::from_name(&new.role)
        .ok_or_else(|| Problem::body("role is finance_read, finance, operator or admin"))?;
    let name = forms::key_name(&new.name).map_err(|what| Problem::body(format!("name: {what}")))?;
    if new.expires_at.is_some_and(|at| at <= Utc::now()) {
        return Err(Problem::body("expires_at lies in the past"));
    }
    // RFC 3339 has years of four digits.
    if new.expires_at.is_some_and(|at| at.year() > 9_999) {
        return Err(Problem::body("expires_at lies after the year 9999"));
    }
    if new.brand.is_some() && role != api_keys::Role::FinanceRead {
        return Err(Problem::body("a key of one brand reads: its role is finance_read"));
    }
    let pool = &api.store().pool;
    let brand_no = match &new.brand {
        None => None,
        Some(brand) => {
            let id = BrandId::new(brand).ok_or_else(|| no_brand(brand))?;
            Some(brands::find(pool, &id).await?.ok_or_else(|| no_brand(brand))?.no)
        }
    };
    let wanted = api_keys::New { name, role, brand_no, expires_at: new.expires_at };
    let made = api_keys::create(pool, &wanted, &caller.name).await?;
    let answer = Json(MadeApiKey { key_no: made.key_no, key: made.key });
    let mut response = (StatusCode::CREATED, answer).into_response();
    response.extensions_mut().insert(Secret);
    Ok(response)
}

/// Revokes a key for ever: here at once, for other processes that serve this API within a second.
#[utoipa::path(post, path = "/v1/keys/{key_no}/revoke", tag = "access",
    params(("key_no" = i64, Path, example = 1)),
    responses((status = 204, description = "It is revoked")))]
pub async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(key_no): Path<i64>,
) -> Result<StatusCode, Problem> {
    let revoked = api_keys::revoke(&api.store().pool, key_no, &caller.name).await;
    // Whatever came of it: it may be revoked although its answer was lost, or by somebody else before.
    api.inner.holders.forget();
    if revoked? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("key {key_no} that holds")))
}
