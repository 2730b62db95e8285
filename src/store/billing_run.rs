//! A billing run: looks at brands, one after the other and none in another's way, keeps their drafts and
//! issues what may be issued.

use std::collections::{BTreeMap, BTreeSet};

use billing::hash::Hash;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgPool};

use super::brands::{self, Brand};
use super::due::{self, Candidate, Known, Terms};
use super::issue::{self, Approval, Issued, Refused};
use super::{Error, Store};

/// What could be issued for a brand, or why that cannot be said.
pub type Looked = (Brand, Result<Vec<Candidate>, Error>);

/// Says of a candidate that it is to be issued.
pub type Issues<'a> = &'a (dyn Fn(&Candidate) -> bool + Sync);

/// Looks at one brand, or at all in one snapshot. Of the candidates that `issues` names the evidence is
/// built, and it is proved that nothing is counted twice; without it they are only to be shown.
///
/// # Errors
/// If the database is away. What is wrong with a brand is said of that brand alone.
pub async fn look(
    store: &Store,
    terms: &Terms,
    brand_no: Option<i32>,
    now: DateTime<Utc>,
    issues: Option<Issues<'_>>,
) -> Result<Vec<Looked>, Error> {
    match look_at(store, terms, brand_no, now, issues).await {
        Err(Error::Corrupt(_) | Error::Refused(_)) if brand_no.is_none() => {}
        looked => return looked,
    }
    // Something of some brand cannot be read: each is looked at alone.
    let mut found = Vec::new();
    for brand in brands::all(&store.pool).await? {
        match look_at(store, terms, Some(brand.no), now, issues).await {
            Ok(looked) => found.extend(looked),
            Err(error @ (Error::Corrupt(_) | Error::Refused(_))) => found.push((brand, Err(error))),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn look_at(
    store: &Store,
    terms: &Terms,
    brand_no: Option<i32>,
    now: DateTime<Utc>,
    issues: Option<Issues<'_>>,
) -> Result<Vec<Looked>, Error> {
    let mut snapshot =
        store.pool.begin_with("begin isolation level repeatable read read only").await?;
    let mut known = Known::read(&mut snapshot, brand_no, issues.is_some()).await?;
    known.read_usage(&mut snapshot, now).await?;
    let mut found = Vec::with_capacity(known.brands.len());
    for brand in &known.brands {
        match due::candidates(&mut snapshot, &known, terms, brand, now).await {
            Ok(candidates) => found.push((brand.clone(), Ok(candidates))),
            Err(error @ Error::Corrupt(_)) => found.push((brand.clone(), Err(error))),
            Err(error) => return Err(error),
        }
    }
    if let Some(issues) = issues {
        add_evidence(&mut snapshot, &mut found, issues).await?;
    }
    snapshot.rollback().await?;
    Ok(found)
}

async fn add_evidence(
    snapshot: &mut PgConnection,
    found: &mut [Looked],
    issues: Issues<'_>,
) -> Result<(), Error> {
    let all = found.iter_mut().filter_map(|(_, candidates)| candidates.as_mut().ok()).flatten();
    let mut wanted: Vec<&mut Candidate> = all.filter(|candidate| issues(candidate)).collect();
    due::add_evidence(snapshot, &mut wanted).await
}

/// Which documents a run issues.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Of this brand only.
    pub brand_no: Option<i32>,
    /// Only of periods that have this day, and no adjustments. `None` for all that is due.
    pub day: Option<NaiveDate>,
    /// Only what a person has seen; periods that are due after those are left for another run.
    pub approval: Option<RunApproval>,
}

/// What a person approves of a run as a whole. What is `None` is not looked at.
#[derive(Clone, Debug, Default)]
pub struct RunApproval {
    pub etag: Option<Hash>,
    /// How many documents.
    pub count: Option<u64>,
    /// Their sum, tax included. Documents of two currencies have none.
    pub total: Option<Decimal>,
}

/// What is due, in short: what a person approves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub count: u64,
    /// By currency, tax included, credits below zero.
    pub totals: BTreeMap<&'static str, Decimal>,
    /// Names the documents; it is another one as soon as one of them is.
    pub etag: Hash,
}

impl Summary {
    pub fn of(ready: &[Candidate]) -> Self {
        let mut totals: BTreeMap<&'static str, Decimal> = BTreeMap::new();
        for document in ready.iter().filter_map(|one| one.document.as_ref()) {
            let signed = document.total * Decimal::from(document.sign());
            *totals.entry(document.currency.code()).or_default() += signed;
        }
        let etags: BTreeSet<Hash> = ready.iter().filter_map(Candidate::etag).collect();
        let parts: Vec<&[u8]> = etags.iter().map(|etag| etag.as_bytes().as_slice()).collect();
        Self { count: ready.len() as u64, totals, etag: Hash::of(&parts) }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, totals, etag } = self;
        let sums: Vec<String> =
            totals.iter().map(|(currency, sum)| format!("{sum} {currency}")).collect();
        let sums = if sums.is_empty() { "nothing".to_owned() } else { sums.join(" and ") };
        write!(f, "{count} documents of {sums}, etag {etag}")
    }
}

