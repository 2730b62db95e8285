//! The ledger actor: the only writer. Commits chunks in order, publishes their keys, acknowledges; and
//! between chunks carries out what operators ask for.

mod requested;

use std::sync::Arc;
use std::time::{Duration, Instant};

use billing::receipt::{Reason, Refusal};
use bytes::Bytes;
use chrono_tz::Tz;
use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

use super::archive::Archive;
use super::assembly::{self, Assembled, Basis};
use super::chunk::{Chunk, ChunkNo, Left, Source};
use super::directory::Directory;
use super::flight::{Complete, Flight};
use super::keys::Keys;
use super::refusals::Refusals;
use super::usage_keeper::Progress;
use crate::failpoint;
use crate::store::backoff::Backoff;
use crate::store::brand_entries::BrandEntries;
use crate::store::commit::{Commit, Settlement, UsageDelta, Writer};
use crate::store::corrections::Correction;
use crate::store::cursor::{self, Cursor, Place};
use crate::store::epochs::Adoption;
use crate::store::gaps::Acceptance;
use crate::store::{self, Store, ledger, requests, segments};
use crate::telemetry::health::{Component, Health};
use crate::telemetry::metrics::Metrics;

/// What the ledger actor is told.
#[derive(Debug)]
pub enum LedgerMsg {
    /// The oldest chunk in flight is complete.
    Commit,
    /// Give a brand another zone; answers whether it was given. Nothing is in flight meanwhile: the
    /// intake waits for the reply.
    SetZone { request_no: i64, brand_no: i32, zone: Tz, reply: RpcReplyPort<bool> },
    /// Park a brand; answers whether it is. Nothing is in flight meanwhile.
    Park { request_no: i64, brand_no: i32, reply: RpcReplyPort<bool> },
    /// Give rejections up. Nothing is in flight meanwhile.
    Dismiss { request_no: i64, settlements: Vec<Settlement>, chunk: i64, reply: RpcReplyPort<()> },
    /// The segment is behind a filter that is published: its keys can be dropped.
    Sealed { segment: i64 },
    /// Accept gaps. Nothing is in flight meanwhile.
    AcceptGaps { request_no: i64, acceptance: Acceptance, chunk: i64, reply: RpcReplyPort<()> },
    /// Begin a new epoch. Nothing is in flight meanwhile.
    Adopt { adoption: Box<Adoption>, reply: RpcReplyPort<()> },
    /// Correct what was counted. Nothing is in flight meanwhile.
    Correct { correction: Box<Correction>, reply: RpcReplyPort<()> },
}

pub struct LedgerActor;

pub struct LedgerArguments {
    pub store: Store,
    pub cursor: Cursor,
    pub keys: Keys,
    pub entries: BrandEntries,
    pub archive: Archive,
    pub directory: Arc<Directory>,
    pub flight: Flight,
    /// Where acknowledgements are sent.
    pub bus: async_nats::Client,
    /// Told of each commit, for the witness on the bus.
    pub committed: watch::Sender<Option<Place>>,
    /// Told of each commit, for the usage keeper.
    pub progress: watch::Sender<Progress>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub refusals: Refusals,
}

/// Counters that are kept at hand: some 20 MB.
const COUNTERS_MAX: usize = 500_000;

pub struct LedgerState {
    arguments: LedgerArguments,
    writer: Writer,
    /// Messages that waited behind the last chunk.
    waiting: u64,
    /// Sealed segments whose keys and entries are still in memory, with the last chunk that may need them.
    sealed: Vec<(i64, ChunkNo)>,
    /// Segments below this one have their partition.
    segments_until: i64,
    /// The counters of brands and predicates: to find one by its labels takes longer than to count.
    usage: HashMap<(i32, i32), Counter>,
    /// Conflicts that the log has not told of, and when it last did.
    conflicts_untold: usize,
    conflicts_told: Option<Instant>,
}

impl Actor for LedgerActor {
    type Msg = LedgerMsg;
    type State = LedgerState;
    type Arguments = LedgerArguments;

