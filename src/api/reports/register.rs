//! The invoice register: every document of a time, streamed.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::PgTransaction;
use utoipa::{IntoParams, ToSchema};

use super::super::Api;
use super::super::accept::wants_csv;
use super::super::amount::Exact;
use super::super::caller::Caller;
use super::super::form::Day;
use super::super::page::Query;
use super::super::problem::Problem;
use super::super::stream::{self, Gone, Sink, Source};
use super::days;
use crate::sheet::{self, Field};
use crate::store::Error;
use crate::store::reports::{self, Registered};

/// Which documents are listed, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// First issue date; the earliest without it.
    #[param(example = "2026-09-01")]
    from: Option<Day>,
    /// The day after the last issue date.
    #[param(example = "2026-10-01")]
    until: Option<Day>,
    /// `json` or `csv`; `Accept` says the same with its qualities.
    #[param(example = "json")]
    format: Option<String>,
}

/// A document as the books have it. Amounts of a credit note are below zero.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegisterRow {
    #[schema(example = 123)]
    document_no: i64,
    /// Not there where nothing is charged.
    #[schema(example = "INV-2026-000123")]
    number: Option<String>,
    /// `invoice`, `adjustment` or `credit_note`.
    #[schema(example = "invoice")]
    kind: String,
    /// `periods`, `goodwill` or `cancel`.
    #[schema(example = "periods")]
    cause: String,
    /// `finalized`, `voided` or `cancelled`. A cancelled one counts, and so does the credit note that took it
    /// back; a voided one counts for nothing.
    #[schema(example = "finalized")]
    state: String,
    #[schema(example = "brand-acme")]
    brand: String,
    /// The buyer's, as on the document.
    #[schema(example = "Acme GmbH")]
    legal_name: Option<String>,
    #[schema(example = "DE")]
    country: Option<String>,
    #[schema(example = "DE987654321")]
    vat_id: Option<String>,
    #[schema(example = "2026-10-04")]
    issue_date: NaiveDate,
    #[schema(example = "2026-09-30")]
    tax_point: NaiveDate,
    #[schema(example = "2026-10-18")]
    due_date: Option<NaiveDate>,
    /// Of the regular invoice that it is, if it is one: half-open.
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    #[schema(example = "2026-10-01")]
    period_end: Option<NaiveDate>,
    #[schema(example = "EUR")]
    currency: String,
    #[schema(example = "386.42")]
    net_total: Exact,
    #[schema(example = "73.42")]
    tax_total: Exact,
    #[schema(example = "459.84")]
    total: Exact,
}

/// Documents in the order in which they were issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct Register {
    data: Vec<RegisterRow>,
}

impl From<Registered> for RegisterRow {
    fn from(row: Registered) -> Self {
        Self {
            document_no: row.document_no,
            number: row.number,
            kind: row.kind,
            cause: row.cause,
            state: row.state,
            brand: row.brand_id,
            legal_name: row.legal_name,
            country: row.country,
            vat_id: row.vat_id,
            issue_date: row.issue_date,
            tax_point: row.tax_point,
            due_date: row.due_date,
            period_start: row.period_start,
            period_end: row.period_end,
            net_total: Exact::money(row.net_total, &row.currency),
            tax_total: Exact::money(row.tax_total, &row.currency),
            total: Exact::money(row.total, &row.currency),
            currency: row.currency,
        }
    }
}

/// All documents of a range of issue dates, voided ones too, with net, tax, total and state.
#[utoipa::path(get, path = "/v1/reports/invoice_register", tag = "reports", params(Wanted),
    responses((status = 200, description = "Streamed",
        content((Register = "application/json"), (String = "text/csv")))))]
pub async fn invoice_register(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let is_csv = wants_csv(wanted.format.as_deref(), &headers)?;
    let days = days(wanted.from, wanted.until)?;
    let place = api.inner.streams.place(&caller).await?;
    let snapshot = api.read(&caller).await?;
    let content_type = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    let source = Source::new(&api, snapshot).await?;
    stream::answer(&api, place, content_type, move |sink| write(source, days, sink, is_csv)).await
}

async fn write(mut source: Source, days: (NaiveDate, NaiveDate), mut sink: Sink, is_csv: bool) {
    let reader = sink.reader();
    let result = reader.unless_gone(rows(&mut source.snapshot, days, &mut sink, is_csv)).await;
    source.end(sink, result).await;
}

const COLUMNS: [&str; 18] = [
    "document_no",
    "number",
    "kind",
    "cause",
    "state",
    "brand",
    "legal_name",
    "country",
    "vat_id",
    "issue_date",
    "tax_point",
    "due_date",
    "period_start",
    "period_end",
    "currency",
    "net_total",
    "tax_total",
    "total",
];

/// Writes the rows; what goes wrong in the database is what is answered.
async fn rows(
    snapshot: &mut PgTransaction<'static>,
    days: (NaiveDate, NaiveDate),
    sink: &mut Sink,
    is_csv: bool,
) -> Result<Result<(), Error>, Gone> {
    let head = if is_csv { sheet::head(COLUMNS) } else { b"{\"data\":[".to_vec() };
    sink.push(&head).await?;
    let mut rows = reports::register(snapshot, days);
    let mut is_first = true;
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        if is_csv {
            sink.push(&csv_of(&row)).await?;
        } else {
            let mut bytes = if is_first { Vec::new() } else { b",".to_vec() };
            bytes.extend(serde_json::to_vec(&RegisterRow::from(row)).unwrap_or_default());
            sink.push(&bytes).await?;
        }
        is_first = false;
    }
    if !is_csv {
        sink.push(b"]}").await?;
    }
    Ok(Ok(()))
}

fn csv_of(row: &Registered) -> Vec<u8> {
    let money = |amount| Field::plain(Exact::money(amount, &row.currency));
    let fields: [Field; COLUMNS.len()] = [
        Field::plain(row.document_no),
        Field::text_or_none(row.number.as_deref()),
        Field::plain(&row.kind),
        Field::plain(&row.cause),
        Field::plain(&row.state),
        Field::text(&row.brand_id),
        Field::text_or_none(row.legal_name.as_deref()),
        Field::text_or_none(row.country.as_deref()),
        Field::text_or_none(row.vat_id.as_deref()),
        Field::plain(row.issue_date),
        Field::plain(row.tax_point),
        Field::plain_or_none(row.due_date),
        Field::plain_or_none(row.period_start),
        Field::plain_or_none(row.period_end),
        Field::plain(&row.currency),
        money(row.net_total),
        money(row.tax_total),
        money(row.total),
    ];
    sheet::row(fields)
}
