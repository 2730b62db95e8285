//! Runs: all documents that nothing speaks against, looked at as a whole and issued as a whole.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::drafts::{address, address_of, if_match, in_its_currency, kind};
use super::form::Day;
use super::page::{BodyOrNone, Query};
use super::problem::{Kind, Problem};
use crate::store::billing_run::{self, NotApproved, NotIssued, Ready, RunApproval, Summary};
use crate::store::due::Candidate;
use crate::store::issue::Refused;
use crate::store::rejections;

/// A run of more documents is refused.
const DOCUMENTS_MAX: u64 = 20_000;
/// As many of each kind are listed; the counts are of all.
const LISTED_MAX: usize = 500;

/// Which documents are meant.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// Only invoices of the period with this day.
    #[param(example = "2026-09-01")]
    day: Option<Day>,
}

/// What a run would issue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Due {
    /// How many documents nothing speaks against.
    #[schema(example = 1)]
    count: u64,
    /// Their sum by currency, tax included; credits count below zero.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"EUR": "40.46"}))]
    totals: BTreeMap<&'static str, Exact>,
    /// Names them; it is in the header `ETag` too, and goes into `If-Match` of the run.
    #[schema(example = "5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f")]
    etag: String,
    /// The first 500 of them, by brand.
    documents: Vec<DueDocument>,
    /// How many something speaks against.
    #[schema(example = 1)]
    blocked_count: usize,
    /// The first 500 of these.
    blocked: Vec<NotDue>,
}

/// A document that a run would issue.
#[derive(Debug, Serialize, ToSchema)]
pub struct DueDocument {
    #[schema(example = "brand-acme")]
    brand: String,
    /// The draft's address: the first day of its period, or `adjustment`.
    #[schema(example = "2026-09-01")]
    period: String,
    #[schema(example = "invoice")]
    kind: String,
    #[schema(example = "EUR")]
    currency: String,
    /// Tax included; below zero for what is given back.
    #[schema(example = "40.46")]
    total: Exact,
    #[schema(example = "5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f")]
    etag: Option<String>,
}

/// A document that is not issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotDue {
    #[schema(example = "brand-acme")]
    brand: String,
    /// The draft's address: the first day of its period, or `adjustment`.
    #[schema(example = "2026-09-01")]
    period: String,
    /// Why.
    reasons: Vec<NotDueReason>,
}

/// Why a document is not issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotDueReason {
    /// A reason's name, as a draft gives it; `refused` or `failed` for what else came between.
    #[schema(example = "conflicts")]
    reason: String,
    #[schema(
        example = "brand-acme has 1 open conflicts; resolve them: `prooftally conflicts list`"
    )]
    detail: String,
}

impl NotDue {
    /// Nothing of a database's own words goes out.
    fn of(not: &NotIssued) -> Self {
        let one =
            |reason: &str, detail: String| vec![NotDueReason { reason: reason.to_owned(), detail }];
        let reasons = match &not.why {
            Refused::Blocked(blocked) => {
                let reason = |finding: &billing::completeness::Finding| NotDueReason {
                    reason: finding.reason.as_str().to_owned(),
                    detail: finding.message.clone(),
                };
                blocked.0.iter().map(reason).collect()
            }
            Refused::Store(error) => {
                tracing::error!(brand = %not.brand.id, %error, "a document could not be issued");
                one("failed", "it is logged; the others are not kept back by it".to_owned())
            }
            refused => one("refused", refused.to_string()),
        };
        let brand = not.brand.id.as_str().to_owned();
        Self { brand, period: address_of(not.period_start), reasons }
    }

    fn list<'a>(all: impl Iterator<Item = &'a NotIssued>) -> (usize, Vec<Self>) {
        let all: Vec<&NotIssued> = all.collect();
        (all.len(), all.iter().take(LISTED_MAX).map(|one| Self::of(one)).collect())
    }
}

fn is_blocked(not: &NotIssued) -> bool {
    matches!(not.why, Refused::Blocked(_))
}

impl DueDocument {
    fn of(candidate: &Candidate) -> Option<Self> {
        let document = candidate.document.as_ref()?;
        Some(Self {
            brand: candidate.brand.id.as_str().to_owned(),
            period: address(candidate),
            kind: kind(document).to_owned(),
            currency: document.currency.code().to_owned(),
            total: in_its_currency(document, document.total * Decimal::from(document.sign())),
            etag: candidate.etag().map(|etag| etag.to_string()),
        })
    }
}

fn totals(summary: &Summary) -> BTreeMap<&'static str, Exact> {
    let exact = |(code, sum): (&&'static str, &Decimal)| (*code, Exact::money(*sum, code));
    summary.totals.iter().map(exact).collect()
}

async fn run_of(api: &Api, caller: &Caller, which: &Which) -> Result<billing_run::Which, Problem> {
    let mut brand_no = None;
    if let Some(brand) = &which.brand {
        let mut snapshot = api.read(caller).await?;
        brand_no = Some(known(&mut snapshot, caller, brand).await?.no);
        drop(snapshot);
    }
    let day = which.day.map(|day| day.0);
    Ok(billing_run::Which {
        brand_no,
        day,
        documents_max: Some(DOCUMENTS_MAX),
        ..Default::default()
    })
}

