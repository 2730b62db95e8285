//! Documents that were issued: invoices, adjustments and credit notes.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use billing::currency::Currency;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::Day;
use super::page::{At, Listed, Page, Path, Query};
use super::problem::Problem;
use crate::store::documents::{self, Filter};
use crate::store::verification;

/// A document as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invoice {
    /// Counted over all documents; names one that has no number.
    #[schema(example = 123)]
    document_no: i64,
    #[schema(example = "INV-2026-000123")]
    number: Option<String>,
    #[schema(example = "brand-acme")]
    brand: String,
    /// `invoice`, `adjustment` or `credit_note`.
    #[schema(example = "invoice")]
    kind: String,
    /// `periods`, `goodwill` or `cancel`.
    #[schema(example = "periods")]
    cause: String,
    /// `finalized`, `voided` or `cancelled`.
    #[schema(example = "finalized")]
    state: String,
    #[schema(example = false)]
    is_delivered: bool,
    /// Of the regular invoice that it is, if it is one: half-open.
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    #[schema(example = "2026-10-01")]
    period_end: Option<NaiveDate>,
    #[schema(example = "EUR")]
    currency: String,
    #[schema(example = "2026-10-04")]
    issue_date: NaiveDate,
    #[schema(example = "2026-10-18")]
    due_date: Option<NaiveDate>,
    net_total: Exact,
    tax_total: Exact,
    total: Exact,
    /// What is owed, or owed to the buyer; null on credit notes and on voided documents, which nobody pays.
    balance: Option<Balance>,
    #[schema(example = "2026-10-04T08:30:00Z")]
    finalized_at: DateTime<Utc>,
    /// Null for a caller of the brand.
    #[schema(example = "key 3 (finance team)")]
    finalized_by: Option<String>,
    /// What its state lets be done, to those who may: `void`, `cancel`, `mark_sent`, `credit`, `pay`, `write_off`.
    #[schema(example = json!(["void", "cancel", "mark_sent", "credit", "pay", "write_off"]))]
    available_actions: Vec<String>,
}

/// total - credited - paid = due. Below zero it is owed to the buyer: more was paid than is owed, as of a cancelled
/// invoice, which is credited in full, whatever was paid is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balance {
    /// `unpaid`, `partly_paid`, `paid` (nothing is due: it was paid, credited, or both) or `written_off`.
    #[schema(example = "unpaid")]
    state: String,
    credited: Exact,
    paid: Exact,
    due: Exact,
}

impl Invoice {
    fn of(caller: &Caller, listed: documents::Listed) -> Result<Self, Problem> {
        let actions = listed.actions()?;
        let balance =
            listed.has_balance().then(|| listed.balance()).transpose()?.map(|balance| Balance {
                state: balance.state.as_str().to_owned(),
                credited: balance.credited.into(),
                paid: balance.paid.into(),
                due: balance.due.into(),
            });
        Ok(Self {
            document_no: listed.document_no,
            number: listed.number,
            brand: listed.brand_id,
            kind: listed.kind,
            cause: listed.cause,
            state: listed.state,
            is_delivered: listed.is_delivered,
            period_start: listed.period_start,
            period_end: listed.period_end,
            issue_date: listed.issue_date,
            due_date: listed.due_date,
            net_total: Exact::money(listed.net_total, &listed.currency),
            tax_total: Exact::money(listed.tax_total, &listed.currency),
            total: Exact::money(listed.total, &listed.currency),
            currency: listed.currency,
            balance,
            finalized_at: listed.finalized_at,
            finalized_by: caller.may_know(listed.finalized_by),
            available_actions: actions.iter().map(|action| action.as_str().to_owned()).collect(),
        })
    }
}

/// Which documents are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// `finalized`, `voided` or `cancelled`.
    #[param(example = "finalized")]
    state: Option<String>,
    /// Only invoices of the period with this day.
    #[param(example = "2026-09-01")]
    day: Option<Day>,
    /// Only invoices of the period with this first day.
    #[param(example = "2026-09-01")]
    period_start: Option<Day>,
    /// Only in this currency.
    #[param(example = "EUR")]
    currency: Option<String>,
    /// First issue date.
    #[param(example = "2026-10-01")]
    issued_from: Option<Day>,
    /// The day after the last issue date.
    #[param(example = "2026-11-01")]
    issued_until: Option<Day>,
}

