//! Usage: receipts by what they are grouped by. Rows are streamed, so that no answer is held in memory.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use billing::ids::BrandId;
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::PgTransaction;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::Day;
use super::page::Query;
use super::problem::Problem;
use super::stream::{self, Sink, csv_row};
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
    /// `json` or `csv`; `Accept: text/csv` says the same.
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
    let mut snapshot = api.read(&caller).await?;
    let mut brand = None;
    if let Some(id) = caller.brand_of(wanted.brand.as_deref())? {
        known(&mut snapshot, &caller, &id).await?;
        brand = BrandId::new(&id);
    }
    let query = usage::Query { by, brand, from, until };
    if is_csv {
        let write = |sink| write(snapshot, query, sink, Form::Csv);
        return stream::answer("text/csv; charset=utf-8", write).await;
    }
    stream::answer("application/json", |sink| write(snapshot, query, sink, Form::Json)).await
}

/// Whether CSV is asked for.
pub fn wants_csv(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Problem> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(Problem::query("format is json or csv")),
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            Ok(accept.is_some_and(|accept| accept.starts_with("text/csv")))
        }
    }
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

async fn write(
    mut snapshot: PgTransaction<'static>,
    query: usage::Query,
    mut sink: Sink,
    form: Form,
) {
    let result = rows(&mut snapshot, &query, &mut sink, form).await;
    // It has written nothing, and what is left of it goes with its connection's next use.
    let _ = snapshot.rollback().await;
    if let Some(result) = result {
        sink.end(result).await;
    } else {
        tracing::debug!("a reader of usage has gone away");
    }
}

/// `None` if the reader has gone away.
async fn rows(
    snapshot: &mut PgTransaction<'static>,
    query: &usage::Query,
    sink: &mut Sink,
    form: Form,
) -> Option<Result<(), Error>> {
    let head = match form {
        Form::Json => b"{\"data\":[".to_vec(),
        Form::Csv => {
            let counts =
                if query.reads_ledger() { &["receipts"][..] } else { &["receipts", "duplicates"] };
            csv_row(query.by.iter().map(|one| name_of(*one)).chain(counts.iter().copied()))
        }
    };
    sink.push(&head).await.ok()?;
    let mut rows = usage::rows(snapshot, query);
    let mut is_first = true;
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => return Some(Err(error)),
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
        sink.push(&bytes).await.ok()?;
    }
    drop(rows);
    if matches!(form, Form::Json) {
        sink.push(b"]}").await.ok()?;
    }
    Some(Ok(()))
}

fn csv_of(query: &usage::Query, row: &usage::UsageRow) -> Vec<u8> {
    let text = |dimension: &Dimension| match dimension {
        Dimension::Brand => row.brand.clone(),
        Dimension::Day => row.usage_day.map(|day| day.to_string()),
        Dimension::Week => row.week.map(|day| day.to_string()),
        Dimension::Month => row.month.map(|day| day.to_string()),
        Dimension::Predicate => row.predicate.clone(),
        Dimension::Result => row.result.map(|result| result.to_string()),
        Dimension::Supplier => row.supplier.clone(),
        Dimension::Product => row.product.clone(),
    };
    let mut fields: Vec<String> =
        query.by.iter().map(|one| text(one).unwrap_or_default()).collect();
    fields.push(row.receipts.to_string());
    fields.extend(row.duplicates.map(|count| count.to_string()));
    csv_row(fields.iter().map(String::as_str))
}
