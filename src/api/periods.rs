//! Periods that have ended: due, with what speaks against their documents, or invoiced.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use billing::completeness::Reason;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::amount::Exact;
use super::brands::known;
use super::caller::Caller;
use super::drafts::{self, Against, address, in_its_currency, named};
use super::form::{self, Day};
use super::page::{At, Listed, Page, Path, Query};
use super::problem::Problem;
use crate::store::billing_run;
use crate::store::brands::{self, Brand, Scope};
use crate::store::documents::{self, InvoicedPeriod};
use crate::store::drafts::Named;
use crate::store::due::Candidate;

/// Most brands that are looked at together.
const BRANDS_MAX: i64 = 1_000;

/// A period that has ended, or what billed periods owe beside one.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedPeriod {
    #[schema(example = "brand-acme")]
    brand: String,
    /// Its address within the brand: the first day, or `adjustment`.
    #[schema(example = "2026-09-01")]
    period: String,
    #[schema(example = "2026-09-01")]
    period_start: Option<NaiveDate>,
    /// The day after the last.
    #[schema(example = "2026-10-01")]
    period_end: Option<NaiveDate>,
    /// `ready`, `blocked` or `invoiced`.
    #[schema(example = "blocked")]
    state: String,
    #[schema(example = "EUR")]
    currency: Option<String>,
    #[schema(example = "34.00")]
    net_total: Option<Exact>,
    #[schema(example = "40.46")]
    total: Option<Exact>,
    /// The invoice that stands: its number, or its `document_no` if it has none.
    #[schema(example = "INV-2026-000123")]
    document: Option<String>,
    /// The draft's.
    #[schema(example = "5f0c2a9d1b7e4c6f8a3d0e9b2c7f4a1d6e8b3c5f7a9d2e4b6c8f0a1d3e5b7c9f")]
    etag: Option<String>,
    /// What speaks against issuing it, answered for or not.
    reasons: Vec<Against>,
}

impl EndedPeriod {
    fn due(candidate: &Candidate) -> Self {
        let document = candidate.document.as_ref();
        Self {
            brand: candidate.brand.id.as_str().to_owned(),
            period: address(candidate),
            period_start: candidate.slot.map(|slot| slot.period.start()),
            period_end: candidate.slot.map(|slot| slot.period.end()),
            state: drafts::state(candidate).to_owned(),
            currency: candidate.currency.map(|currency| currency.code().to_owned()),
            net_total: document.map(|document| in_its_currency(document, document.net_total)),
            total: document.map(|document| in_its_currency(document, document.total)),
            document: None,
            etag: candidate.etag().map(|etag| etag.to_string()),
            reasons: drafts::reasons(candidate),
        }
    }

    fn invoiced(one: InvoicedPeriod) -> Self {
        Self {
            brand: one.brand_id,
            period: one.period_start.to_string(),
            period_start: Some(one.period_start),
            period_end: Some(one.period_end),
            state: "invoiced".to_owned(),
            net_total: Some(Exact::money(one.net_total, &one.currency)),
            total: Some(Exact::money(one.total, &one.currency)),
            currency: Some(one.currency),
            document: Some(one.number.unwrap_or_else(|| one.document_no.to_string())),
            etag: None,
            reasons: Vec::new(),
        }
    }

    /// What pages are ordered by: the address is a day, and `adjustment` comes after all days.
    fn key(&self) -> (&str, &str) {
        (&self.brand, &self.period)
    }
}

/// Which periods are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only of this brand.
    #[param(example = "brand-acme")]
    brand: Option<String>,
    /// `ready`, `blocked` or `invoiced`.
    #[param(example = "blocked")]
    state: Option<String>,
    /// Only the period with this day.
    #[param(example = "2026-09-01")]
    day: Option<Day>,
    /// Only what this reason speaks against; what is none is refused with the list of them.
    #[param(example = "conflicts")]
    reason: Option<String>,
}

