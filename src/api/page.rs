//! What requests carry and lists answer: keyset pages, query parameters, path parameters and bodies, whose
//! faults are problems.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::problem::{Kind, Problem};

/// The one character that no text of the database can have, as addresses carry it.
const NUL: &str = "%00";

/// Query parameters. Unknown ones were refused before.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains(NUL)) {
            return Err(Problem::query("no text has a NUL"));
        }
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| Problem::query(error.body_text()))
    }
}

/// Path parameters. What cannot be read names nothing.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.path().contains(NUL) {
            return Err(Problem::not_found("such path"));
        }
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found("such path"))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = content_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| kind.trim() == "application/json")
        });
        if !is_json {
            let detail = "send Content-Type: application/json";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Problem::new(Kind::BodyTooLarge, "the body is longer than it may be"))?;
        if has_nul(&bytes) {
            return Err(Problem::body("no text may have the character NUL (\\u0000)"));
        }
        // A list would be read as the fields in their order, which nobody has promised.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::body("the body is an object, not a list"));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Problem::body(error.to_string()))
    }
}

/// True if a text of the JSON has the one character that PostgreSQL does not keep.
fn has_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escaped = &rest[at + 1..];
        if escaped.starts_with(b"u0000") {
            return true;
        }
        rest = escaped.get(1..).unwrap_or_default();
    }
    false
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// How many at most; at most `api.page_rows_max`, which is what is taken without it.
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// Only what comes after this one, as `next` of the page before gives it.
    #[param(example = "100")]
    starting_after: Option<String>,
}

/// The page that is asked for.
pub struct At {
    pub limit: i64,
    after: Option<String>,
    uri: Uri,
}

impl IntoParams for At {
    fn into_params(
        parameter_in: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
    ) -> Vec<utoipa::openapi::path::Parameter> {
        PageQuery::into_params(parameter_in)
    }
}

impl FromRequestParts<Api> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Query(PageQuery { limit, starting_after }) =
            Query::from_request_parts(parts, api).await?;
        let most = api.config().page_rows_max;
        if limit.is_some_and(|limit| limit == 0 || limit > most) {
            return Err(Problem::query(format!("limit is from 1 to {most}")));
        }
        let limit = i64::from(limit.unwrap_or(most));
        Ok(Self { limit, after: starting_after, uri: parts.uri.clone() })
    }
}

impl At {
    /// What the page begins after, if it is not the first.
    ///
    /// # Errors
    /// If it cannot be what a page ended with.
    pub fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let read = |text: &String| {
            text.parse().map_err(|_| Problem::query("starting_after is not what a page ended with"))
        };
        self.after.as_ref().map(read).transpose()
    }

    /// One row more than wanted, to see whether there is more.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The page of `rows`, of which there may be one too many; `key` is what the next one begins after.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        key: impl Fn(&R) -> String,
        into: impl Fn(R) -> T,
    ) -> Listed<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(key);
        let link = next.as_ref().map(|next| self.link(next));
        let page = Page { data: rows.into_iter().map(into).collect(), has_more, next };
        Listed { page, link }
    }

    /// The address of the next page.
    fn link(&self, next: &str) -> String {
        let kept = self.uri.query().unwrap_or_default().split('&');
        let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("starting_after="));
        let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
        pairs.push(format!("starting_after={next}"));
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), pairs.join("&"))
    }
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    #[schema(example = false)]
    pub has_more: bool,
    /// What to send as `starting_after` for the next page; null on the last one.
    #[schema(example = json!(null))]
    pub next: Option<String>,
}

/// A page with its link to the next one.
pub struct Listed<T> {
    page: Page<T>,
    link: Option<String>,
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.page).into_response();
        if let Some(link) = self.link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// A JSON body that may be left out or null, and says nothing then.
pub struct BodyOrNone<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for BodyOrNone<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            let bytes = Bytes::from_request(request, state).await;
            return match bytes {
                Ok(bytes) if bytes.is_empty() => Ok(Self(T::default())),
                _ => {
                    let detail = "send Content-Type: application/json";
                    Err(Problem::new(Kind::UnsupportedMediaType, detail))
                }
            };
        }
        let Body(value): Body<Option<T>> = Body::from_request(request, state).await?;
        Ok(Self(value.unwrap_or_default()))
    }
}
