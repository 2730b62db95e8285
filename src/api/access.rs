//! Who may do what: one row for each operation. What has no row is refused.

use std::collections::HashMap;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr};

use super::Api;
use super::caller::{self, Caller};
use super::description::operations_of;
use super::listener::Peer;
use super::problem::{Kind, Problem};
use crate::store::api_keys::Role;

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// Any role.
    Read,
    /// To see what is billed.
    Books,
    /// To issue documents and take payments.
    Bill,
    /// To mend what is counted.
    Operate,
    /// All the rest.
    Administer,
}

impl Access {
    pub fn roles(self) -> &'static [Role] {
        match self {
            Access::Public => &[],
            Access::Read => &Role::ALL,
            Access::Books => &[Role::FinanceRead, Role::Finance, Role::Admin],
            Access::Bill => &[Role::Finance, Role::Admin],
            Access::Operate => &[Role::Operator, Role::Admin],
            Access::Administer => &[Role::Admin],
        }
    }
}

/// Whether a caller who belongs to a brand may: then only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    Own,
    None,
}

/// Method, path, who may, and whether callers of one brand may.
pub const ACCESS: &[(&str, &str, Access, Brand)] = &[
    ("GET", "/livez", Access::Public, Brand::None),
    ("GET", "/readyz", Access::Public, Brand::None),
    ("GET", "/version", Access::Public, Brand::None),
    ("GET", "/problems", Access::Public, Brand::None),
    ("GET", "/problems/{type}", Access::Public, Brand::None),
    ("GET", "/v1/me", Access::Read, Brand::Own),
    ("GET", "/v1/brands", Access::Read, Brand::Own),
    ("GET", "/v1/brands/{brand}", Access::Read, Brand::Own),
    ("GET", "/v1/brands/{brand}/profile", Access::Books, Brand::Own),
    ("GET", "/v1/brands/{brand}/taxes", Access::Books, Brand::Own),
    ("GET", "/v1/usage", Access::Read, Brand::Own),
    ("GET", "/v1/assignments", Access::Books, Brand::Own),
    ("GET", "/v1/unassigned", Access::Books, Brand::Own),
    ("GET", "/v1/invoices", Access::Books, Brand::Own),
    ("GET", "/v1/invoices/{number}", Access::Books, Brand::Own),
    ("GET", "/v1/invoices/{number}/document", Access::Books, Brand::Own),
    ("GET", "/v1/invoices/{number}/receipts", Access::Books, Brand::Own),
    ("GET", "/v1/invoices/{number}/events", Access::Books, Brand::None),
    ("GET", "/v1/invoices/{number}/verify", Access::Books, Brand::None),
    ("GET", "/v1/credit_notes", Access::Books, Brand::Own),
    ("GET", "/v1/receipts/{receipt_id}", Access::Read, Brand::Own),
    ("GET", "/v1/brands/{brand}/receipts/{receipt_id}/proof", Access::Books, Brand::Own),
    ("GET", "/v1/rejections", Access::Read, Brand::None),
    ("GET", "/v1/conflicts", Access::Read, Brand::None),
    ("GET", "/v1/gaps", Access::Read, Brand::None),
    ("GET", "/v1/reports/unbilled", Access::Books, Brand::None),
    ("GET", "/v1/reports/invoice_register", Access::Books, Brand::None),
    ("GET", "/v1/reports/ageing", Access::Books, Brand::None),
    ("GET", "/v1/reports/tax_summary", Access::Books, Brand::None),
    ("GET", "/v1/credit_notes/{number}", Access::Books, Brand::Own),
    ("GET", "/v1/invoices/{number}/lines/{line}/receipts", Access::Books, Brand::Own),
    ("GET", "/v1/periods", Access::Books, Brand::None),
    ("GET", "/v1/brands/{brand}/periods/{period}", Access::Books, Brand::None),
    ("GET", "/v1/brands/{brand}/preview", Access::Books, Brand::None),
    ("GET", "/v1/brands/{brand}/drafts/{period}", Access::Books, Brand::None),
    ("POST", "/v1/brands/{brand}/drafts/{period}/refresh", Access::Bill, Brand::None),
    ("POST", "/v1/brands/{brand}/drafts/{period}/finalize", Access::Bill, Brand::None),
    ("POST", "/v1/brands/{brand}/drafts/{period}/override", Access::Administer, Brand::None),
    ("POST", "/v1/brands/{brand}/drafts/{period}/hold", Access::Bill, Brand::None),
    ("POST", "/v1/brands/{brand}/hold", Access::Bill, Brand::None),
    ("GET", "/v1/holds", Access::Books, Brand::None),
    ("POST", "/v1/holds/{hold_no}/release", Access::Bill, Brand::None),
    ("GET", "/v1/invoices/due", Access::Books, Brand::None),
    ("POST", "/v1/invoices/finalize", Access::Bill, Brand::None),
    ("POST", "/v1/invoices/{number}/void", Access::Bill, Brand::None),
    ("POST", "/v1/invoices/{number}/cancel", Access::Bill, Brand::None),
    ("POST", "/v1/invoices/{number}/sent", Access::Bill, Brand::None),
    ("POST", "/v1/invoices/{number}/write_off", Access::Bill, Brand::None),
    ("POST", "/v1/invoices/{number}/credit_notes", Access::Bill, Brand::None),
    ("GET", "/v1/invoices/{number}/payments", Access::Books, Brand::None),
    ("POST", "/v1/invoices/{number}/payments", Access::Bill, Brand::None),
    ("GET", "/v1/keys", Access::Administer, Brand::None),
    ("POST", "/v1/keys", Access::Administer, Brand::None),
    ("POST", "/v1/keys/{key_no}/revoke", Access::Administer, Brand::None),
    ("GET", "/v1/activity", Access::Administer, Brand::None),
    ("PUT", "/v1/brands/{brand}/profile", Access::Bill, Brand::None),
    ("PUT", "/v1/brands/{brand}/taxes/{from}", Access::Bill, Brand::None),
    ("GET", "/v1/brands/{brand}/zone", Access::Read, Brand::Own),
    ("PUT", "/v1/brands/{brand}/zone", Access::Bill, Brand::None),
    ("GET", "/v1/brands/{brand}/name", Access::Read, Brand::Own),
    ("PUT", "/v1/brands/{brand}/name", Access::Bill, Brand::None),
    ("POST", "/v1/brands/{brand}/park", Access::Operate, Brand::None),
    ("POST", "/v1/brands/{brand}/unpark", Access::Operate, Brand::None),
    ("POST", "/v1/assignments", Access::Bill, Brand::None),
    ("POST", "/v1/assignments/{assignment_no}/end", Access::Bill, Brand::None),
    ("POST", "/v1/assignments/{assignment_no}/withdraw", Access::Bill, Brand::None),
    ("GET", "/v1/waivers", Access::Books, Brand::Own),
    ("POST", "/v1/waivers", Access::Bill, Brand::None),
    ("POST", "/v1/waivers/{waiver_no}/withdraw", Access::Bill, Brand::None),
    ("GET", "/v1/plans", Access::Books, Brand::None),
    ("GET", "/v1/plans/{plan}", Access::Books, Brand::None),
    ("GET", "/v1/plans/{plan}/versions/{version}", Access::Books, Brand::None),
    ("POST", "/v1/plans/{plan}/versions", Access::Bill, Brand::None),
    ("POST", "/v1/plans/{plan}/versions/{version}/withdraw", Access::Bill, Brand::None),
    ("POST", "/v1/plans/test", Access::Bill, Brand::None),
    ("GET", "/v1/unpriced", Access::Books, Brand::None),
    ("GET", "/v1/issuer", Access::Books, Brand::None),
    ("GET", "/v1/requests/{request_no}", Access::Read, Brand::None),
    ("POST", "/v1/rejections/retry", Access::Operate, Brand::None),
    ("POST", "/v1/rejections/dismiss", Access::Operate, Brand::None),
    ("POST", "/v1/rejections/{rejection_no}/retry", Access::Operate, Brand::None),
    ("POST", "/v1/rejections/{rejection_no}/dismiss", Access::Operate, Brand::None),
    ("POST", "/v1/conflicts/resolve", Access::Operate, Brand::None),
    ("POST", "/v1/conflicts/dismiss", Access::Operate, Brand::None),
    ("POST", "/v1/conflicts/{conflict_no}/resolve", Access::Operate, Brand::None),
    ("POST", "/v1/conflicts/{conflict_no}/dismiss", Access::Operate, Brand::None),
    ("POST", "/v1/gaps/accept", Access::Operate, Brand::None),
    ("POST", "/v1/gaps/{gap_no}/accept", Access::Operate, Brand::None),
    ("POST", "/v1/brands/{brand}/receipts/void", Access::Administer, Brand::None),
    ("POST", "/v1/brands/{brand}/receipts/{receipt_id}/void", Access::Administer, Brand::None),
];