    async fn pre_start(
        &self,
        _: ActorRef<LedgerMsg>,
        arguments: LedgerArguments,
    ) -> Result<LedgerState, ActorProcessingErr> {
        let writer = Writer::new(arguments.store.clone());
        Ok(LedgerState {
            arguments,
            writer,
            waiting: 0,
            sealed: Vec::new(),
            segments_until: 0,
            usage: HashMap::new(),
            conflicts_untold: 0,
            conflicts_told: None,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<LedgerMsg>,
        message: LedgerMsg,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LedgerMsg::Commit => state.commit_what_is_complete().await?,
            LedgerMsg::SetZone { request_no, brand_no, zone, reply } => {
                let is_set = state.set_zone(request_no, brand_no, zone).await?;
                // The intake that asked may have been stopped; the work is committed all the same.
                let _ = reply.send(is_set);
            }
            LedgerMsg::Park { request_no, brand_no, reply } => {
                let is_parked = state.park(request_no, brand_no).await?;
                let _ = reply.send(is_parked);
            }
            LedgerMsg::Dismiss { request_no, settlements, chunk, reply } => {
                state.dismiss(request_no, settlements, chunk).await?;
                let _ = reply.send(());
            }
            LedgerMsg::Sealed { segment } => {
                state.sealed.push((segment, state.arguments.flight.issued()));
                state.drop_sealed();
            }
            LedgerMsg::AcceptGaps { request_no, acceptance, chunk, reply } => {
                state.accept_gaps(request_no, acceptance, chunk).await?;
                let _ = reply.send(());
            }
            LedgerMsg::Adopt { adoption, reply } => {
                state.adopt(&adoption).await?;
                let _ = reply.send(());
            }
            LedgerMsg::Correct { correction, reply } => {
                state.correct(&correction).await?;
                let _ = reply.send(());
            }
        }
        Ok(())
    }
}

impl LedgerState {
    /// Being cancelled at any await below is safe: the transaction is the unit, nothing of it is
    /// acknowledged or published before it is committed, and the next life reads the cursor.
    async fn commit_what_is_complete(&mut self) -> Result<(), ActorProcessingErr> {
        while let Some(complete) = self.arguments.flight.complete() {
            let stored = self.suspected_contents(&complete).await?;
            let cursor = &self.arguments.cursor;
            let assembled = assembly::assemble(
                &complete,
                &Basis {
                    fence: cursor.fence,
                    sequence: cursor.sequence,
                    entry: cursor.entry,
                    keys: &self.arguments.keys,
                    directory: &self.arguments.directory,
                    stored: &stored,
                },
            )?;
            self.make_segments(assembled.commit.entry).await?;
            self.waiting = complete.chunk.waiting;
            if let Err(error) = self.commit(&assembled.commit).await {
                self.refused(&complete.chunk, &assembled.commit, &error).await;
                return Err(error.into());
            }
            self.act(&complete, assembled).await;
        }
        Ok(())
    }

    /// What follows a commit: keys, metrics, acknowledgement, and only then the chunk's release.
    async fn act(&mut self, complete: &Complete, assembled: Assembled) {
        let Assembled { commit, keys } = assembled;
        self.arguments.entries.add(&keys);
        for key in keys {
            self.arguments.keys.add(key);
        }
        let chunk = &complete.chunk;
        self.count(chunk, &commit);
        self.acknowledge(chunk).await;
        if let Source::Unpark { brand_no, left, rejected, .. } = &chunk.source {
            let (events, refusals) = (chunk.candidates.len(), &self.arguments.refusals);
            if commit.unparked.len() - rejected.len() < events {
                let why = Refusal::new(Reason::Poison, "the brand fails on it");
                refusals.note_parked(*brand_no, events, why);
            } else {
                refusals.parked_metered(*brand_no, events, *left == Left::Nothing);
            }
        }
        self.arguments.flight.retire(chunk.no);
        self.arguments.archive.committed(commit.entry);
        self.drop_sealed();
    }

