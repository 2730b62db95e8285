//! The receipts behind a document, and behind one line of it.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::PgTransaction;
use utoipa::IntoParams;

use super::Api;
use super::accept::wants_csv;
use super::caller::Caller;
use super::invoices::seen;
use super::page::{At, Listed, Page, Path, Query};
use super::problem::Problem;
use super::receipts::Counted;
use super::stream::{self, Gone, Sink, Source};
use crate::sheet;
use crate::store::{Error, behind};

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Form {
    /// `json` for a page, `csv` for all of them; `Accept` says the same with its qualities.
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
    let unsealed = api.inner.counted.unsealed();
    let mut snapshot = api.read_named(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    if let Some(place) = place {
        let source = Source::new(&api, snapshot).await?;
        let write = |sink| write(source, listed.document_no, after, sink);
        return stream::answer(&api, place, "text/csv; charset=utf-8", write).await;
    }
    let (document_no, rows) = (listed.document_no, at.rows());
    let rows = behind::document(&mut snapshot, unsealed.as_ref(), document_no, after, rows).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.entry.to_string(), Counted::from).into_response())
}

async fn write(mut source: Source, document_no: i64, after: i64, mut sink: Sink) {
    let reader = sink.reader();
    let result =
        reader.unless_gone(rows(&mut source.snapshot, document_no, after, &mut sink)).await;
    source.end(sink, result).await;
}

/// Writes the rows; what goes wrong in the database is what is answered.
async fn rows(
    snapshot: &mut PgTransaction<'static>,
    document_no: i64,
    after: i64,
    sink: &mut Sink,
) -> Result<Result<(), Error>, Gone> {
    sink.push(&sheet::head(Counted::COLUMNS)).await?;
    let mut rows = behind::all_of_document(snapshot, document_no, after);
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => Counted::from(row),
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        sink.push(&sheet::row(row.fields())).await?;
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
    let unsealed = api.inner.counted.unsealed();
    let mut snapshot = api.read_named(&caller).await?;
    let listed = seen(&mut snapshot, &caller, &number).await?;
    let scope = behind::scope(&mut snapshot, listed.document_no, line).await?;
    let scope =
        scope.ok_or_else(|| Problem::not_found(format!("line {line} on {}", listed.name())))?;
    let rows = behind::line(&mut snapshot, unsealed.as_ref(), &scope, after, at.rows()).await?;
    drop(snapshot);
    Ok(at.page(rows, |row| row.entry.to_string(), Counted::from))
}
