//! Problems (RFC 9457): what the API says when it does not do what was asked. The types are a closed list; each has a page
//! in `docs/problems/`, which is served where its type points to. No problem ever carries SQL, a path of
//! the machine or a stack: what the caller cannot mend is logged, under the request's id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use billing::document::credit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store;
use crate::store::issue::Refused;

/// A type of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InvalidQuery,
    InvalidHeader,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Refused,
    Blocked,
    IdempotencyKeyInUse,
    IdempotencyAnswerNotKept,
    IdempotencyOutcomeUnknown,
    ChangedMeanwhile,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidBody,
    IdempotencyKeyReused,
    IfMatchRequired,
    TooManyRequests,
    Internal,
    Unavailable,
    Timeout,
    Busy,
}

/// Every type with its status, its name in URLs, and its page.
const KINDS: &[(Kind, StatusCode, &str, &str)] = &[
    (
        Kind::InvalidQuery,
        StatusCode::BAD_REQUEST,
        "invalid-query",
        include_str!("../../docs/problems/invalid-query.md"),
    ),
    (
        Kind::InvalidHeader,
        StatusCode::BAD_REQUEST,
        "invalid-header",
        include_str!("../../docs/problems/invalid-header.md"),
    ),
    (
        Kind::Unauthenticated,
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        include_str!("../../docs/problems/unauthenticated.md"),
    ),
    (
        Kind::Forbidden,
        StatusCode::FORBIDDEN,
        "forbidden",
        include_str!("../../docs/problems/forbidden.md"),
    ),
    (
        Kind::NotFound,
        StatusCode::NOT_FOUND,
        "not-found",
        include_str!("../../docs/problems/not-found.md"),
    ),
    (
        Kind::MethodNotAllowed,
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        include_str!("../../docs/problems/method-not-allowed.md"),
    ),
    (
        Kind::Refused,
        StatusCode::CONFLICT,
        "refused",
        include_str!("../../docs/problems/refused.md"),
    ),
    (
        Kind::Blocked,
        StatusCode::CONFLICT,
        "blocked",
        include_str!("../../docs/problems/blocked.md"),
    ),
    (
        Kind::IdempotencyKeyInUse,
        StatusCode::CONFLICT,
        "idempotency-key-in-use",
        include_str!("../../docs/problems/idempotency-key-in-use.md"),
    ),
    (
        Kind::IdempotencyAnswerNotKept,
        StatusCode::CONFLICT,
        "idempotency-answer-not-kept",
        include_str!("../../docs/problems/idempotency-answer-not-kept.md"),
    ),
    (
        Kind::IdempotencyOutcomeUnknown,
        StatusCode::CONFLICT,
        "idempotency-outcome-unknown",
        include_str!("../../docs/problems/idempotency-outcome-unknown.md"),
    ),
    (
        Kind::ChangedMeanwhile,
        StatusCode::PRECONDITION_FAILED,
        "changed-meanwhile",
        include_str!("../../docs/problems/changed-meanwhile.md"),
    ),
    (
        Kind::BodyTooLarge,
        StatusCode::PAYLOAD_TOO_LARGE,
        "body-too-large",
        include_str!("../../docs/problems/body-too-large.md"),
    ),
    (
        Kind::UnsupportedMediaType,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        include_str!("../../docs/problems/unsupported-media-type.md"),
    ),
    (
        Kind::InvalidBody,
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-body",
        include_str!("../../docs/problems/invalid-body.md"),
    ),
    (
        Kind::IdempotencyKeyReused,
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        include_str!("../../docs/problems/idempotency-key-reused.md"),
    ),
    (
        Kind::IfMatchRequired,
        StatusCode::PRECONDITION_REQUIRED,
        "if-match-required",
        include_str!("../../docs/problems/if-match-required.md"),
    ),
    (
        Kind::TooManyRequests,
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        include_str!("../../docs/problems/too-many-requests.md"),
    ),
    (
        Kind::Internal,
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        include_str!("../../docs/problems/internal.md"),
    ),
    (
        Kind::Unavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        include_str!("../../docs/problems/unavailable.md"),
    ),
    (
        Kind::Timeout,
        StatusCode::GATEWAY_TIMEOUT,
        "timeout",
        include_str!("../../docs/problems/timeout.md"),
    ),
    (
        Kind::Busy,
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        include_str!("../../docs/problems/busy.md"),
    ),
];

impl Kind {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, ..)| *kind)
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, _, known, _)| *known == name).map(|(kind, ..)| *kind)
    }

    fn row(self) -> &'static (Kind, StatusCode, &'static str, &'static str) {
        KINDS.iter().find(|(kind, ..)| *kind == self).expect("each kind has a row, see the test")
    }

    pub fn status(self) -> StatusCode {
        self.row().1
    }

    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// The page that explains it, in Markdown.
    pub fn page(self) -> &'static str {
        self.row().3
    }

    /// The first line of its page.
    pub fn title(self) -> &'static str {
        self.page().lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