/// A run that issues nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotApproved {
    #[error("what was approved has changed: due are now {0}; look at them again")]
    Changed(Summary),
    #[error(transparent)]
    Store(#[from] Error),
}

impl RunApproval {
    /// The etags of what is approved.
    fn check(&self, ready: &[Candidate]) -> Result<BTreeSet<Hash>, NotApproved> {
        let now = Summary::of(ready);
        let sum = match now.totals.values().collect::<Vec<_>>()[..] {
            [] => Some(Decimal::ZERO),
            [sum] => Some(*sum),
            _ => None,
        };
        let is_same = self.etag.is_none_or(|etag| etag == now.etag)
            && self.count.is_none_or(|count| count == now.count)
            && self.total.is_none_or(|total| Some(total) == sum);
        if !is_same {
            return Err(NotApproved::Changed(now));
        }
        Ok(ready.iter().filter_map(Candidate::etag).collect())
    }
}

impl Which {
    fn has(&self, candidate: &Candidate) -> bool {
        self.day.is_none_or(|day| candidate.slot.is_some_and(|slot| slot.period.contains(day)))
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Done {
    pub issued: Vec<(Brand, Issued)>,
    pub refused: Vec<(Brand, Refused)>,
}

/// Documents that share a transaction: enough that what each of them costs alone does not count, and few
/// enough that nobody waits long for a number.
const TOGETHER_MAX: usize = 250;

/// Issues everything that `which` names and nothing speaks against, oldest periods first. `progress` is
/// told how many of how many were tried.
///
/// # Errors
/// If the database is away; what was issued by then stays. [`NotApproved`] if something else is due than
/// what was approved, and then nothing is issued.
pub async fn issue_all(
    store: &Store,
    terms: &Terms,
    which: &Which,
    now: DateTime<Utc>,
    by: &str,
    mut progress: impl FnMut(u64, u64),
) -> Result<Done, NotApproved> {
    let mut done = Done::default();
    let mut approved: Option<BTreeSet<Hash>> = None;
    loop {
        let may = |one: &Candidate| which.has(one) && one.decide().is_ok();
        let found = look(store, terms, which.brand_no, now, Some(&may)).await?;
        let Ready { mut ready, mut refused } = Ready::of(found, which);
        if let Some(approval) = &which.approval {
            let approved = match &approved {
                Some(approved) => approved,
                None => approved.insert(approval.check(&ready)?),
            };
            // What has become another document since the first look waits for another approval.
            ready.retain(|one| one.etag().is_some_and(|etag| approved.contains(&etag)));
        }
        let (total, before) = (ready.len() as u64, done.issued.len());
        let mut tried = 0;
        for together in together(&ready) {
            for (candidate, issued) in issue(store, terms, &together, now, by).await? {
                tried += 1;
                match issued {
                    Ok(issued) => done.issued.push((candidate.brand.clone(), issued)),
                    Err(why) => refused.push((candidate.brand.clone(), why)),
                }
            }
            progress(tried, total);
        }
        // Another look finds the periods after those that were issued, and what has moved meanwhile.
        if done.issued.len() == before {
            done.refused = refused;
            return Ok(done);
        }
    }
}

/// What a look has found, by whether it can be issued.
#[derive(Debug, Default)]
pub struct Ready {
    pub ready: Vec<Candidate>,
    pub refused: Vec<(Brand, Refused)>,
}

impl Ready {
    /// Of what `which` names.
    pub fn of(found: Vec<Looked>, which: &Which) -> Self {
        let mut this = Self::default();
        for (brand, candidates) in found {
            let candidates = match candidates {
                Ok(candidates) => candidates,
                Err(error) => {
                    this.refused.push((brand, Refused::Store(error)));
                    continue;
                }
            };
            for candidate in candidates.into_iter().filter(|one| which.has(one)) {
                match candidate.decide() {
                    Ok(_) => this.ready.push(candidate),
                    Err(blocked) => this.refused.push((brand.clone(), blocked.into())),
                }
            }
        }
        this
    }
}

/// The candidates in groups of different brands.
fn together(ready: &[Candidate]) -> Vec<Vec<&Candidate>> {
    let mut groups: Vec<Vec<&Candidate>> = Vec::new();
    // Candidates of a brand stand side by side: the n-th of each brand goes into the n-th layer.
    let mut layers: Vec<Vec<&Candidate>> = Vec::new();
    for of_brand in ready.chunk_by(|one, other| one.brand.no == other.brand.no) {
        for (layer, candidate) in of_brand.iter().enumerate() {
            if layers.len() == layer {
                layers.push(Vec::new());
            }
            layers[layer].push(candidate);
        }
    }
    for layer in layers {
        groups.extend(layer.chunks(TOGETHER_MAX).map(<[_]>::to_vec));
    }
    groups
}

type Tried<'a> = Vec<(&'a Candidate, Result<Issued, Refused>)>;

/// Issues candidates of different brands in one transaction; if the database refuses that, each in one of
/// its own, so that nobody's trouble is another's.
async fn issue<'a>(
    store: &Store,
    terms: &Terms,
    candidates: &[&'a Candidate],
    now: DateTime<Utc>,
    by: &str,
) -> Result<Tried<'a>, Error> {
    let (pool, issuers) = (&store.pool, &terms.issuers);
    match issue::finalize_many(pool, issuers, candidates, now, by).await {
        Ok(issued) => return Ok(candidates.iter().copied().zip(issued).collect()),
        Err(Refused::Store(error @ Error::Unavailable(_))) if candidates.len() == 1 => {
            return Err(error);
        }
        Err(why) if candidates.len() == 1 => return Ok(vec![(candidates[0], Err(why))]),
        Err(_) => {}
    }
    let mut tried = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let issued = issue::finalize(pool, issuers, candidate, &Approval::default(), now, by).await;
        match issued {
            Err(Refused::Store(error @ Error::Unavailable(_))) => return Err(error),
            issued => tried.push((*candidate, issued)),
        }
    }
    Ok(tried)
}

