//! Drafts: the document of a brand's period, or its adjustment, before it is issued. Each answer is computed
//! anew, so what is shown is what would be issued now.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use billing::completeness::Finding;
use billing::document::Document;
use billing::hash::Hash;
use chrono::{NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::form::{self, Because, Reason};
use super::holds::{self, BillingHold};
use super::invoices::{Invoice, named_document};
use super::lines::{ChargeLine, TaxShare};
use super::page::{Body, BodyOrNone, Path};
use super::problem::{Kind, Problem};
use crate::store::brands::Brand;
use crate::store::documents;
use crate::store::drafts::{self, Named, NewAnswer};
use crate::store::due::Candidate;
use crate::store::issue::Approval;

/// A document that is not issued yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Draft {
    #[schema(example = "brand-acme")]
    brand: String,
    /// Its address: the first day of its period, or `adjustment`.
    #[schema(example = "2026-09-01")]
    period: String,
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    /// The day after the last.
    #[schema(example = "2026-10-01")]
    period_end: Option<NaiveDate>,
    /// `ready`, or `blocked` by reasons that nobody has answered for.
    #[schema(example = "ready")]
    state: String,
    /// `invoice`, `adjustment` or `credit_note`; null while a party, the plan or the tax is not known, as are
    /// lines and totals then.
    #[schema(example = "invoice")]
    kind: Option<String>,
    #[schema(example = "EUR")]
    currency: Option<String>,
    lines: Vec<ChargeLine>,
    taxes: Vec<TaxShare>,
    #[schema(example = "34.00")]
    net_total: Option<Exact>,
    #[schema(example = "6.46")]
    tax_total: Option<Exact>,
    #[schema(example = "40.46")]
    total: Option<Exact>,
    /// Names what is approved: all of the document but its dates and its evidence. It is in the header too.
    #[schema(example = "5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f")]
    etag: Option<String>,
    /// The last entry of the ledger that it has seen.
    #[schema(example = 10423)]
    cutoff: i64,
    /// What speaks against issuing it.
    reasons: Vec<Against>,
    /// What its state lets be done: `finalize`, `refresh`, `hold`, `override`.
    #[schema(example = json!(["refresh", "finalize", "hold"]))]
    available_actions: Vec<String>,
}

/// A reason against issuing a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Against {
    #[schema(example = "conflicts")]
    reason: String,
    /// What it is, and what to do about it.
    #[schema(
        example = "brand-acme has 1 open conflicts; resolve them: `prooftally conflicts list`"
    )]
    detail: String,
    #[schema(example = true)]
    can_be_overridden: bool,
    /// Who has answered for all of it. What came after an answer speaks against the document again.
    #[schema(example = "key 3 (finance lead)")]
    overridden_by: Option<String>,
    /// Names the cases that it is about, for who answers for them; null if nobody can.
    #[schema(example = "0d4e1c7b9a2f8e3d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3928170615")]
    cases: Option<String>,
}

impl Against {
    /// Whether it has this name.
    pub fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }
}

/// The reasons against a document, with who has answered for them.
pub fn reasons(candidate: &Candidate) -> Vec<Against> {
    let reason = |finding: &Finding| {
        let can_be_overridden = finding.reason.can_be_overridden();
        Against {
            reason: finding.reason.as_str().to_owned(),
            detail: finding.message.clone(),
            can_be_overridden,
            overridden_by: candidate.answered(finding).map(|said| said.by.clone()),
            cases: can_be_overridden.then(|| finding.cases.digest().to_string()),
        }
    };
    candidate.findings.iter().map(reason).collect()
}

/// The address of a document that is due, within its brand.
pub fn address(candidate: &Candidate) -> String {
    address_of(candidate.slot.map(|slot| slot.period.start()))
}

/// The address of the document of the period that begins on this day; of an adjustment without it.
pub fn address_of(period_start: Option<NaiveDate>) -> String {
    period_start.map_or_else(|| "adjustment".to_owned(), |start| start.to_string())
}

/// What a draft's address names.
pub fn named(address: &str) -> Option<Named> {
    match address {
        "adjustment" => Some(Named::Adjustment),
        day => form::day(day).map(Named::Start),
    }
}

/// Whether a document could be issued now: `ready` or `blocked`.
pub fn state(candidate: &Candidate) -> &'static str {
    if candidate.decide().is_ok() { "ready" } else { "blocked" }
}

/// An amount of a document.
pub fn in_its_currency(document: &Document, amount: Decimal) -> Exact {
    Exact::money(amount, document.currency.code())
}

/// The kind of a document in words.
pub fn kind(document: &Document) -> &'static str {
    match document.kind {
        billing::document::Kind::Invoice => "invoice",
        billing::document::Kind::Adjustment => "adjustment",
        billing::document::Kind::CreditNote => "credit_note",
    }
}