/// What a run would issue now, and what speaks against the rest: what is approved for
/// `POST /v1/invoices/finalize`.
#[utoipa::path(get, path = "/v1/invoices/due", tag = "drafts", params(Which),
    responses((status = 200, description = "It; its `ETag` names what is approved", body = Due)))]
pub async fn due(
    State(api): State<Api>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let which = run_of(&api, &caller, &which).await?;
    let mut snapshot = api.read(&caller).await?;
    let (terms, now) = (&api.config().terms, Utc::now());
    let looked = billing_run::look_in(&mut snapshot, terms, which.brand_no, now, None).await?;
    drop(snapshot);
    let Ready { ready, refused } = Ready::of(looked, &which);
    let summary = Summary::of(&ready);
    let (blocked_count, blocked) = NotDue::list(refused.iter());
    let due = Due {
        count: summary.count,
        totals: totals(&summary),
        etag: summary.etag.to_string(),
        documents: ready.iter().filter_map(DueDocument::of).take(LISTED_MAX).collect(),
        blocked_count,
        blocked,
    };
    Ok(([(header::ETAG, format!("\"{}\"", summary.etag))], Json(due)).into_response())
}

/// Which documents are issued, and what of them is approved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Only of this brand.
    #[schema(example = "brand-acme")]
    brand: Option<String>,
    /// Only invoices of the period with this day.
    #[schema(example = "2026-09-01")]
    day: Option<Day>,
    /// How many documents are expected.
    #[schema(example = 1, minimum = 0)]
    expected_count: Option<u64>,
    /// Their sum, tax included, credits below zero; documents of two currencies have none.
    #[schema(example = "40.46")]
    expected_total: Option<Exact>,
}

/// What a run did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDone {
    #[schema(example = 1)]
    issued_count: usize,
    /// The first 500.
    issued: Vec<IssuedDocument>,
    /// How many something speaks against.
    #[schema(example = 1)]
    blocked_count: usize,
    /// The first 500 of these.
    blocked: Vec<NotDue>,
    /// How many failed by themselves, and kept no other back.
    #[schema(example = 0)]
    failed_count: usize,
    /// The first 500 of these.
    failed: Vec<NotDue>,
    /// Open rejections that name no known brand: they block nobody, and somebody signs them off.
    #[schema(example = 0)]
    rejections_without_brand: i64,
}

/// A document that was issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedDocument {
    #[schema(example = "brand-acme")]
    brand: String,
    #[schema(example = "INV-2026-000123")]
    number: Option<String>,
    #[schema(example = 123)]
    document_no: i64,
    #[schema(example = "40.46")]
    total: Exact,
}

/// Issues all documents that nothing speaks against, if they are what was approved: the `ETag` of
/// `GET /v1/invoices/due` in `If-Match`, or `expected_count` and `expected_total`.
///
/// Something else than what was approved issues nothing. What becomes another document while the run is at
/// work stays a draft. Documents that something speaks against are listed and keep no other back. A run that
/// takes longer than a request may goes on; sent again under its `Idempotency-Key` it is answered when it is
/// done.
#[utoipa::path(post, path = "/v1/invoices/finalize", tag = "drafts",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what is due",
        example = "\"5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f\"")),
    request_body = Option<NewRun>,
    responses((status = 200, description = "What was issued, and what was not", body = RunDone)))]
pub async fn finalize(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    BodyOrNone(new): BodyOrNone<NewRun>,
) -> Result<Json<RunDone>, Problem> {
    let approval = RunApproval {
        etag: if_match(&headers)?,
        count: new.expected_count,
        total: new.expected_total.as_ref().map(Exact::decimal).transpose()?,
    };
    if approval.etag.is_none() && (approval.count.is_none() || approval.total.is_none()) {
        let detail = "say what was approved: the ETag of /v1/invoices/due in If-Match, or \
            expected_count and expected_total";
        return Err(Problem::new(Kind::IfMatchRequired, detail));
    }
    let which = Which { brand: new.brand, day: new.day };
    let which = run_of(&api, &caller, &which).await?;
    let which = billing_run::Which { approval: Some(approval), ..which };
    let (store, terms, now) = (api.store(), &api.config().terms, Utc::now());
    let done = billing_run::issue_all(store, terms, &which, now, &caller.name, |_, _| {}).await;
    let done = done.map_err(|error| match error {
        NotApproved::Store(error) => error.into(),
        changed @ NotApproved::Changed(_) => {
            Problem::new(Kind::ChangedMeanwhile, changed.to_string())
        }
        many @ NotApproved::TooMany { .. } => Problem::refused(many),
    })?;
    let mut snapshot = api.read(&caller).await?;
    let rejections_without_brand = rejections::open_without_brand(&mut *snapshot).await?;
    drop(snapshot);
    let (blocked_count, blocked) = NotDue::list(done.refused.iter().filter(|not| is_blocked(not)));
    let (failed_count, failed) = NotDue::list(done.refused.iter().filter(|not| !is_blocked(not)));
    let issued = done.issued.iter().take(LISTED_MAX).map(|(brand, issued)| IssuedDocument {
        brand: brand.id.as_str().to_owned(),
        number: issued.number.clone(),
        document_no: issued.document_no,
        total: issued.total.into(),
    });
    Ok(Json(RunDone {
        issued_count: done.issued.len(),
        issued: issued.collect(),
        blocked_count,
        blocked,
        failed_count,
        failed,
        rejections_without_brand,
    }))
}
