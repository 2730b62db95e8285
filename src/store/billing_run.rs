//! A billing run: looks at brands, one after the other and none in another's way, keeps their drafts and
//! issues what may be issued.

use std::collections::BTreeMap;

use billing::hash::Hash;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, PgPool};

use super::brands::{self, Brand};
use super::due::{self, Candidate, Known, Terms};
use super::issue::{self, Approval, Issued, Refused};
use super::{Error, Store};

/// What could be issued for a brand, or why that cannot be said.
pub type Looked = (Brand, Result<Vec<Candidate>, Error>);

/// Looks at one brand, or at all in one snapshot, and builds the evidence of the candidates that `issues`
/// names.
///
/// # Errors
/// If the database is away. What is wrong with a brand is said of that brand alone.
pub async fn look(
    store: &Store,
    terms: &Terms,
    brand_no: Option<i32>,
    now: DateTime<Utc>,
    issues: impl Fn(&Candidate) -> bool,
) -> Result<Vec<Looked>, Error> {
    match look_at(store, terms, brand_no, now, &issues).await {
        Err(Error::Corrupt(_) | Error::Refused(_)) if brand_no.is_none() => {}
        looked => return looked,
    }
    // Something of some brand cannot be read: each is looked at alone.
    let mut found = Vec::new();
    for brand in brands::all(&store.pool).await? {
        match look_at(store, terms, Some(brand.no), now, &issues).await {
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
    issues: impl Fn(&Candidate) -> bool,
) -> Result<Vec<Looked>, Error> {
    let mut snapshot =
        store.pool.begin_with("begin isolation level repeatable read read only").await?;
    let known = Known::read(&mut snapshot, brand_no).await?;
    let mut found = Vec::with_capacity(known.brands.len());
    for brand in &known.brands {
        match due::candidates(&mut snapshot, &known, terms, brand, now).await {
            Ok(candidates) => found.push((brand.clone(), Ok(candidates))),
            Err(error @ Error::Corrupt(_)) => found.push((brand.clone(), Err(error))),
            Err(error) => return Err(error),
        }
    }
    add_evidence(&mut snapshot, &mut found, issues).await?;
    snapshot.rollback().await?;
    Ok(found)
}

async fn add_evidence(
    snapshot: &mut PgConnection,
    found: &mut [Looked],
    issues: impl Fn(&Candidate) -> bool,
) -> Result<(), Error> {
    let all = found.iter_mut().filter_map(|(_, candidates)| candidates.as_mut().ok()).flatten();
    let mut wanted: Vec<&mut Candidate> = all.filter(|candidate| issues(candidate)).collect();
    let mut candidates: Vec<Candidate> = wanted.iter().map(|one| (**one).clone()).collect();
    due::add_evidence(snapshot, &mut candidates).await?;
    for (place, built) in wanted.iter_mut().zip(candidates) {
        **place = built;
    }
    Ok(())
}

/// Which documents a run issues.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Of this brand only.
    pub brand_no: Option<i32>,
    /// Only of periods that have this day, and no adjustments. `None` for all that is due.
    pub day: Option<NaiveDate>,
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

/// Issues everything that `which` names and nothing speaks against, oldest periods first. `progress` is
/// told how many of how many were tried.
///
/// # Errors
/// If the database is away; what was issued by then stays.
pub async fn issue_all(
    store: &Store,
    terms: &Terms,
    which: &Which,
    now: DateTime<Utc>,
    by: &str,
    mut progress: impl FnMut(u64, u64),
) -> Result<Done, Error> {
    let mut done = Done::default();
    loop {
        let may = |one: &Candidate| which.has(one) && one.decide().is_ok();
        let found = look(store, terms, which.brand_no, now, may).await?;
        let (mut ready, mut refused) = (Vec::new(), Vec::new());
        for (brand, candidates) in found {
            match candidates {
                Err(error) => refused.push((brand, Refused::Store(error))),
                Ok(candidates) => {
                    for candidate in candidates.into_iter().filter(|one| which.has(one)) {
                        match candidate.decide() {
                            Ok(_) => ready.push(candidate),
                            Err(blocked) => refused.push((brand.clone(), blocked.into())),
                        }
                    }
                }
            }
        }
        let (total, before) = (ready.len() as u64, done.issued.len());
        for (number, candidate) in (1..).zip(&ready) {
            let approval = Approval::default();
            let issued =
                issue::finalize(&store.pool, &terms.issuers, candidate, &approval, now, by).await;
            match issued {
                Ok(issued) => done.issued.push((candidate.brand.clone(), issued)),
                Err(Refused::Store(error @ Error::Unavailable(_))) => return Err(error),
                Err(why) => refused.push((candidate.brand.clone(), why)),
            }
            progress(number, total);
        }
        // Another look finds the periods after those that were issued, and what has moved meanwhile.
        if done.issued.len() == before {
            done.refused = refused;
            return Ok(done);
        }
    }
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