/// Which invoices are wanted, by what is still to be paid.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Owed {
    /// Only those that are owed, in this state of their `balance`: `unpaid`, `partly_paid`, `paid` or `written_off`;
    /// `open` for the first two; or `overdue`: open, and due before today by the issuer's calendar.
    #[param(example = "open")]
    payment: Option<String>,
}

impl Which {
    /// What of the query can be said without the database.
    fn filter(self) -> Result<Filter, Problem> {
        if self.state.as_deref().is_some_and(|one| !STATES.contains(&one)) {
            return Err(Problem::query("state is finalized, voided or cancelled"));
        }
        if self.currency.as_deref().is_some_and(|code| Currency::from_code(code).is_none()) {
            return Err(Problem::query("currency is a code of ISO 4217, such as EUR"));
        }
        let day = |day: Option<Day>| day.map(|day| day.0);
        let (from, until) = (day(self.issued_from), day(self.issued_until));
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            let detail = "issued_until is the day after the last one, so it lies after issued_from";
            return Err(Problem::query(detail));
        }
        Ok(Filter {
            state: self.state,
            day: day(self.day),
            period_start: day(self.period_start),
            currency: self.currency,
            issued_from: from,
            issued_until: until,
            ..Filter::default()
        })
    }
}

const STATES: [&str; 3] = ["finalized", "voided", "cancelled"];

async fn page(
    api: &Api,
    caller: &Caller,
    at: &At,
    mut which: Which,
    credit_notes: bool,
    owed: Option<(documents::Owed, NaiveDate)>,
) -> Result<Listed<Invoice>, Problem> {
    let before = at.after()?;
    let brand = which.brand.take();
    let filter = which.filter()?;
    let mut snapshot = api.read(caller).await?;
    let mut brand_no = caller.brand_no();
    if let Some(brand) = &brand {
        brand_no = Some(known(&mut snapshot, caller, brand).await?.no);
    }
    let filter = Filter {
        brand_no,
        credit_notes: Some(credit_notes),
        owed,
        before,
        limit: at.rows(),
        ..filter
    };
    let rows = documents::list(&mut *snapshot, &filter).await?;
    drop(snapshot);
    let rows = rows.into_iter().map(|row| Invoice::of(caller, row));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(at.page(rows, |row| row.document_no.to_string(), |row| row))
}

/// Invoices and adjustments, newest first.
#[utoipa::path(get, path = "/v1/invoices", tag = "invoices", params(At, Which, Owed),
    responses((status = 200, description = "A page", body = Page<Invoice>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
    Query(Owed { payment }): Query<Owed>,
) -> Result<Listed<Invoice>, Problem> {
    let wrong =
        || Problem::query("payment is unpaid, partly_paid, paid, written_off, open or overdue");
    let payment =
        payment.map(|name| documents::Owed::parse(&name).ok_or_else(wrong)).transpose()?;
    let owed = payment.map(|payment| (payment, api.today(Utc::now())));
    page(&api, &caller, &at, which, false, owed).await
}

/// Credit notes, newest first.
#[utoipa::path(get, path = "/v1/credit_notes", tag = "invoices", params(At, Which),
    responses((status = 200, description = "A page", body = Page<Invoice>)))]
pub async fn credit_notes(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<Invoice>, Problem> {
    page(&api, &caller, &at, which, true, None).await
}

/// The document of this name as it stands, in a snapshot of its own.
pub async fn listed(api: &Api, caller: &Caller, name: &str) -> Result<documents::Listed, Problem> {
    let mut snapshot = api.read_named(caller).await?;
    let found = seen(&mut snapshot, caller, name).await?;
    drop(snapshot);
    Ok(found)
}

/// As [`listed`], as it is answered.
pub async fn named_document(api: &Api, caller: &Caller, name: &str) -> Result<Invoice, Problem> {
    Invoice::of(caller, listed(api, caller, name).await?)
}

/// The document of this name that the caller may see.
pub async fn seen(
    snapshot: &mut PgConnection,
    caller: &Caller,
    name: &str,
) -> Result<documents::Listed, Problem> {
    let found = documents::find(snapshot, name, caller.brand_no()).await?;
    found.ok_or_else(|| no_document(name))
}

fn no_document(name: &str) -> Problem {
    let shown: String = name.chars().take(64).collect();
    Problem::not_found(format!("document {shown}"))
}

/// One document by its number, or by its `document_no` if it has none: an invoice or a credit note.
#[utoipa::path(get, path = "/v1/invoices/{number}", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")),
    responses((status = 200, description = "It", body = Invoice)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<Invoice>, Problem> {
    named_document(&api, &caller, &number).await.map(Json)
}

/// One credit note by its number.
#[utoipa::path(get, path = "/v1/credit_notes/{number}", tag = "invoices",
    params(("number" = String, Path, example = "CN-2026-000007")),
    responses((status = 200, description = "It", body = Invoice)))]