    /// Drops the keys of sealed segments, and whose their entries are. A chunk that took its number
    /// before the segment was published may have been looked up without its filter, and is decided
    /// by the keys.
    fn drop_sealed(&mut self) {
        let committed = self.arguments.flight.committed();
        let LedgerArguments { keys, entries, .. } = &self.arguments;
        self.sealed.retain(|(segment, last)| {
            let is_needed = *last > committed;
            if !is_needed {
                keys.drop_segment(*segment);
                entries.drop_segment(*segment);
            }
            is_needed
        });
    }

    /// Commits, for as long as it takes: the database being away is not a failure, and the intake
    /// stands still by its credits.
    async fn commit(&mut self, commit: &Commit) -> Result<(), store::Error> {
        let started = Instant::now();
        let mut wait = Backoff::default();
        let usage_entry = loop {
            failpoint::at(|| format!("commit {:?}", self.arguments.cursor.stream));
            let late = self.tell_when_late();
            let outcome = self.writer.commit(commit).await;
            late.abort();
            match outcome {
                Ok(seen) => break seen,
                Err(store::Error::Unavailable(error)) => self.away(&error, &mut wait).await,
                Err(error) => return Err(error),
            }
        };
        self.arguments.health.well(Component::Database);
        self.arguments.metrics.committed(started.elapsed(), commit);
        if commit.totals.positions() > commit.totals.rejected {
            self.arguments.refusals.committed();
        }
        let cursor = &mut self.arguments.cursor;
        cursor.sequence = commit.sequence;
        cursor.entry = commit.entry;
        cursor.chunk = commit.chunk;
        self.arguments.committed.send_replace(Some(cursor.place()));
        self.tell_progress(usage_entry);
        Ok(())
    }

    fn tell_progress(&self, usage_entry: Option<i64>) {
        let LedgerArguments { progress, metrics, cursor, .. } = &self.arguments;
        Progress::change(progress, metrics, |now| {
            let usage_entry = now.usage_entry.max(usage_entry.unwrap_or(0));
            *now = Progress { entry: cursor.entry, usage_entry, waiting: self.waiting };
        });
    }

    /// Leaves word for the next life if the database refuses the chunk for a lasting reason. That was no
    /// event's doing as far as caution goes, so this life ends in order.
    async fn refused(&self, chunk: &Chunk, commit: &Commit, error: &store::Error) {
        let Some(why) = error.refusal_for_good() else { return };
        let LedgerArguments { store, cursor, refusals, .. } = &self.arguments;
        // What cannot be written now costs caution or patience: the request is carried out again.
        let _ = cursor::note_end(&store.pool, cursor.fence).await;
        match chunk.source {
            Source::Stream { before, last, .. } => {
                let messages = commit.totals.positions() - commit.totals.gap;
                refusals.note(before, last, messages, why);
            }
            Source::Unpark { brand_no, .. } => {
                let why = Refusal::new(Reason::StoreRefused, why);
                refusals.note_parked(brand_no, chunk.candidates.len(), why);
                refusals.note_parked_end();
            }
            Source::Retry { request_no, .. } => {
                let why = format!("the database refuses it: {why}");
                let _ = requests::refuse(&store.pool, cursor.fence, request_no, &why).await;
                refusals.note_request();
            }
        }
    }

