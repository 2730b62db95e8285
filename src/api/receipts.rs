//! Single receipts: was it counted, when, for whom, and on which document.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::brands::known;
use super::caller::Caller;
use super::page::{Path, Query};
use super::problem::Problem;
use crate::sheet::Field;
use crate::store::billed_on::{self, OnDocument};
use crate::store::finding;
use crate::store::ledger::{self, CountedReceipt, Sighting};
use crate::store::proving;

/// As many later sights of a receipt are shown.
const SIGHTINGS_MAX: i64 = 20;

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    #[schema(example = 120_007)]
    entry: i64,
    #[schema(example = "rcpt-7f3a")]
    receipt_id: String,
    #[schema(example = "brand-acme")]
    brand: String,
    /// `counted`, `retried`, `unparked`, `resolved` (counted instead of another content) or `voided`.
    #[schema(example = "counted")]
    counted_as: String,
    #[schema(example = "2026-03-01")]
    usage_day: NaiveDate,
    #[schema(example = "CERT_VALID@V1")]
    predicate: String,
    #[schema(example = "mill")]
    supplier: Option<String>,
    #[schema(example = "shirt")]
    product: Option<String>,
    #[schema(example = true)]
    result: Option<bool>,
    #[schema(example = "2026-03-01T12:00:00Z")]
    verified_at: DateTime<Utc>,
    /// Where it stood in the stream.
    #[schema(example = 1)]
    epoch: i32,
    #[schema(example = 120_401)]
    sequence: i64,
}

impl From<CountedReceipt> for Counted {
    fn from(receipt: CountedReceipt) -> Self {
        let counted_as = match receipt.source {
            0 => "counted",
            1 => "retried",
            2 => "unparked",
            3 => "resolved",
            _ => "voided",
        };
        Self {
            entry: receipt.entry,
            receipt_id: receipt.receipt_id,
            brand: receipt.brand_id,
            counted_as: counted_as.to_owned(),
            usage_day: receipt.usage_day,
            predicate: receipt.predicate,
            supplier: receipt.supplier,
            product: receipt.product,
            result: receipt.result,
            verified_at: receipt.verified_at,
            epoch: receipt.epoch,
            sequence: receipt.sequence,
        }
    }
}

impl Counted {
    /// The columns of a receipt as CSV.
    pub const COLUMNS: [&str; 12] = [
        "entry",
        "receipt_id",
        "brand",
        "counted_as",
        "usage_day",
        "predicate",
        "supplier",
        "product",
        "result",
        "verified_at",
        "epoch",
        "sequence",
    ];

    /// What it has in each of these columns.
    pub fn fields(&self) -> [Field; 12] {
        let time = self.verified_at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        [
            Field::plain(self.entry),
            Field::text(&self.receipt_id),
            Field::text(&self.brand),
            Field::plain(&self.counted_as),
            Field::plain(self.usage_day),
            Field::text(&self.predicate),
            Field::text_or_none(self.supplier.as_deref()),
            Field::text_or_none(self.product.as_deref()),
            Field::plain_or_none(self.result),
            Field::plain(time),
            Field::plain(self.epoch),
            Field::plain(self.sequence),
        ]
    }
}

/// A later sight of a receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeenAgain {
    /// `duplicate`, `conflict`, `rejected` or `parked`.
    #[schema(example = "duplicate")]
    seen_as: String,
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    #[schema(example = 1)]
    epoch: i32,
    #[schema(example = 120_455)]
    sequence: i64,
}

impl From<Sighting> for SeenAgain {
    fn from(sighting: Sighting) -> Self {
        Self {
            seen_as: sighting.kind,
            brand: sighting.brand_id,
            epoch: sighting.epoch,
            sequence: sighting.sequence,
        }
    }
}

/// A document whose evidence has an entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct BilledOn {
    #[schema(example = 120_007)]
    entry: i64,
    #[schema(example = 7)]
    document_no: i64,
    #[schema(example = "INV-2026-000123")]
    number: Option<String>,
    /// `finalized`, `voided` or `cancelled`.
    #[schema(example = "finalized")]
    state: String,
    #[schema(example = "2026-03-01")]
    period_start: NaiveDate,
    #[schema(example = "2026-04-01")]
    period_end: NaiveDate,
    /// The line that it is behind; null with `no_line_because`.
    #[schema(example = 2)]
    line: Option<i32>,
    /// What the line charges for, by the plan version on the document; null if no charge takes it.
    #[schema(example = "charge:1")]
    charge: Option<String>,
    #[schema(example = "Certificates")]
    label: Option<String>,
    /// `unpriced`, if no charge of the plan takes it, or `nothing_charged`, if the charge came to no line.
    #[schema(example = json!(null))]
    no_line_because: Option<String>,
}