impl Draft {
    fn of(candidate: &Candidate) -> Self {
        let document = candidate.document.as_ref();
        let (reasons, state) = (reasons(candidate), state(candidate));
        let has_open =
            reasons.iter().any(|one| one.can_be_overridden && one.overridden_by.is_none());
        let may = [
            ("refresh", true),
            ("finalize", state == "ready" && document.is_some()),
            ("hold", candidate.slot.is_some()),
            ("override", candidate.slot.is_some() && has_open),
        ];
        Self {
            brand: candidate.brand.id.as_str().to_owned(),
            period: address(candidate),
            period_start: candidate.slot.map(|slot| slot.period.start()),
            period_end: candidate.slot.map(|slot| slot.period.end()),
            state: state.to_owned(),
            kind: document.map(|document| kind(document).to_owned()),
            currency: candidate.currency.map(|currency| currency.code().to_owned()),
            lines: document.map(ChargeLine::all_of).unwrap_or_default(),
            taxes: document.map(TaxShare::all_of).unwrap_or_default(),
            net_total: document.map(|document| in_its_currency(document, document.net_total)),
            tax_total: document.map(|document| in_its_currency(document, document.tax_total)),
            total: document.map(|document| in_its_currency(document, document.total)),
            etag: candidate.etag().map(|etag| etag.to_string()),
            cutoff: candidate.cutoff,
            reasons,
            available_actions: may
                .into_iter()
                .filter(|(_, may)| *may)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }

    fn answer(candidate: &Candidate) -> Response {
        let draft = Self::of(candidate);
        match &draft.etag {
            Some(etag) => ([(header::ETAG, format!("\"{etag}\""))], Json(draft)).into_response(),
            None => Json(draft).into_response(),
        }
    }
}

fn no_draft(brand: &Brand, address: &str) -> Problem {
    let shown: String = address.chars().take(20).collect();
    Problem::not_found(format!("draft of {} for {shown}: nothing is due there", brand.id))
}

/// The brand, and what is named of it.
async fn addressed(
    api: &Api,
    caller: &Caller,
    brand: &str,
    address: &str,
) -> Result<(Brand, Named), Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    drop(snapshot);
    let named = named(address).ok_or_else(|| no_draft(&brand, address))?;
    Ok((brand, named))
}

async fn look(
    api: &Api,
    caller: &Caller,
    brand: &Brand,
    named: Named,
) -> Result<Option<Candidate>, Problem> {
    let mut snapshot = api.read(caller).await?;
    let terms = &api.config().terms;
    let found = drafts::find(&mut snapshot, terms, brand, named, Utc::now()).await?;
    drop(snapshot);
    Ok(found)
}

/// A draft, computed now: lines, totals, and what speaks against issuing it.
///
/// A draft's address stays what it is: the brand, and the first day of the period, or `adjustment` for what
/// changed in billed periods and fits no invoice. Nothing is written.
#[utoipa::path(get, path = "/v1/brands/{brand}/drafts/{period}", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "The first day of its period, or `adjustment`",
            example = "2026-09-01")),
    responses((status = 200, description = "It; its `ETag` names what is approved", body = Draft)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (brand, named) = addressed(&api, &caller, &brand, &period).await?;
    let found = look(&api, &caller, &brand, named).await?;
    found.as_ref().map(Draft::answer).ok_or_else(|| no_draft(&brand, &period))
}

/// Computes the brand's drafts anew and keeps them, as the engine does every minute.
#[utoipa::path(post, path = "/v1/brands/{brand}/drafts/{period}/refresh", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "The first day of its period, or `adjustment`",
            example = "2026-09-01")),
    responses((status = 200, description = "The draft", body = Draft)))]
pub async fn refresh(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (brand, named) = addressed(&api, &caller, &brand, &period).await?;
    let terms = &api.config().terms;
    let found = drafts::refresh(api.store(), terms, &brand, named, Utc::now()).await?;
    found.as_ref().map(Draft::answer).ok_or_else(|| no_draft(&brand, &period))
}

/// What is approved, if the header `If-Match` does not say it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finalization {
    /// The total that the document must have, tax included.
    #[schema(example = "40.46")]
    expected_total: Option<Exact>,
}

/// Issues the draft's document, if it is what was approved: the draft's `ETag` in `If-Match`, or its
/// `expected_total`, or both.
///
/// It is computed anew in one snapshot. `changed-meanwhile` says that it is no longer what was approved,
/// `blocked` lists what speaks against it, `refused` names the document that the period has already.
#[utoipa::path(post, path = "/v1/brands/{brand}/drafts/{period}/finalize", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "The first day of its period, or `adjustment`",
            example = "2026-09-01"),
        ("If-Match" = Option<String>, Header, description = "The draft's `ETag`",
            example = "\"5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f\"")),
    request_body = Option<Finalization>,
    responses((status = 201, description = "The document", body = Invoice)))]