/// Periods that have ended, by brand and day: due, with what speaks against their documents, or invoiced.
///
/// What is due is computed now, in one snapshot for a page.
#[utoipa::path(get, path = "/v1/periods", tag = "drafts", params(At, Which),
    responses((status = 200, description = "A page", body = Page<EndedPeriod>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    at: At,
    Query(which): Query<Which>,
) -> Result<Listed<EndedPeriod>, Problem> {
    let state = which.state.as_deref();
    if state.is_some_and(|state| !["ready", "blocked", "invoiced"].contains(&state)) {
        return Err(Problem::query("state is ready, blocked or invoiced"));
    }
    form::one_of("reason", which.reason.as_deref(), &Reason::names()).map_err(Problem::query)?;
    let after: Option<String> = at.after()?;
    let after = after.as_deref().map(place).transpose()?;
    let mut snapshot = api.read(&caller).await?;
    let mut brand_no = None;
    if let Some(brand) = &which.brand {
        brand_no = Some(known(&mut snapshot, &caller, brand).await?.no);
    }
    let mut rows = Vec::new();
    if state.is_none_or(|state| state == "invoiced") && which.reason.is_none() {
        // An adjustment comes after all periods of its brand, so what it stands before is the next one's.
        let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default();
        let after = after.map(|(brand, period)| (brand, form::day(period).unwrap_or(last)));
        let day = which.day.map(|day| day.0);
        let found = documents::invoiced(&mut *snapshot, brand_no, day, after, at.rows()).await?;
        rows.extend(found.into_iter().map(EndedPeriod::invoiced));
    }
    let wanted = |row: &EndedPeriod| {
        let has_day = |day: Day| {
            row.period_start.is_some_and(|start| start <= day.0)
                && row.period_end.is_some_and(|end| day.0 < end)
        };
        let has_reason = |name: &String| row.reasons.iter().any(|one| one.is(name));
        after.is_none_or(|after| row.key() > after)
            && state.is_none_or(|state| row.state == state)
            && which.day.is_none_or(has_day)
            && which.reason.as_ref().is_none_or(has_reason)
    };
    if state.is_none_or(|state| state != "invoiced") {
        let brand = after.map_or(Bound::Unbounded, |(brand, _)| Bound::Included(brand.to_owned()));
        add_due(&api, &mut snapshot, (brand_no, brand), &at, &mut rows, wanted).await?;
    }
    drop(snapshot);
    rows.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok(at.page(rows, |row| format!("{}/{}", row.brand, row.period), |row| row))
}

/// What a page ended with.
fn place(text: &str) -> Result<(&str, &str), Problem> {
    let place = text.split_once('/').filter(|(_, period)| named(period).is_some());
    place.ok_or_else(|| Problem::query("starting_after is not what a page ended with"))
}

/// Adds what is due of one brand or of all from a place on, until there are rows enough for the page. Only as
/// many brands are looked at as that takes: first as many as the page has rows, and more each time, since
/// where few are `wanted` what all brands share would be read again and again.
async fn add_due(
    api: &Api,
    snapshot: &mut PgConnection,
    (brand_no, mut from): (Option<i32>, Bound<String>),
    at: &At,
    rows: &mut Vec<EndedPeriod>,
    wanted: impl Fn(&EndedPeriod) -> bool,
) -> Result<(), Problem> {
    let rows_wanted = usize::try_from(at.rows()).unwrap_or(usize::MAX);
    let mut count = at.limit;
    loop {
        let place = from.as_ref().map(String::as_str);
        let brands = brands::some(&mut *snapshot, brand_no, place, count).await?;
        let Some(last) = brands.last().map(|brand| brand.id.as_str().to_owned()) else { break };
        let numbers = brands.iter().map(|brand| brand.no).collect();
        let found = due(api, snapshot, Scope::these(numbers), brand_no.is_some()).await?;
        rows.extend(found.into_iter().filter(&wanted));
        // What comes of later brands comes after these.
        if rows.iter().filter(|row| row.brand <= last).count() >= rows_wanted {
            break;
        }
        from = Bound::Excluded(last);
        count = (count * 2).min(BRANDS_MAX);
    }
    Ok(())
}

/// What is due of some brands. One whose documents cannot be computed hides no other; if it is the only one
/// that was `asked_for`, it is said.
async fn due(
    api: &Api,
    snapshot: &mut PgConnection,
    scope: Scope,
    asked_for: bool,
) -> Result<Vec<EndedPeriod>, Problem> {
    let (terms, now) = (&api.config().terms, Utc::now());
    let looked = billing_run::look_in(snapshot, terms, scope, now, None).await?;
    let mut rows = Vec::new();
    for (brand, candidates) in looked {
        match candidates {
            Ok(candidates) => rows.extend(candidates.iter().map(EndedPeriod::due)),
            Err(error) if asked_for => return Err(error.into()),
            Err(error) => {
                tracing::error!(brand = %brand.id, %error, "the brand's drafts cannot be computed");
            }
        }
    }
    Ok(rows)
}

/// One period that has ended.
#[utoipa::path(get, path = "/v1/brands/{brand}/periods/{period}", tag = "drafts",
    params(("brand" = String, Path, example = "brand-acme"),
        ("period" = String, Path, description = "Its first day, or `adjustment`",
            example = "2026-09-01")),
    responses((status = 200, description = "It", body = EndedPeriod)))]
pub async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path((brand, period)): Path<(String, String)>,
) -> Result<Json<EndedPeriod>, Problem> {
    let mut snapshot = api.read(&caller).await?;
    let brand = known(&mut snapshot, &caller, &brand).await?;
    let named = named(&period).ok_or_else(|| no_period(&brand, &period))?;
    if let Named::Start(start) = named {
        let found =
            documents::invoiced(&mut *snapshot, Some(brand.no), Some(start), None, 1).await?;
        if let Some(found) = found.into_iter().find(|one| one.period_start == start) {
            return Ok(Json(EndedPeriod::invoiced(found)));
        }
    }
    let rows = due(&api, &mut snapshot, Some(brand.no).into(), true).await?;
    drop(snapshot);
    let found = rows.into_iter().find(|row| row.period == period);
    found.map(Json).ok_or_else(|| no_period(&brand, &period))
}

fn no_period(brand: &Brand, period: &str) -> Problem {
    let shown: String = period.chars().take(20).collect();
    Problem::not_found(format!("period {shown} of {} that has ended", brand.id))
}