impl From<OnDocument> for BilledOn {
    fn from(on: OnDocument) -> Self {
        let no_line = match (on.line, on.charge) {
            (Some(_), _) => None,
            (None, Some(_)) => Some("nothing_charged"),
            (None, None) => Some("unpriced"),
        };
        Self {
            entry: on.entry,
            document_no: on.document_no,
            number: on.number,
            state: on.state,
            period_start: on.period_start,
            period_end: on.period_end,
            line: on.line,
            charge: on.charge.map(|charge| charge.to_string()),
            label: on.label,
            no_line_because: no_line.map(str::to_owned),
        }
    }
}

/// An entry that no document bills which stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotBilled {
    #[schema(example = 120_007)]
    entry: i64,
    /// `not_invoiced`: its period runs, or waits for its document; `waived`; or `no_plan`: its day has neither.
    #[schema(example = "not_invoiced")]
    because: String,
}

/// What became of a receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    #[schema(example = "rcpt-7f3a")]
    receipt_id: String,
    /// Its entries, one for each brand that it was counted for, and those that took one back.
    entries: Vec<Counted>,
    /// The documents that they are on, and the line of each; null for who does not read what is billed.
    documents: Option<Vec<BilledOn>>,
    /// Those that are on no document that stands, and why; null for who does not read what is billed.
    not_billed: Option<Vec<NotBilled>>,
    /// Where it was seen again: the first 20.
    seen_again: Vec<SeenAgain>,
}

impl From<billed_on::Unbilled> for NotBilled {
    fn from(unbilled: billed_on::Unbilled) -> Self {
        Self { entry: unbilled.entry, because: unbilled.because }
    }
}

fn no_receipt(receipt_id: &str) -> Problem {
    let shown: String = receipt_id.chars().take(128).collect();
    Problem::not_found(format!("receipt {shown}"))
}

/// What became of a receipt: was it counted, for whom, and on which line of which document, or why on none.
#[utoipa::path(get, path = "/v1/receipts/{receipt_id}", tag = "receipts",
    params(("receipt_id" = String, Path, example = "rcpt-7f3a")),
    responses((status = 200, description = "It", body = Receipt)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path(receipt_id): Path<String>,
) -> Result<Json<Receipt>, Problem> {
    let known = api.inner.counted.find(caller.brand_no(), &receipt_id);
    let mut snapshot = api.read(&caller).await?;
    let entries = finding::receipts(&mut snapshot, known, caller.brand_no(), &receipt_id).await?;
    let again =
        ledger::sightings(&mut *snapshot, caller.brand_no(), &receipt_id, SIGHTINGS_MAX).await?;
    if entries.is_empty() && again.is_empty() {
        return Err(no_receipt(&receipt_id));
    }
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.entry).collect();
    let (mut documents, mut unbilled) = (None, None);
    if caller.reads_books() {
        documents = Some(billed_on::documents(&mut snapshot, &numbers).await?);
        unbilled = Some(billed_on::unbilled(&mut snapshot, &numbers).await?);
    }
    drop(snapshot);
    Ok(Json(Receipt {
        receipt_id,
        entries: entries.into_iter().map(Counted::from).collect(),
        documents: documents.map(|rows| rows.into_iter().map(BilledOn::from).collect()),
        not_billed: unbilled.map(|rows| rows.into_iter().map(NotBilled::from).collect()),
        seen_again: again.into_iter().map(SeenAgain::from).collect(),
    }))
}

/// On which document it is to be proved.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct On {
    /// Its number; without it the newest that stands and has the receipt.
    #[param(example = "INV-2026-000123")]
    document: Option<String>,
}

/// The proof that a document counts a receipt, as `prooftally proofs check` reads it with the document's
/// bytes and nothing else.
#[utoipa::path(get, path = "/v1/brands/{brand}/receipts/{receipt_id}/proof", tag = "receipts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("receipt_id" = String, Path, example = "rcpt-7f3a"), On),
    responses((status = 200, description = "The proof", body = Object)))]
pub async fn proof(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, receipt_id)): Path<(String, String)>,
    Query(on): Query<On>,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    let found =
        proving::prove_in(&mut snapshot, &brand, &receipt_id, on.document.as_deref()).await?;
    drop(snapshot);
    let found = found.map_err(|why| {
        tracing::debug!(%why, "no proof of a receipt");
        no_receipt(&receipt_id)
    })?;
    let text = found.proof.to_text().map_err(|error| Problem::internal(&error))?;
    serde_json::from_str(&text).map(Json).map_err(|error| Problem::internal(&error))
}