pub async fn finalize(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
    headers: HeaderMap,
    BodyOrNone(said): BodyOrNone<Finalization>,
) -> Result<Response, Problem> {
    let total = said.expected_total.as_ref().map(Exact::decimal).transpose()?;
    let approval = Approval { etag: if_match(&headers)?, total };
    if approval.etag.is_none() && approval.total.is_none() {
        let detail = "say what was approved: the draft's ETag in If-Match, or its expected_total";
        return Err(Problem::new(Kind::IfMatchRequired, detail));
    }
    let (brand, named) = addressed(&api, &caller, &brand, &period).await?;
    let (store, terms) = (api.store(), &api.config().terms);
    let issued = drafts::finalize(store, terms, &brand, named, &approval, &caller.name).await?;
    let Some(issued) = issued else {
        return Err(not_due(&api, &brand, named, &period).await?);
    };
    let name = issued.number.unwrap_or_else(|| issued.document_no.to_string());
    let invoice = named_document(&api, &caller, &name).await?;
    let location = [(header::LOCATION, format!("/v1/invoices/{name}"))];
    Ok((StatusCode::CREATED, location, Json(invoice)).into_response())
}

/// Why there is nothing to be issued.
async fn not_due(
    api: &Api,
    brand: &Brand,
    named: Named,
    address: &str,
) -> Result<Problem, Problem> {
    if let Named::Start(start) = named {
        let pool = &api.store().pool;
        let invoiced = documents::invoiced(pool, Some(brand.no), Some(start), None, 1).await?.pop();
        if let Some(one) = invoiced.filter(|one| one.period_start == start) {
            let name = one.number.unwrap_or_else(|| one.document_no.to_string());
            let detail = format!("the period from {start} of {} is invoiced by {name}", brand.id);
            return Ok(Problem::refused(detail));
        }
    }
    Ok(no_draft(brand, address))
}

/// What the header `If-Match` approves.
///
/// # Errors
/// If it is not one `ETag` of a draft.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Hash>, Problem> {
    let Some(tag) = form::if_match(headers)? else { return Ok(None) };
    Hash::parse(tag).map(Some).ok_or_else(|| {
        let detail =
            "If-Match has one ETag as it was given: 64 hexadecimal digits in double quotes";
        Problem::new(Kind::InvalidHeader, detail)
    })
}

/// A reason that somebody answers for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOverride {
    /// Its name, as the draft gives it.
    #[schema(example = "conflicts")]
    reason: String,
    because: Reason,
    /// The `cases` of the reason that were seen: if there are others by now, nothing is answered for.
    #[serde(default)]
    #[schema(example = "0d4e1c7b9a2f8e3d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3928170615")]
    cases: Option<String>,
}

/// Answers for a reason that speaks against an invoice, as it is now. Who did and why stands on the document.
///
/// The answer is for the cases that there are: what comes later under the same reason speaks against the invoice
/// again. A reason that does not hold now is `refused`, and `changed-meanwhile` says that there are other cases
/// than those that were sent as `cases`.
#[utoipa::path(post, path = "/v1/brands/{brand}/drafts/{period}/override", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "The first day of its period",
            example = "2026-09-01")),
    request_body = NewOverride,
    responses((status = 200, description = "The draft with it", body = Draft)))]
pub async fn override_reason(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
    Body(new): Body<NewOverride>,
) -> Result<Response, Problem> {
    let (brand, named) = addressed(&api, &caller, &brand, &period).await?;
    let (store, terms, by) = (api.store(), &api.config().terms, &caller.name);
    let reason: String = new.reason.chars().take(64).collect();
    let because = new.because.as_str();
    let seen = new.cases.as_deref().map(|text| {
        let detail = "`cases` is what the draft says of the reason: 64 hexadecimal digits";
        Hash::parse(text).ok_or_else(|| Problem::body(detail))
    });
    let answer = NewAnswer { reason: &reason, seen: seen.transpose()?, because, by };
    let start = drafts::override_reason(store, terms, &brand, named, answer).await?;
    let found = match start {
        Some(_) => look(&api, &caller, &brand, named).await?,
        None => None,
    };
    found.as_ref().map(Draft::answer).ok_or_else(|| no_draft(&brand, &period))
}

/// Puts the invoice of a period on hold: it is not issued until the hold is released.
#[utoipa::path(post, path = "/v1/brands/{brand}/drafts/{period}/hold", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "The first day of its period",
            example = "2026-09-01")),
    request_body = Because,
    responses((status = 201, description = "The hold", body = BillingHold)))]
pub async fn hold(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
    Body(new): Body<Because>,
) -> Result<Response, Problem> {
    let (brand, named) = addressed(&api, &caller, &brand, &period).await?;
    let found = look(&api, &caller, &brand, named).await?;
    let Some(slot) = found.ok_or_else(|| no_draft(&brand, &period))?.slot else {
        return Err(Problem::refused("an adjustment waits with its brand: put that on hold"));
    };
    holds::set(&api, &caller, &brand, Some(slot.period.start()), &new.because).await
}
