//! The outermost layers: every answer has the id of its request, every problem is rendered, nothing takes
//! longer than it may, and a handler that panics is a problem and not a broken connection.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::Instrument as _;

use super::Api;
use super::problem::{Kind, Problem};
use crate::store::change;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes the caller's id of the request or makes one, renders problems with it, and logs the answer. What
/// is logged on the way is within a span that says which request it was of, and whose.
pub async fn identified(request: Request, next: Next) -> Response {
    let id = given_id(&request).unwrap_or_else(made_id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Its level is that of the gravest line within, so that no filter leaves that line without it.
    let span = tracing::error_span!(
        "request",
        request_id = id,
        %method,
        path,
        caller = tracing::field::Empty
    );
    let mut response = next.run(request).instrument(span).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut rendered = problem.render(&id);
        // What other layers have said of it, such as how many requests are left.
        for (name, value) in response.headers() {
            if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                rendered.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response = rendered;
    }
    let status = response.status().as_u16();
    tracing::debug!(request_id = id, %method, path, status, "answered");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if path.starts_with("/v1/") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if path.starts_with("/docs") {
        // The pages of the documentation carry their scripts and nothing from elsewhere.
        const OWN: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
            frame-ancestors 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN));
    }
    response
}

/// An id that the caller gave: 1 to 100 letters, digits and hyphens.
fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = (1..=100).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_plain.then(|| id.to_owned())
}

fn made_id() -> String {
    let mut bytes = [0; 8];
    // Without random bytes the id names less, and nothing else depends on it.
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("req-{:016x}", u64::from_be_bytes(bytes))
}

/// How long a change waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);

/// Runs the rest in a task of its own, within the time that a request may take. The task goes on when the
/// client is gone or the time is over, so that no transaction is ended half-way; reads have the same limit
/// in the database.
pub async fn in_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    let asked = api.clone();
    let answer = async move { told_apart(&asked, next.run(request).await).await };
    let task = tokio::spawn(answer.in_current_span());
    match tokio::time::timeout(api.config().request_timeout, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => Problem::internal(&error).into_response(),
        Err(_) => {
            let detail = format!("after {} ms", api.config().request_timeout.as_millis());
            Problem::new(Kind::Timeout, detail).into_response()
        }
    }
}

/// Lets half as many changes be made at once as there are connections to the database, and the others wait. Changes of
/// one brand wait for each other with a connection each, and would leave none for those who only read.
pub async fn in_turn(State(api): State<Api>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let Ok(Ok(_place)) = tokio::time::timeout(TURN_MAX, api.inner.changes.acquire()).await else {
        let detail = "as many changes are being made as can be at once; this one was not begun";
        return Problem::new(Kind::Busy, detail).into_response();
    };
    change::noticed(next.run(request)).await
}

/// Tells a database that is away from one that was not asked, since each connection to it was in use: who waits
/// for a connection in vain is told the same of both.
async fn told_apart(api: &Api, response: Response) -> Response {
    if response.extensions().get().is_none_or(|problem: &Problem| problem.kind != Kind::Busy) {
        return response;
    }
    if let Some(why) = api.inner.health.database_ill().await {
        tracing::warn!(why, "a request of the API found no database");
        return Problem::no_database().into_response();
    }
    api.inner.metrics.api_busy();
    tracing::warn!(
        connections_max = api.config().connections_max,
        "a request of the API found no connection to the database, or no turn to make a change"
    );
    response
}

pub async fn no_such_path() -> Problem {
    Problem::not_found("such path")
}

pub async fn no_such_method(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not one of this path's methods"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_fails_is_logged_under_the_request_s_id() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_env_filter("error")
            .with_writer(move || writer.clone())
            .finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let fail = async || {
            tracing::Span::current().record("caller", "key 7 (books)");
            Problem::internal(&io::Error::other("the disk is full"))
        };
        let router = Router::new().route("/v1/x", get(fail)).layer(from_fn(identified));
        let request = Request::builder()
            .uri("/v1/x?secret=1")
            .header("x-request-id", "mine-1")
            .body(Body::empty())
            .unwrap();
        let answer = TowerToHyperService::new(router).call(request).await.unwrap();
        assert_eq!(answer.status(), 500);
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        for said in ["ERROR", "the disk is full", "mine-1", "GET", "/v1/x", "key 7 (books)"] {
            assert!(text.contains(said), "{said} is not in {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}
