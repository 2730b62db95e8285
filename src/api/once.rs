//! Idempotency-Key: a POST that is sent again is answered as the first time, and not done again.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use billing::hash::Hash;
use tokio::runtime::Handle;

use super::Api;
use super::caller::Caller;
use super::problem::{Kind, Problem};
use crate::failpoint;
use crate::store::change::Attempt;
use crate::store::idempotency::{self, Answer, Known};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longer answers are given and not kept; nearly all of POSTs are short.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What belongs to an answer and is kept with it. All others are of the request or of its way.
const HEADERS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::LINK];

/// An answer that must not be kept, since it holds a secret.
#[derive(Clone, Copy, Debug)]
pub struct Secret;

/// Does a POST once, if it carries a key.
pub async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    if request.headers().get_all(KEY).iter().nth(1).is_some() {
        let detail = "there is more than one Idempotency-Key";
        return Problem::new(Kind::InvalidHeader, detail).into_response();
    }
    let (Some(value), Some(caller), &Method::POST) =
        (request.headers().get(KEY).cloned(), caller, request.method())
    else {
        return next.run(request).await;
    };
    match answer(&api, &caller, &value, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    api: &Api,
    caller: &Caller,
    value: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key_of(value)?;
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, api.config().body_bytes_max)
        .await
        .map_err(|_| Problem::new(Kind::BodyTooLarge, "the body is longer than it may be"))?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    // What a request is sent on condition of is a part of what it asks for.
    let if_match = parts.headers.get(header::IF_MATCH).map_or(&b""[..], HeaderValue::as_bytes);
    let method = parts.method.as_str().as_bytes();
    let hash = Hash::of(&[method, b" ", target.as_bytes(), b"\n", if_match, b"\n", &bytes]);
    let pool = &api.store().pool;
    let attempt = match idempotency::begin(pool, &caller.id, key, hash).await? {
        Known::First(attempt) => attempt,
        Known::Running => {
            let detail = "the first request under this key is not answered yet";
            return Err(Problem::new(Kind::IdempotencyKeyInUse, detail));
        }
        Known::Done => {
            let detail = "it was done, and its answer was lost: what it made is in /v1/activity. If it was \
                a run, look whether all of it was done, and send the rest under another key";
            return Err(Problem::new(Kind::IdempotencyAnswerNotKept, detail));
        }
        Known::Unknown => {
            let detail = "the first request under this key never answered, and may have been done: \
                look whether it was, and send it under another key if it was not";
            return Err(Problem::new(Kind::IdempotencyOutcomeUnknown, detail));
        }
        Known::Other => {
            let detail = "another request was sent under this key";
            return Err(Problem::new(Kind::IdempotencyKeyReused, detail));
        }
        Known::Answered { status, answer: Some(answer) } => return Ok(again(status, answer)),
        Known::Answered { answer: None, .. } => {
            let detail = "it was done; its answer held a secret, or was too long to be kept, and was given once";
            return Err(Problem::new(Kind::IdempotencyAnswerNotKept, detail));
        }
    };
    let request = Request::from_parts(parts, Body::from(bytes));
    let unanswered = Unanswered { api, attempt: Some(&attempt) };
    let answer = async {
        failpoint::at(|| format!("answer {key}"));
        next.run(request).await
    };
    let response = attempt.clone().of(answer).await;
    unanswered.answered();
    keep(api, &attempt, response).await
}

/// A try whose handler has not answered yet. If it never does, since it panicked, its key is free at once, unless
/// something was done.
struct Unanswered<'a> {
    api: &'a Api,
    attempt: Option<&'a Attempt>,
}

impl Unanswered<'_> {
    fn answered(mut self) {
        self.attempt = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.cloned() else { return };
        // Without a runtime the process ends, and the key is free after a while.
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = self.api.noting().clone();
        runtime.spawn(async move {
            if let Err(error) = idempotency::end(&pool, &attempt, false).await {
                tracing::warn!(%error, "the Idempotency-Key of a request that failed is not free yet");
            }
        });
    }
}

/// 1 to 255 visible characters.
fn key_of(value: &HeaderValue) -> Result<&str, Problem> {
    let key = value.to_str().ok().map(|key| key.trim_matches('"'));
    key.filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
        let detail = "Idempotency-Key has 1 to 255 visible ASCII characters";
        Problem::new(Kind::InvalidHeader, detail)
    })
}

/// Keeps what was done. What was refused or has failed may be sent again, unless its changes say that they
/// were made: the reply to a commit can be lost, and what is read after one can fail.
async fn keep(api: &Api, attempt: &Attempt, response: Response) -> Result<Response, Problem> {
    let pool = api.noting();
    if !response.status().is_success() {
        let is_undone = response.extensions().get().is_some_and(Problem::is_undone);
        idempotency::end(pool, attempt, is_undone).await?;
        return Ok(response);
    }
    let status = response.status().as_u16();
    let is_secret = response.extensions().get::<Secret>().is_some();
    let (parts, body) = response.into_parts();
    // It is in memory already: what is streamed are answers to GET.
    let bytes = to_bytes(body, usize::MAX).await.map_err(|error| Problem::internal(&error))?;
    let is_kept = !is_secret && bytes.len() <= ANSWER_BYTES_MAX;
    let kept = is_kept.then(|| Answer { headers: kept(&parts.headers), body: bytes.to_vec() });
    // It is done, whether or not that can be noted now.
    if let Err(error) = idempotency::keep(pool, attempt, status, kept.as_ref()).await {
        tracing::warn!(%error, "an answer was not kept under its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
    HEADERS.iter().filter_map(|name| Some((name.to_string(), text(name)?))).collect()
}

fn again(status: u16, answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    // Answers that were kept without headers are JSON.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for name in HEADERS {
        let value = answer.headers.get(name.as_str());
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