/// What a request is checked against.
#[derive(Clone, Debug)]
pub struct Operation {
    access: Access,
    brand: Brand,
    parameters: Vec<String>,
}

/// The row of an operation.
pub fn row(method: &str, path: &str) -> Option<(Access, Brand)> {
    let found = ACCESS.iter().find(|(of, at, ..)| *of == method && *at == path);
    found.map(|(_, _, access, brand)| (*access, *brand))
}

/// The operations of the document that have a row, by method and path.
pub fn operations(document: &OpenApi) -> HashMap<(String, String), Operation> {
    let mut found = HashMap::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations_of(item) {
            let Some((access, brand)) = row(method, path) else { continue };
            let parameters = operation.parameters.iter().flatten();
            let parameters = parameters
                .filter_map(|one| match one {
                    RefOr::T(one) => Some(one),
                    RefOr::Ref(_) => None,
                })
                .filter(|one| one.parameter_in == ParameterIn::Query)
                .map(|one| one.name.clone())
                .collect();
            let operation = Operation { access, brand, parameters };
            found.insert((method.to_owned(), path.clone()), operation);
        }
    }
    found
}

/// Lets a request pass that its caller may make, and that asks for nothing unknown.
pub async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    // The database keeps no text with a zero byte, so nothing is called so.
    if request.uri().path().contains("%00") {
        return Problem::not_found("such path").into_response();
    }
    let method = match *request.method() {
        Method::HEAD => Method::GET.to_string(),
        ref method => method.to_string(),
    };
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let operation = path.and_then(|path| api.inner.operations.get(&(method, path)));
    let Some(operation) = operation else {
        return Problem::not_found("such path").into_response();
    };
    if operation.access == Access::Public {
        return match check_query(operation, request.uri().query()) {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
    }
    let caller = match caller::identify(&api, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => {
            if problem.kind == Kind::Unauthenticated {
                let peer =
                    request.extensions().get::<Peer>().map(|peer| tracing::field::display(peer.0));
                let path = request.uri().path();
                tracing::info!(
                    path,
                    peer,
                    "a request was refused: it has no key or token that holds"
                );
            }
            return problem.into_response();
        }
    };
    tracing::Span::current().record("caller", &caller.name);
    let left = match api.inner.limiter.take(&caller.id) {
        Ok(left) => left,
        Err(wait) => {
            let detail = format!("{} has sent too many requests", caller.name);
            let problem = Problem::new(Kind::TooManyRequests, detail).retry_after(wait);
            return with_limit(&api, problem.into_response(), 0);
        }
    };
    if let Err(problem) =
        may(operation, &caller).and_then(|()| check_query(operation, request.uri().query()))
    {
        return with_limit(&api, problem.into_response(), left);
    }
    request.extensions_mut().insert(caller);
    with_limit(&api, next.run(request).await, left)
}