/// Keeps the candidates as drafts: new and changed ones are written, and those that are no longer due
/// dropped. The answer is how many rows were touched.
///
/// # Errors
/// If the database is away.
pub async fn keep_drafts(pool: &PgPool, looked: &[Looked]) -> Result<u64, Error> {
    type Key = (i32, Option<NaiveDate>, String);
    type Row = (i64, i32, Option<NaiveDate>, String, Vec<u8>);
    let rows: Vec<Row> =
        sqlx::query_as("select draft_no, brand_no, period_start, currency, etag from draft")
            .fetch_all(pool)
            .await?;
    let mut kept: BTreeMap<Key, (i64, Vec<u8>)> = rows
        .into_iter()
        .map(|(no, brand, start, currency, etag)| ((brand, start, currency), (no, etag)))
        .collect();
    let mut touched = 0;
    for (brand, candidates) in looked {
        let Ok(candidates) = candidates else {
            // What cannot be computed now stays as it was computed last.
            kept.retain(|(of, ..), _| *of != brand.no);
            continue;
        };
        for candidate in candidates {
            let (Some(document), Some(etag)) = (&candidate.document, candidate.etag()) else {
                continue;
            };
            let start = candidate.slot.map(|slot| slot.period.start());
            let key = (brand.no, start, document.currency.code().to_owned());
            if kept.remove(&key).is_some_and(|(_, before)| before == etag.as_bytes()) {
                continue;
            }
            write(pool, candidate, etag).await?;
            touched += 1;
        }
    }
    let looked_at: Vec<i32> = looked.iter().map(|(brand, _)| brand.no).collect();
    let gone: Vec<i64> = kept
        .into_iter()
        .filter(|((brand, ..), _)| looked_at.contains(brand))
        .map(|(_, (no, _))| no)
        .collect();
    if !gone.is_empty() {
        let deleted = sqlx::query("delete from draft where draft_no = any($1)")
            .bind(gone)
            .execute(pool)
            .await?;
        touched += deleted.rows_affected();
    }
    Ok(touched)
}

async fn write(pool: &PgPool, candidate: &Candidate, etag: Hash) -> Result<(), Error> {
    let Some(document) = &candidate.document else { return Ok(()) };
    let body = document.to_bytes().map_err(|error| Error::Corrupt(format!("a draft: {error}")))?;
    let kind = match document.kind {
        billing::document::Kind::Invoice => "invoice",
        billing::document::Kind::CreditNote => "credit_note",
        billing::document::Kind::Adjustment => "adjustment",
    };
    sqlx::query(
        "insert into draft (brand_no, period_start, period_end, currency, kind, body, etag, \
            net_total, total, cutoff, billing_version) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         on conflict (brand_no, period_start, currency) do update set \
            period_end = excluded.period_end, kind = excluded.kind, body = excluded.body, \
            etag = excluded.etag, net_total = excluded.net_total, total = excluded.total, \
            cutoff = excluded.cutoff, billing_version = excluded.billing_version, \
            computed_at = now()",
    )
    .bind(candidate.brand.no)
    .bind(candidate.slot.map(|slot| slot.period.start()))
    .bind(candidate.slot.map(|slot| slot.period.end()))
    .bind(document.currency.code())
    .bind(kind)
    .bind(body)
    .bind(etag.as_bytes().as_slice())
    .bind(document.net_total)
    .bind(document.total)
    .bind(candidate.cutoff)
    .bind(candidate.billing_version)
    .execute(pool)
    .await?;
    Ok(())
}