    /// Says so if a commit takes so long that people should know.
    fn tell_when_late(&self) -> tokio::task::JoinHandle<()> {
        const LATE: Duration = Duration::from_secs(5);
        let health = Arc::clone(&self.arguments.health);
        tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            health.ill(Component::Database, "a commit has had no answer for 5 s");
        })
    }

    async fn suspected_contents(
        &mut self,
        complete: &Complete,
    ) -> Result<HashMap<i64, ledger::StoredContent>, store::Error> {
        let entries = assembly::suspected_entries(complete, &self.arguments.keys);
        if entries.is_empty() {
            return Ok(HashMap::new());
        }
        let (pool, entries) = (&self.arguments.store.pool, entries.as_slice());
        let contents = self.patiently(move || ledger::contents(pool, entries)).await?;
        Ok(contents.into_iter().map(|stored| (stored.entry, stored)).collect())
    }

    /// Keeps a partition ahead of the one that `entry` falls in.
    async fn make_segments(&mut self, entry: i64) -> Result<(), store::Error> {
        let segment_entries = self.arguments.archive.segment_entries();
        let until = segments::segment_of(entry, segment_entries) + 2;
        if self.segments_until >= until {
            return Ok(());
        }
        let from = segments::segment_of(self.arguments.cursor.entry, segment_entries);
        let pool = &self.arguments.store.pool;
        self.patiently(|| segments::ensure(pool, from..until, segment_entries)).await?;
        self.segments_until = until;
        Ok(())
    }

    /// Does `work`, again and again for as long as the database is away: that is no failure, and the
    /// intake stands still by its credits. An attempt that has no answer for long is given up, since its
    /// connection may be dead; `work` finds out what an earlier attempt came to.
    async fn patiently<T, F>(&self, work: impl Fn() -> F) -> Result<T, store::Error>
    where
        F: Future<Output = Result<T, store::Error>>,
    {
        /// Rebuilding a brand's days or reading a segment takes longer than a chunk's commit.
        const COMMITS_LONG: u32 = 20;
        let limit = self.arguments.store.commit_timeout * COMMITS_LONG;
        let mut wait = Backoff::default();
        loop {
            match tokio::time::timeout(limit, work()).await {
                Ok(Err(store::Error::Unavailable(error))) => self.away(&error, &mut wait).await,
                Ok(outcome) => return outcome,
                Err(_) => self.away(&sqlx::Error::PoolTimedOut, &mut wait).await,
            }
        }
    }

    async fn away(&self, error: &sqlx::Error, wait: &mut Backoff) {
        self.arguments.health.ill(Component::Database, format!("commits wait for it: {error}"));
        if wait.is_first() {
            tracing::warn!(%error, "the database is away; metering waits");
        }
        wait.pause().await;
    }

    fn count(&mut self, chunk: &Chunk, commit: &Commit) {
        if self.usage.len() > COUNTERS_MAX {
            // They are found again by their labels, and go on where they were.
            self.usage.clear();
        }
        let counted = commit.usage.iter().filter(|delta| delta.receipts > 0);
        for UsageDelta { brand_no, predicate_no, receipts, .. } in counted {
            let LedgerArguments { directory, metrics, .. } = &self.arguments;
            let counter = self.usage.entry((*brand_no, *predicate_no)).or_insert_with(|| {
                let slice = chunk.slice_of(*brand_no).expect("usage comes from a slice");
                let brand = chunk.slices[slice].brand.id.as_str();
                metrics.usage_counter(brand, &directory.predicate_name(*predicate_no))
            });
            counter.inc_by(receipts.unsigned_abs());
        }
        self.tell_conflicts(commit.conflicts.len());
    }

    /// Says that there are conflicts, at most now and then: a replay may bring one in every chunk.
    fn tell_conflicts(&mut self, conflicts: usize) {
        const EVERY: Duration = Duration::from_secs(10);
        self.conflicts_untold += conflicts;
        let is_quiet = self.conflicts_told.is_some_and(|told| told.elapsed() < EVERY);
        if self.conflicts_untold == 0 || is_quiet {
            return;
        }
        tracing::warn!(
            events = self.conflicts_untold,
            "events contradict the receipts that were counted under their ids; they are kept and not \
             counted"
        );
        self.conflicts_untold = 0;
        self.conflicts_told = Some(Instant::now());
    }

    /// An acknowledgement that is lost costs nothing: the cursor is what counts, and the next one
    /// acknowledges all before it.
    async fn acknowledge(&self, chunk: &Chunk) {
        let Some(subject) = &chunk.ack else { return };
        if let Err(error) = self.arguments.bus.publish(subject.clone(), Bytes::new()).await {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}
