//! What is done to a document after it was issued: taken back, sent, written off, credited.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use billing::document::credit::Amounts;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::caller::Caller;
use super::form::{Because, Reason};
use super::invoices::{Invoice, listed, named_document};
use super::page::{Body, BodyOrNone, Path};
use super::problem::Problem;
use crate::store::issue;

/// More lines than a document has.
const LINES_MAX: usize = 1_000;

/// Takes a document back that was not delivered. Its number stays its own, and its period is open again.
#[utoipa::path(post, path = "/v1/invoices/{number}/void", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")), request_body = Because,
    responses((status = 200, description = "The document as it is now", body = Invoice)))]
pub async fn void(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Body(why): Body<Because>,
) -> Result<Json<Invoice>, Problem> {
    let document = listed(&api, &caller, &number).await?;
    let because = why.because.as_str();
    issue::void(&api.store().pool, &document, because, &caller.name).await?;
    named_document(&api, &caller, &number).await.map(Json)
}

/// An invoice that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cancellation {
    invoice: Invoice,
    /// What gives back the rest of it; null if all of it was credited before.
    credit_note: Option<Invoice>,
}

/// Credits all of an invoice that is not credited yet, delivered or not. Its period is open again.
#[utoipa::path(post, path = "/v1/invoices/{number}/cancel", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")), request_body = Because,
    responses((status = 200, description = "The invoice, and its credit note", body = Cancellation)))]
pub async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Body(why): Body<Because>,
) -> Result<Json<Cancellation>, Problem> {
    let document = listed(&api, &caller, &number).await?;
    let (pool, issuers) = (&api.store().pool, &api.config().terms.issuers);
    let (because, now, by) = (why.because.as_str(), Utc::now(), &caller.name);
    let note = issue::cancel(pool, issuers, &document, because, now, by).await?;
    let credit_note = match note.and_then(|note| note.number) {
        Some(note) => Some(named_document(&api, &caller, &note).await?),
        None => None,
    };
    let invoice = named_document(&api, &caller, &number).await?;
    Ok(Json(Cancellation { invoice, credit_note }))
}

/// How a document was sent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sending {
    /// How or to whom.
    #[schema(example = "by mail to billing@acme.example")]
    note: Option<Reason>,
}

/// Notes that a document was sent, so that it can no longer be voided. What is noted already stays as it is.
#[utoipa::path(post, path = "/v1/invoices/{number}/sent", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")),
    request_body = Option<Sending>,
    responses((status = 200, description = "The document as it is now", body = Invoice)))]
pub async fn sent(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    BodyOrNone(how): BodyOrNone<Sending>,
) -> Result<Json<Invoice>, Problem> {
    let document = listed(&api, &caller, &number).await?;
    let note = how.note.as_ref().map(Reason::as_str);
    issue::mark_sent(&api.store().pool, &document, note, &caller.name).await?;
    named_document(&api, &caller, &number).await.map(Json)
}

/// Notes that what is due of an invoice is no longer expected.
#[utoipa::path(post, path = "/v1/invoices/{number}/write_off", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")), request_body = Because,
    responses((status = 200, description = "The document as it is now", body = Invoice)))]
pub async fn write_off(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Body(why): Body<Because>,
) -> Result<Json<Invoice>, Problem> {
    let document = listed(&api, &caller, &number).await?;
    let because = why.because.as_str();
    issue::write_off(&api.store().pool, &document, because, &caller.name).await?;
    named_document(&api, &caller, &number).await.map(Json)
}

/// A favour.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCreditNote {
    /// It stands on the credit note.
    because: Reason,
    /// Each line of the invoice once; 1 to 1,000 of them.
    #[schema(min_items = 1, max_items = 1000)]
    lines: Vec<CreditLine>,
}

/// What is given back of a line.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditLine {
    /// The line's number on the invoice.
    #[schema(example = 2, minimum = 1)]
    line: u32,
    /// Net; tax follows.
    #[schema(example = "10.00")]
    amount: Exact,
}

/// Gives back parts of an invoice's lines as a favour, which changes nothing that was billed. Never more than
/// is left of a line.
#[utoipa::path(post, path = "/v1/invoices/{number}/credit_notes", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")), request_body = NewCreditNote,
    responses((status = 201, description = "The credit note", body = Invoice)))]
pub async fn credit(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Body(new): Body<NewCreditNote>,
) -> Result<Response, Problem> {
    if !(1..=LINES_MAX).contains(&new.lines.len()) {
        return Err(Problem::body(format!("lines has 1 to {LINES_MAX} of them")));
    }
    let document = listed(&api, &caller, &number).await?;
    let mut amounts = Vec::with_capacity(new.lines.len());
    for CreditLine { line, amount } in &new.lines {
        amounts.push((*line, document.money(amount.decimal()?)?));
    }
    let amounts = Amounts::Goodwill(amounts);
    let (pool, issuers) = (&api.store().pool, &api.config().terms.issuers);
    let (because, now, by) = (new.because.as_str(), Utc::now(), &caller.name);
    let note = issue::favour(pool, issuers, &document, &amounts, because, now, by).await?;
    let name = note.number.unwrap_or_else(|| note.document_no.to_string());
    let location = [(header::LOCATION, format!("/v1/credit_notes/{name}"))];
    let note = named_document(&api, &caller, &name).await?;
    Ok((StatusCode::CREATED, location, Json(note)).into_response())
}
