//! The sealer: seals full segments in the background, beside the ledger actor.
//!
//! Proof first, filter second, mark third; then the filter is published and the ledger actor drops
//! the segment's keys when no chunk can need them any more. Whatever ends it in between, the next
//! life finds the segment unsealed, loads its keys and seals it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt;
use ractor::ActorRef;
use sqlx::postgres::PgConnection;

use super::archive::{Archive, Sealed, View};
use super::keys::Keys;
use super::ledger::LedgerMsg;
use crate::store::backoff::Backoff;
use crate::store::filter::{self, Filter, FilterBuilder};
use crate::store::sealing::{self, Kept, SegmentKey};
use crate::store::{Error, Store};
use crate::telemetry::health::{Component, Health};
use crate::telemetry::metrics::Metrics;

/// Seals segments for one life of the metering subtree.
pub struct Sealer {
    pub store: Store,
    pub fence: i64,
    pub archive: Archive,
    pub keys: Keys,
    pub ledger: ActorRef<LedgerMsg>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}

/// What sealing came to.
enum Outcome {
    Sealed(Sealed),
    /// Receipts are counted twice, or rows are missing: why, as people read it.
    Broken(String),
}

impl Sealer {
    /// Seals what is full, for ever. Ends when another engine has taken over.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn run(self) -> Result<(), Error> {
        let mut entries = self.archive.entries();
        let mut broken = BTreeMap::new();
        // What an earlier life found is found again.
        self.health.well(Component::Uniqueness);
        loop {
            let unsealed = self.archive.unsealed();
            self.metrics.segments(self.archive.view().len(), unsealed.len(), broken.len());
            if let Some(segment) = unsealed.into_iter().find(|of| !broken.contains_key(of)) {
                if let Some(why) = self.seal_patiently(segment).await? {
                    broken.insert(segment, why);
                    self.alarm(&broken);
                }
                continue;
            }
            tokio::select! {
                changed = entries.changed() => if changed.is_err() { return Ok(()) },
                () = self.archive.repair(), if !broken.is_empty() => {
                    self.try_again(&mut broken).await?;
                }
            }
        }
    }

    /// Seals what could not be sealed before, in case that it was repaired.
    async fn try_again(&self, broken: &mut BTreeMap<i64, String>) -> Result<(), Error> {
        for segment in broken.keys().copied().collect::<Vec<_>>() {
            match self.seal_patiently(segment).await? {
                Some(why) => broken.insert(segment, why),
                None => broken.remove(&segment),
            };
        }
        self.alarm(broken);
        Ok(())
    }

    /// Seals the segment for as long as the database is away. Says why if its proof fails.
    async fn seal_patiently(&self, segment: i64) -> Result<Option<String>, Error> {
        let mut wait = Backoff::default();
        loop {
            let started = Instant::now();
            match self.seal(segment).await {
                Ok(Outcome::Sealed(sealed)) => {
                    self.archive.publish(sealed);
                    // If the ledger actor is gone, its keys are gone with it.
                    let _ = self.ledger.cast(LedgerMsg::Sealed { segment });
                    self.metrics.sealed(started.elapsed());
                    let elapsed_ms = started.elapsed().as_millis();
                    tracing::info!(segment, elapsed_ms, "a segment of the ledger is sealed");
                    return Ok(None);
                }
                Ok(Outcome::Broken(why)) => {
                    let what =
                        "a segment cannot be sealed: run `prooftally audit`, and `audit repair`";
                    tracing::error!(segment, why, what);
                    return Ok(Some(why));
                }
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(segment, %error, "sealing waits for the database");
                    wait.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Names the segments that cannot be sealed, or says that there are none.
    fn alarm(&self, broken: &BTreeMap<i64, String>) {
        if broken.is_empty() {
            return self.health.well(Component::Uniqueness);
        }
        let named: Vec<String> =
            broken.iter().map(|(segment, why)| format!("segment {segment}: {why}")).collect();
        self.health.ill(Component::Uniqueness, named.join("; "));
    }

    async fn seal(&self, segment: i64) -> Result<Outcome, Error> {
        let mut connection = sealing::connect(&self.store).await?;
        let mut doubles = sealing::prove(&mut connection, segment).await?;
        if doubles.is_empty() {
            let view = self.archive.view();
            let Contents { entries, filter, suspects } =
                self.contents(&mut connection, segment, &view).await?;
            for (other, suspects) in view.iter().zip(&suspects) {
                let (pair, connection) = ((segment, other.segment), &mut connection);
                doubles.extend(sealing::doubles_in(connection, pair, suspects).await?);
            }
            if doubles.is_empty() {
                let kept = Kept::new(segment, entries, filter.to_bytes());
                if sealing::keep(&mut connection, self.fence, &kept).await? {
                    return Ok(Outcome::Sealed(Sealed { segment, entries, filter }));
                }
                let why = format!("{entries} receipts were read, which are not as many as it has");
                return self.broken(&mut connection, segment, why).await;
            }
        }
        let why = doubles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.broken(&mut connection, segment, why).await
    }

    /// The segment's receipts, from memory: each of its keys is there from its commit on, so if they are as
    /// many as the table has rows, they are the ledger's. Otherwise, as after a repair, they are read.
    async fn contents(
        &self,
        connection: &mut PgConnection,
        segment: i64,
        view: &View,
    ) -> Result<Contents, Error> {
        let rows = sealing::rows(&mut *connection, segment).await?;
        let mut reading = Reading::new(view);
        let keys = self.keys.clone();
        let remembered = aside(segment, move || {
            keys.of_segment(segment, |brand_no, key| reading.take(SegmentKey { brand_no, key }));
            reading.finish()
        })
        .await?;
        if remembered.entries == rows {
            return Ok(remembered);
        }
        drop(remembered);
        read(connection, segment, view).await
    }

    async fn broken(
        &self,
        connection: &mut PgConnection,
        segment: i64,
        why: String,
    ) -> Result<Outcome, Error> {
        sealing::note_problem(connection, self.fence, segment, &why).await?;
        Ok(Outcome::Broken(why))
    }
}

/// What reading a segment comes to.
struct Contents {
    entries: i64,
    filter: Filter,
    /// Its receipts that another sealed segment may have too, for each of these.
    suspects: Vec<Vec<SegmentKey>>,
}

/// Reads the segment's receipts from the database.
async fn read(
    connection: &mut PgConnection,
    segment: i64,
    others: &View,
) -> Result<Contents, Error> {
    let mut reading = Reading::new(others);
    sealing::keys(connection, segment, |of| reading.take(of)).await?;
    aside(segment, move || reading.finish()).await
}

/// Does what takes long on a thread where nobody waits behind it.
async fn aside(
    segment: i64,
    work: impl FnOnce() -> Result<Contents, filter::Error> + Send + 'static,
) -> Result<Contents, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|panic| Error::Corrupt(format!("segment {segment}: {panic}")))?
        .map_err(|error| Error::Corrupt(format!("segment {segment}: {error}")))
}