/// A problem with one occurrence of it.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    detail: String,
    errors: Vec<Fault>,
    /// Of a retry, in seconds.
    retry_after: Option<u64>,
    /// Whether what was asked for was written down and then refused, with nothing done.
    is_undone: bool,
}

/// One of several things that are wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ProblemFault)]
pub struct Fault {
    /// A stable name.
    pub code: String,
    pub detail: String,
}

/// The body of every answer that is not a success, as `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({"type": "/problems/not-found", "title": "There is no such thing",
    "status": 404, "detail": "there is no document INV-2026-000007", "instance": "req-4f1d6a2b9c3e5078"}))]
pub struct ProblemBody {
    /// Where the type's page is.
    #[serde(rename = "type")]
    pub type_: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// The id of the request, which is in the header `X-Request-Id` too.
    pub instance: String,
    /// The single faults, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = match kind {
            Kind::Unavailable => Some(5),
            Kind::IdempotencyKeyInUse | Kind::Busy => Some(1),
            _ => None,
        };
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after, is_undone: false }
    }

    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// What was written down was refused by the engine, which has done nothing of it.
    pub fn undone(mut self) -> Self {
        self.is_undone = true;
        self
    }

    pub fn is_undone(&self) -> bool {
        self.is_undone
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What is not there, or belongs to another brand.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what}"))
    }

    pub fn no_database() -> Self {
        Self::new(Kind::Unavailable, "the database cannot be reached")
    }

    pub fn query(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidQuery, detail)
    }

    pub fn body(detail: impl Into<String>) -> Self {
        Self::new(Kind::InvalidBody, detail)
    }

    pub fn refused(detail: impl std::fmt::Display) -> Self {
        Self::new(Kind::Refused, detail.to_string())
    }

    /// What a rule of the database refuses, in its words; whatever else went wrong as such.
    pub fn of_rule(error: store::Error) -> Self {
        match error.rule() {
            Some(why) => Self::refused(why),
            None => error.into(),
        }
    }

    /// Logs what the caller cannot mend, and says nothing of it.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        tracing::error!(error = text, "a request of the API failed");
        Self::new(Kind::Internal, "it is logged under the id of this request")
    }

    /// The answer, with the id of the request.
    pub fn render(&self, instance: &str) -> Response {
        let body = ProblemBody {
            type_: format!("/problems/{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            instance: instance.to_owned(),
            errors: self.errors.clone(),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.kind.status(), text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // The outermost layer renders it, which knows the request's id.
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            // Nobody was asked: the layer that answers finds out whether the database could have been.
            store::Error::Unavailable(sqlx::Error::PoolTimedOut) => {
                Self::new(Kind::Busy, "each connection to the database was in use for too long")
            }
            store::Error::Unavailable(_) => {
                tracing::warn!(%error, "a request of the API found no database");
                Self::no_database()
            }
            store::Error::Overtaken => Self::new(Kind::IdempotencyKeyInUse, error.to_string()),
            store::Error::NotMigrated(_) => {
                tracing::warn!(%error, "a request of the API found no schema");
                Self::new(Kind::Unavailable, "the database is not ready")
            }
            error if error.is_of_value() => {
                tracing::info!(%error, "a request of the API had a value that cannot be stored");
                Self::query("a value that was given is out of range, or a text has a NUL")
            }
            error => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        store::Error::from(error).into()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Changed { .. } | Refused::OtherCases(_) => {
                Self::new(Kind::ChangedMeanwhile, refused.to_string())
            }
            Refused::Blocked(blocked) => {
                let fault = |finding: &billing::completeness::Finding| Fault {
                    code: finding.reason.as_str().to_owned(),
                    detail: finding.message.clone(),
                };
                let errors = blocked.0.iter().map(fault).collect();
                Self::new(Kind::Blocked, "the document cannot be issued yet").with_errors(errors)
            }
            Refused::Amount(text) => Self::body(text),
            Refused::Credit(error) if matches!(*error, credit::Error::LineTwice { .. }) => {
                Self::body(error.to_string())
            }
            refused => Self::refused(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_page_that_says_its_status_and_its_name() {
        for kind in Kind::all() {
            let (page, status) = (kind.page(), kind.status().as_u16());
            let says = format!("Status {status}, type `/problems/{}`.", kind.name());
            assert!(page.starts_with("# ") && page.contains(&says), "{kind:?}: {page}");
            assert!(page.contains("**What to do.**"), "{kind:?}");
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn every_kind_has_one_row() {
        let last = Kind::Busy as usize;
        assert_eq!(KINDS.len(), last + 1);
        for (at, (kind, ..)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }
}
