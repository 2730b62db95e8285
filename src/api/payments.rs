//! Payments of invoices.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::caller::Caller;
use super::form::{Day, Reference};
use super::invoices::{listed, seen};
use super::page::{At, Body, Listed, Page, Path};
use super::problem::Problem;
use crate::store::{documents, issue};

/// A payment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Payment {
    #[schema(example = 17)]
    payment_no: i64,
    /// In the invoice's currency; below zero for what was paid back.
    #[schema(example = "40.46")]
    amount: Exact,
    #[schema(example = "2026-10-14")]
    paid_on: NaiveDate,
    #[schema(example = "2026-10-14/4711")]
    reference: String,
    #[schema(example = "2026-10-15T09:00:00Z")]
    made_at: DateTime<Utc>,
    #[schema(example = "key 3 (finance team)")]
    made_by: String,
}

impl From<documents::Payment> for Payment {
    fn from(payment: documents::Payment) -> Self {
        Self {
            payment_no: payment.payment_no,
            amount: payment.amount.into(),
            paid_on: payment.paid_on,
            reference: payment.reference,
            made_at: payment.made_at,
            made_by: payment.made_by,
        }
    }
}

/// The payments of an invoice, by number. What is still due is on the invoice.
#[utoipa::path(get, path = "/v1/invoices/{number}/payments", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123"), At),
    responses((status = 200, description = "A page", body = Page<Payment>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Path(number): Path<String>,
) -> Result<Listed<Payment>, Problem> {
    let after = at.after()?.unwrap_or(0);
    let mut snapshot = api.read(&caller).await?;
    let document = seen(&mut snapshot, &caller, &number).await?;
    let rows = documents::payments(&mut *snapshot, document.document_no, after, at.rows()).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.payment_no.to_string(), Payment::from))
}

/// A payment that came in, or was paid back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPayment {
    /// In the invoice's currency, in whole minor units; below zero for what was paid back.
    #[schema(example = "40.46")]
    amount: Exact,
    /// Today at the latest by the issuer's calendar, and at most a year before the invoice was issued.
    #[schema(example = "2026-10-14")]
    paid_on: Day,
    /// The bank's: a payment of the same reference is recorded once.
    #[schema(example = "2026-10-14/4711")]
    reference: Reference,
    /// Said on purpose where more than is still owed of the invoice is paid with it; it is refused otherwise.
    #[serde(default)]
    #[schema(example = false)]
    overpaid: bool,
}

/// Records a payment. The same one again is answered with what is recorded; another one of the same reference
/// is refused, and so is one that pays back more than was paid.
#[utoipa::path(post, path = "/v1/invoices/{number}/payments", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")), request_body = NewPayment,
    responses((status = 201, description = "The payment", body = Payment),
        (status = 200, description = "It was recorded before", body = Payment)))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
    Body(new): Body<NewPayment>,
) -> Result<(StatusCode, Json<Payment>), Problem> {
    let amount = new.amount.decimal()?;
    let document = listed(&api, &caller, &number).await?;
    let (paid_on, reference) = (new.paid_on.0, new.reference.as_str());
    let told = issue::Told { amount, paid_on, reference, overpaid: new.overpaid };
    let (pool, issuers) = (&api.store().pool, &api.config().terms.issuers);
    let (payment, is_new) =
        issue::pay(pool, issuers, &document, told, Utc::now(), &caller.name).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(payment.into())))
}