fn may(operation: &Operation, caller: &Caller) -> Result<(), Problem> {
    let roles = operation.access.roles();
    if !caller.roles.iter().any(|role| roles.contains(role)) {
        let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let detail = format!("it needs one of the roles {}", names.join(", "));
        tracing::info!(caller = caller.name, "a request was refused for its role");
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    if operation.brand == Brand::None && caller.brand.is_some() {
        tracing::info!(caller = caller.name, "a request was refused for its brand");
        let detail = "it concerns the whole installation, and you belong to one brand";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(())
}

/// Refuses parameters that the operation does not have, and those that are given twice.
fn check_query(operation: &Operation, query: Option<&str>) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    if query.is_some_and(|query| query.contains("%00")) {
        return Err(Problem::query("no value has a zero byte"));
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !operation.parameters.iter().any(|known| known == name) {
            let known = operation.parameters.join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            let shown: String = name.chars().take(100).collect();
            return Err(Problem::query(format!(
                "{shown:?} is no parameter of this; there are: {known}"
            )));
        }
        if seen.contains(&name) {
            return Err(Problem::query(format!(
                "{name} is given twice; separate values by commas"
            )));
        }
        seen.push(name);
    }
    Ok(())
}

fn with_limit(api: &Api, mut response: Response, left: u32) -> Response {
    let limit = api.config().requests_burst;
    let headers = response.headers_mut();
    headers.insert("ratelimit-limit", HeaderValue::from(limit));
    headers.insert("ratelimit-remaining", HeaderValue::from(left));
    let missing = limit.saturating_sub(left);
    let reset = missing.div_ceil(api.config().requests_per_second.max(1));
    headers.insert("ratelimit-reset", HeaderValue::from(reset));
    response
}
