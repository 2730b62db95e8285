//! A billing run: looks at brands, one after the other and none in another's way, and issues what may be
//! issued.

use std::collections::{BTreeMap, BTreeSet};

use billing::hash::Hash;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{Connection as _, PgConnection};

use super::beside::{self, Readers};
use super::brands::{self, Brand, Scope};
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
    let mut snapshot = store.snapshot().await?;
    sqlx::raw_sql(beside::PLANS).execute(&mut *snapshot).await?;
    // All brands are read by two connections. Where there is no second one the look takes longer, and that is all.
    let mut beside = match brand_no {
        Some(_) => None,
        None => beside::open(store, &mut snapshot).await,
    };
    let readers = Readers { snapshot: &mut snapshot, beside: beside.as_mut() };
    let found = look_with(readers, terms, brand_no.into(), now, issues).await;
    if let Some(beside) = beside {
        // It has nothing to lose any more.
        let _ = beside.close().await;
    }
    let found = found?;
    snapshot.rollback().await?;
    Ok(found)
}

/// As [`look`], at all brands or at some, in a snapshot of the caller's.
///
/// # Errors
/// If the database is away, or what all brands share cannot be read.
pub async fn look_in(
    snapshot: &mut PgConnection,
    terms: &Terms,
    scope: impl Into<Scope>,
    now: DateTime<Utc>,
    issues: Option<Issues<'_>>,
) -> Result<Vec<Looked>, Error> {
    look_with(Readers::one(snapshot), terms, scope.into(), now, issues).await
}

async fn look_with(
    mut readers: Readers<'_>,
    terms: &Terms,
    scope: Scope,
    now: DateTime<Utc>,
    issues: Option<Issues<'_>>,
) -> Result<Vec<Looked>, Error> {
    let mut known = Known::read(&mut readers, &scope, issues.is_some()).await?;
    known.read_usage(&mut readers, now).await?;
    let snapshot = readers.snapshot;
    let mut found = Vec::with_capacity(known.brands.len());
    for brand in &known.brands {
        match due::candidates(snapshot, &known, terms, brand, now).await {
            Ok(candidates) => found.push((brand.clone(), Ok(candidates))),
            Err(error @ Error::Corrupt(_)) => found.push((brand.clone(), Err(error))),
            Err(error) => return Err(error),
        }
    }
    if let Some(issues) = issues {
        add_evidence(snapshot, &mut found, issues).await?;
    }
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
    /// A run of more documents is refused as a whole; only with an approval.
    pub documents_max: Option<u64>,
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
    #[error("{count} documents are due, and a run has at most {max}: name a brand or a day")]
    TooMany { count: u64, max: u64 },
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
    pub refused: Vec<NotIssued>,
}

/// A document that was not issued.
#[derive(Debug)]
pub struct NotIssued {
    pub brand: Brand,
    /// The first day of the period that it is the invoice of; `None` for an adjustment, and where the
    /// brand's documents cannot be computed.
    pub period_start: Option<NaiveDate>,
    pub why: Refused,
}

impl NotIssued {
    fn of(candidate: &Candidate, why: Refused) -> Self {
        let period_start = candidate.slot.map(|slot| slot.period.start());
        Self { brand: candidate.brand.clone(), period_start, why }
    }
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
        let (count, max) = (ready.len() as u64, which.documents_max.unwrap_or(u64::MAX));
        if count > max && approved.is_none() {
            return Err(NotApproved::TooMany { count, max });
        }
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
                    Err(why) => refused.push(NotIssued::of(candidate, why)),
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
    pub refused: Vec<NotIssued>,
}

impl Ready {
    /// Of what `which` names.
    pub fn of(found: Vec<Looked>, which: &Which) -> Self {
        let mut this = Self::default();
        for (brand, candidates) in found {
            let candidates = match candidates {
                Ok(candidates) => candidates,
                Err(error) => {
                    let why = Refused::Store(error);
                    this.refused.push(NotIssued { brand, period_start: None, why });
                    continue;
                }
            };
            for candidate in candidates.into_iter().filter(|one| which.has(one)) {
                match candidate.decide() {
                    Err(blocked) => this.refused.push(NotIssued::of(&candidate, blocked.into())),
                    Ok(_) => this.ready.push(candidate),
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