pub async fn credit_note(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<Invoice>, Problem> {
    let listed = listed(&api, &caller, &number).await?;
    if listed.kind != "credit_note" {
        return Err(no_document(&number));
    }
    Invoice::of(&caller, listed).map(Json)
}

/// The document itself, with its lines, taxes, parties and evidence: canonical JSON (RFC 8785), byte for
/// byte as its hash and the next document of the brand have it.
#[utoipa::path(get, path = "/v1/invoices/{number}/document", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")),
    responses((status = 200, description = "Its `ETag` is the SHA-256 of the bytes", body = Object)))]
pub async fn document(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Response, Problem> {
    let mut snapshot = api.read_named(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    let body = documents::body(&mut *snapshot, listed.document_no).await?;
    drop(snapshot);
    let etag = format!("\"{}\"", billing::hash::Hash::of(&[&body]));
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, etag)];
    Ok((headers, body).into_response())
}

/// Something that happened to a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceEvent {
    /// `sent`, `exported`, `downloaded`, `voided`, `cancelled`, `written_off` or `payment`.
    #[schema(example = "payment")]
    kind: String,
    because: Option<String>,
    made_at: DateTime<Utc>,
    made_by: String,
}

/// Where a page of events ends: `event/5`, or `payment/7`.
struct Happened(i32, i64);

impl Happened {
    const SOURCES: [&'static str; 2] = ["event", "payment"];

    fn written(event: &documents::Event) -> String {
        let source = usize::from(event.source != 0);
        format!("{}/{}", Self::SOURCES[source], event.no)
    }
}

impl FromStr for Happened {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (source, no) = text.split_once('/').ok_or(())?;
        let source = Self::SOURCES.iter().position(|known| *known == source).ok_or(())?;
        Ok(Self(i32::from(source != 0), no.parse().map_err(|_| ())?))
    }
}

/// What happened to a document after it was issued, payments included, oldest first.
#[utoipa::path(get, path = "/v1/invoices/{number}/events", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123"), At),
    responses((status = 200, description = "A page", body = Page<InvoiceEvent>)))]
pub async fn events(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Path(number): Path<String>,
) -> Result<Listed<InvoiceEvent>, Problem> {
    let after = at.after()?.map(|Happened(source, no)| (source, no));
    let mut snapshot = api.read_named(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    let events = documents::events(&mut *snapshot, listed.document_no, after, at.rows()).await?;
    drop(snapshot);
    let row = |event: documents::Event| InvoiceEvent {
        kind: event.kind,
        because: event.because,
        made_at: event.made_at,
        made_by: event.made_by,
    };
    Ok(at.page(events, Happened::written, row))
}

/// What computing a document again came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceVerification {
    /// True if nothing differs.
    holds: bool,
    /// Rows of the ledger that were hashed.
    leaves: Exact,
    /// What differs.
    #[schema(example = json!([]))]
    differences: Vec<String>,
}

/// Computes a document again from the ledger and compares it with what is stored, byte for byte.
#[utoipa::path(get, path = "/v1/invoices/{number}/verify", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123")),
    responses((status = 200, description = "Whether it holds", body = InvoiceVerification)))]
pub async fn verify(
    State(api): State<Api>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<InvoiceVerification>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    drop(snapshot);
    // The snapshot of a verification is its own: it reads the brand's whole chain.
    let mut connection = api.store().connect_to_read(api.config().request_timeout).await?;
    let which = verification::Which::Named(listed.name());
    let report = verification::verify(&mut connection, &which, |_| {}).await?;
    let report = report.ok_or_else(|| Problem::not_found(format!("document {}", listed.name())))?;
    let differences: Vec<String> = report.differences.into_iter().map(|one| one.what).collect();
    let holds = differences.is_empty();
    Ok(Json(InvoiceVerification { holds, leaves: report.leaves.into(), differences }))
}
