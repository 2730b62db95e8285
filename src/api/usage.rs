//! Usage: receipts by what they are grouped by. Rows are streamed, so that no answer is held in memory.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use billing::ids::BrandId;
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::PgTransaction;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::accept::wants_csv;
use super::amount::Exact;
use super::caller::{Caller, no_brand};
use super::form::Day;
use super::page::Query;
use super::problem::Problem;
use super::stream::{self, Gone, Sink, Source};
use crate::sheet::{self, Field};
use crate::store::Error;
use crate::store::usage::{self, Dimension};

/// Which usage is wanted, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// First usage day.
    #[param(example = "2026-09-01")]
    from: Option<Day>,
    /// The day after the last usage day.
    #[param(example = "2026-10-01")]
    until: Option<Day>,
    /// What to group by, separated by commas: brand, day, week, month, predicate, result, supplier, product.
    /// The last two read the ledger, which takes longer.
    #[param(example = "brand,predicate")]
    by: Option<String>,
    /// `json` or `csv`; `Accept` says the same with its qualities.
    #[param(example = "json")]
    format: Option<String>,
}

/// A group of receipts. Only what was asked for is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<NaiveDate>,
    /// Its Monday.
    #[serde(skip_serializing_if = "Option::is_none")]
    week: Option<NaiveDate>,
    /// Its first day.
    #[serde(skip_serializing_if = "Option::is_none")]
    month: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "CERT_VALID@V1")]
    predicate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    /// What was counted and not taken back.
    receipts: Exact,
    /// How often these were seen again; not there where the ledger was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<Exact>,
}

/// Usage in the order of its groups.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    data: Vec<UsageRow>,
}

impl From<usage::UsageRow> for UsageRow {
    fn from(row: usage::UsageRow) -> Self {
        Self {
            brand: row.brand,
            day: row.usage_day,
            week: row.week,
            month: row.month,
            predicate: row.predicate,
            result: row.result,
            supplier: row.supplier,
            product: row.product,
            receipts: row.receipts.into(),
            duplicates: row.duplicates.map(Exact::from),
        }
    }
}

/// Counted receipts, grouped.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", params(Wanted),
    responses((status = 200, description = "Streamed",
        content((Usage = "application/json"), (String = "text/csv")))))]
pub async fn query(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let is_csv = wants_csv(wanted.format.as_deref(), &headers)?;
    let by = dimensions(wanted.by.as_deref().unwrap_or("brand,predicate"))?;
    let (from, until) = (wanted.from.map(|day| day.0), wanted.until.map(|day| day.0));
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        return Err(Problem::query("until is the day after the last one, so it lies after from"));
    }
    let place = api.inner.streams.place(&caller).await?;
    let brand = caller.brand_of(wanted.brand.as_deref())?;
    let brand = brand.map(|id| BrandId::new(&id).ok_or_else(|| no_brand(&id))).transpose()?;
    let snapshot = api.read(&caller).await?;
    let (source, knows_brand) = Source::about(&api, snapshot, brand.as_ref()).await?;
    if let Some(unknown) = brand.as_ref().filter(|_| !knows_brand) {
        return Err(no_brand(unknown.as_str()));
    }
    let query = usage::Query { by, brand, from, until };
    let (content_type, form) = if is_csv {
        ("text/csv; charset=utf-8", Form::Csv)
    } else {
        ("application/json", Form::Json)
    };
    stream::answer(&api, place, content_type, |sink| write(source, query, sink, form)).await
}

fn dimensions(by: &str) -> Result<Vec<Dimension>, Problem> {
    let mut found = Vec::new();
    for name in by.split(',') {
        let dimension = Dimension::ALL.into_iter().find(|one| name_of(*one) == name);
        let dimension = dimension.ok_or_else(|| {
            let names = Dimension::ALL.map(name_of).join(", ");
            Problem::query(format!("by has values of {names}, separated by commas"))
        })?;
        if !found.contains(&dimension) {
            found.push(dimension);
        }
    }
    Ok(found)
}

fn name_of(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Day => "day",
        other => other.column(),
    }
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Csv,
}

async fn write(mut source: Source, query: usage::Query, mut sink: Sink, form: Form) {
    let reader = sink.reader();
    let result = reader.unless_gone(rows(&mut source.snapshot, &query, &mut sink, form)).await;
    source.end(sink, result).await;
}

/// Writes the rows; what goes wrong in the database is what is answered.
async fn rows(
    snapshot: &mut PgTransaction<'static>,
    query: &usage::Query,
    sink: &mut Sink,
    form: Form,
) -> Result<Result<(), Error>, Gone> {
    let head = match form {
        Form::Json => b"{\"data\":[".to_vec(),
        Form::Csv => {
            let counts =
                if query.reads_ledger() { &["receipts"][..] } else { &["receipts", "duplicates"] };
            sheet::head(query.by.iter().map(|one| name_of(*one)).chain(counts.iter().copied()))
        }
    };
    sink.push(&head).await?;
    let mut rows = usage::rows(snapshot, query);
    let mut is_first = true;
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = match form {
            Form::Json => {
                let mut bytes = if is_first { Vec::new() } else { b",".to_vec() };
                let text = serde_json::to_vec(&UsageRow::from(row)).unwrap_or_default();
                bytes.extend(text);
                bytes
            }
            Form::Csv => csv_of(query, &row),
        };
        is_first = false;
        sink.push(&bytes).await?;
    }
    drop(rows);
    if matches!(form, Form::Json) {
        sink.push(b"]}").await?;
    }
    Ok(Ok(()))
}

fn csv_of(query: &usage::Query, row: &usage::UsageRow) -> Vec<u8> {
    let field = |dimension: &Dimension| match dimension {
        Dimension::Brand => Field::text_or_none(row.brand.as_deref()),
        Dimension::Day => Field::plain_or_none(row.usage_day),
        Dimension::Week => Field::plain_or_none(row.week),
        Dimension::Month => Field::plain_or_none(row.month),
        Dimension::Predicate => Field::text_or_none(row.predicate.as_deref()),
        Dimension::Result => Field::plain_or_none(row.result),
        Dimension::Supplier => Field::text_or_none(row.supplier.as_deref()),
        Dimension::Product => Field::text_or_none(row.product.as_deref()),
    };
    let mut fields: Vec<Field> = query.by.iter().map(field).collect();
    fields.push(Field::plain(row.receipts));
    fields.extend(row.duplicates.map(Field::plain));
    sheet::row(fields)
}