/// Takes a segment's receipts once, for its filter, and to probe those of others. Holds 8 bytes a receipt.
struct Reading {
    entries: i64,
    builder: FilterBuilder,
    probes: Probes,
}

impl Reading {
    fn new(others: &View) -> Self {
        Self { entries: 0, builder: FilterBuilder::default(), probes: Probes::new(others) }
    }

    fn take(&mut self, of: SegmentKey) {
        self.entries += 1;
        self.builder.add(filter::hash_of(of.brand_no, of.key));
        self.probes.add(of);
    }

    fn finish(self) -> Result<Contents, filter::Error> {
        let Self { entries, builder, probes } = self;
        Ok(Contents { entries, filter: builder.build()?, suspects: probes.finish() })
    }
}

/// Probes the filters of other segments for many receipts, some thousands at a time.
struct Probes {
    others: View,
    batch: Vec<SegmentKey>,
    suspects: Vec<Vec<SegmentKey>>,
}

impl Probes {
    const BATCH: usize = 4_096;

    fn new(others: &View) -> Self {
        let suspects = vec![Vec::new(); others.len()];
        Self { others: Arc::clone(others), batch: Vec::with_capacity(Self::BATCH), suspects }
    }

    fn add(&mut self, of: SegmentKey) {
        self.batch.push(of);
        if self.batch.len() == Self::BATCH {
            self.probe();
        }
    }

    fn probe(&mut self) {
        let hashes: Vec<u64> =
            self.batch.iter().map(|of| filter::hash_of(of.brand_no, of.key)).collect();
        for (other, suspects) in self.others.iter().zip(&mut self.suspects) {
            other.filter.probe(&hashes, |index| suspects.push(self.batch[index]));
        }
        self.batch.clear();
    }

    fn finish(mut self) -> Vec<Vec<SegmentKey>> {
        self.probe();
        self.suspects
    }
}

/// Reads the filters of the sealed segments back, and builds anew what is not whole.
///
/// # Errors
/// If the database is away or a filter cannot be built.
pub async fn load(store: &Store) -> Result<Vec<Sealed>, Error> {
    let mut all = Vec::new();
    let mut rows = sealing::sealed(&store.pool);
    while let Some(kept) = rows.try_next().await? {
        let Kept { segment, entries, .. } = kept;
        let whole = if kept.is_whole() { Filter::from_bytes(&kept.filter).ok() } else { None };
        let filter = if let Some(filter) = whole {
            filter
        } else {
            tracing::error!(segment, "a stored filter is damaged; it is built from the ledger");
            let mut connection = sealing::connect(store).await?;
            read(&mut connection, segment, &View::default()).await?.filter
        };
        all.push(Sealed { segment, entries, filter });
    }
    Ok(all)
}
