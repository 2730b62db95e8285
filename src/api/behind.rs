//! The receipts behind a document, and behind one line of it.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::PgTransaction;
use utoipa::IntoParams;

use super::Api;
use super::caller::Caller;
use super::invoices::seen;
use super::page::{At, Listed, Page, Path, Query};
use super::problem::Problem;
use super::receipts::Counted;
use super::stream::{self, Sink, csv_row};
use super::usage::wants_csv;
use crate::store::{Error, behind, ledger, reading};

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Form {
    /// `json` for a page, `csv` for all of them; `Accept: text/csv` says the same.
    #[param(example = "json")]
    format: Option<String>,
}

/// The receipts behind a document, by entry: those that its evidence is built over. They are read from the
/// ledger, page by page; as CSV all of them from `starting_after` on are streamed, whatever `limit` says.
#[utoipa::path(get, path = "/v1/invoices/{number}/receipts", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123"), At, Form),
    responses((status = 200, description = "A page, or all",
        content((Page<Counted> = "application/json"), (String = "text/csv")))))]
pub async fn receipts(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Path(number): Path<String>,
    headers: HeaderMap,
    Query(form): Query<Form>,
) -> Result<Response, Problem> {
    let is_csv = wants_csv(form.format.as_deref(), &headers)?;
    let after = at.after()?.unwrap_or(0);
    let place = if is_csv { Some(api.inner.streams.place(&caller).await?) } else { None };
    let mut snapshot = api.read(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    if let Some(place) = place {
        reading::extend(&mut snapshot, api.config().streams.whole).await?;
        let write = |sink| write(snapshot, listed.document_no, after, sink);
        return stream::answer(place, "text/csv; charset=utf-8", write).await;
    }
    let rows = ledger::behind_document(&mut snapshot, listed.document_no, after, at.rows()).await?;
    snapshot.rollback().await?;
    Ok(at.page(rows, |row| row.entry.to_string(), Counted::from).into_response())
}

async fn write(mut snapshot: PgTransaction<'static>, document_no: i64, after: i64, mut sink: Sink) {
    let result = rows(&mut snapshot, document_no, after, &mut sink).await;
    // It has written nothing, and what is left of it goes with its connection's next use.
    let _ = snapshot.rollback().await;
    if let Some(result) = result {
        sink.end(result).await;
    } else {
        tracing::debug!("a reader of receipts has gone away");
    }
}

/// `None` if the reader has gone away.
async fn rows(
    snapshot: &mut PgTransaction<'static>,
    document_no: i64,
    after: i64,
    sink: &mut Sink,
) -> Option<Result<(), Error>> {
    sink.push(&csv_row(Counted::COLUMNS)).await.ok()?;
    let mut rows = ledger::all_behind_document(snapshot, document_no, after);
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => Counted::from(row),
            Ok(None) => return Some(Ok(())),
            Err(error) => return Some(Err(error)),
        };
        sink.push(&csv_row(row.fields().iter().map(String::as_str))).await.ok()?;
    }
}

/// The receipts behind one line of a document, by entry: those of its evidence that the line's charge takes, by
/// the plan version on the document.
///
/// What took a receipt back is among them, `voided`. A fee, a discount, a minimum and a maximum have none of
/// their own, and a line of a credit note has those of the line that it credits.
#[utoipa::path(get, path = "/v1/invoices/{number}/lines/{line}/receipts", tag = "invoices",
    params(("number" = String, Path, example = "INV-2026-000123"), ("line" = i32, Path, example = 2),
        At),
    responses((status = 200, description = "A page", body = Page<Counted>)))]
pub async fn line_receipts(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Path((number, line)): Path<(String, i32)>,
) -> Result<Listed<Counted>, Problem> {
    let after = at.after()?.unwrap_or(0);
    let mut snapshot = api.read(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    let scope = behind::scope(&mut snapshot, listed.document_no, line).await?;
    let scope =
        scope.ok_or_else(|| Problem::not_found(format!("line {line} on {}", listed.name())))?;
    let rows = behind::receipts(&mut snapshot, &scope, after, at.rows()).await?;
    snapshot.rollback().await?;
    Ok(at.page(rows, |row| row.entry.to_string(), Counted::from))
}
