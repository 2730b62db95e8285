//! One life of the metering subtree: from the lock to the intake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorRef};
use tokio::sync::{Semaphore, watch};

use super::Parts;
use crate::actors::archive::Archive;
use crate::actors::beside::Beside;
use crate::actors::brand_supervisor::{BrandSupervisor, BrandSupervisorArguments};
use crate::actors::directory::Directory;
use crate::actors::engine_supervisor::{EngineMsg, Metering};
use crate::actors::flight::Flight;
use crate::actors::keys::Keys;
use crate::actors::ledger::{LedgerActor, LedgerArguments, LedgerMsg};
use crate::actors::recollection::Recollection;
use crate::actors::sealer::{self, Sealer};
use crate::actors::usage_keeper::{Progress, UsageKeeper};
use crate::bus::intake::Intake;
use crate::bus::sorter::Sorter;
use crate::bus::streams;
use crate::store::backoff::Backoff;
use crate::store::brand_entries::BrandEntries;
use crate::store::cursor::Cursor;
use crate::store::finding::Memory;
use crate::store::lock::{EngineLock, KeptLock};
use crate::store::{self, Store, brands, corrections, cursor, keys, sealing, segments, usage_fold};
use crate::telemetry::health::Component;

/// What a life finds in the database.
struct Opened {
    lock: KeptLock,
    cursor: Cursor,
    directory: Arc<Directory>,
    keys: Keys,
    entries: BrandEntries,
    archive: Archive,
    progress: Progress,
    memory: Arc<dyn Memory>,
}

/// Begins a life: waits for database, bus and lock for as long as it takes, and then starts the actors
/// and the intake, linked to `root`.
///
/// # Errors
/// If the database refuses, or was metered from another stream.
pub async fn start(parts: Arc<Parts>, root: ActorRef<EngineMsg>) -> anyhow::Result<Metering> {
    let Opened { lock, cursor, directory, keys, entries, archive, progress, memory } =
        open(&parts).await?;
    let flight = Flight::new(cursor.chunk + 1);
    parts.flight.send_replace(Some(flight.clone()));
    parts.fence.send_replace(Some(cursor.fence));
    for brand_no in directory.parked_brands() {
        flight.park(brand_no);
    }
    let brands = BrandSupervisorArguments {
        keys: keys.clone(),
        flight: flight.clone(),
        limits: parts.config.restart,
        tries_max: parts.config.brand_tries_max,
        passivate_after: parts.config.passivate_after,
        metrics: Arc::clone(&parts.metrics),
    };
    let (brands, _) =
        BrandSupervisor::spawn_linked(None, BrandSupervisor, brands, root.get_cell()).await?;
    let fence = cursor.fence;
    let progress = watch::Sender::new(progress);
    let ledger = LedgerArguments {
        store: parts.store.clone(),
        cursor,
        keys: keys.clone(),
        entries,
        archive: archive.clone(),
        directory: Arc::clone(&directory),
        flight: flight.clone(),
        bus: parts.bus.client.clone(),
        committed: parts.committed.clone(),
        progress: progress.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        refusals: parts.refusals.clone(),
    };
    let (ledger, _) = LedgerActor::spawn_linked(None, LedgerActor, ledger, root.get_cell()).await?;
    flight.connect(brands.clone(), ledger.clone());
    let id = ledger.get_id();
    let (store, metrics) = (parts.store.clone(), Arc::clone(&parts.metrics));
    let usage_keeper = UsageKeeper { store, progress, metrics };
    let usage_keeper = Beside::start("usage keeper", usage_keeper.run(), id, root.clone());
    let sealer = sealer_of(&parts, fence, (&archive, &keys), &ledger);
    let sealer = Beside::start("sealer", sealer.run(), id, root.clone());
    let (stop_intake, stop) = watch::channel(false);
    let intake = Intake {
        config: parts.config.intake.clone(),
        bus: parts.bus.clone(),
        store: parts.store.clone(),
        sorter: Sorter { config: parts.config.sorter.clone(), directory },
        flight: flight.clone(),
        archive,
        ledger: ledger.clone(),
        bell: parts.bell.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        stop,
        credits: Arc::new(Semaphore::new(parts.config.intake.credits)),
        fence,
        caution: None,
        witness: parts.witness.clone(),
        committed: parts.committed.subscribe(),
        sure_of: None,
        follows_gap: false,
        in_doubt: false,
        refusals: parts.refusals.clone(),
    };
    let intake = Beside::start("intake", intake.run(), id, root);
    Ok(Metering { brands, ledger, flight, intake, stop_intake, sealer, usage_keeper, lock, memory })
}

fn sealer_of(
    parts: &Parts,
    fence: i64,
    (archive, keys): (&Archive, &Keys),
    ledger: &ActorRef<LedgerMsg>,
) -> Sealer {
    Sealer {
        store: parts.store.clone(),
        fence,
        archive: archive.clone(),
        keys: keys.clone(),
        ledger: ledger.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
    }
}

/// From the lock to the keys.
async fn open(parts: &Parts) -> anyhow::Result<Opened> {
    let started = Instant::now();
    let Parts { config, store, .. } = parts;
    if config.migrate_on_start {
        patiently(parts, || store.migrate()).await?;
    }
    let missing = patiently(parts, || store.migrations_missing()).await?;
    anyhow::ensure!(missing == 0, "{missing} migrations are missing: run `prooftally migrate`");
    let lock = take_lock(parts).await?.keep(store.clone());
    // Only the first engine ever must know where the stream begins; later ones start without it, so
    // that requests are served while it is away.
    let known = patiently(parts, || cursor::read(&store.pool)).await?.stream;
    let began_after = match known {
        Some(_) => 0,
        None => stream_begins_after(parts).await,
    };
    let stream = &config.intake.pull.stream;
    let cursor = patiently(parts, || {
        cursor::take_fence(&store.pool, stream, began_after, config.segment_entries)
    })
    .await?;
    check_stream(&cursor, stream)?;
    let directory = Arc::new(patiently(parts, || load_directory(store)).await?);
    patiently(parts, || make_segments(store, &cursor)).await?;
    let sealed = patiently(parts, || sealer::load(store)).await?;
    let archive = Archive::new(segment_entries(&cursor), cursor.entry, sealed);
    let (keys, entries) = patiently(parts, || load_keys(store, &cursor, &archive)).await?;
    tracing::info!(
        fence = cursor.fence,
        sequence = cursor.sequence,
        entry = cursor.entry,
        brands = directory.brand_count(),
        keys = keys.len(),
        sealed_segments = archive.view().len(),
        elapsed_ms = started.elapsed().as_millis(),
        "the ledger is loaded"
    );
    let usage_entry = patiently(parts, || usage_fold::last_entry(&store.pool)).await?;
    let progress = Progress { entry: cursor.entry, usage_entry, waiting: 0 };
    let lent = (keys.clone(), entries.clone());
    let memory: Arc<dyn Memory> =
        Arc::new(Recollection::new(lent, archive.clone(), Arc::clone(&directory)));
    parts.counted.lend(&memory);
    Ok(Opened { lock, cursor, directory, keys, entries, archive, progress, memory })
}

/// Does `work` again for as long as the database is away.
async fn patiently<T, F: Future<Output = Result<T, store::Error>>>(
    parts: &Parts,
    work: impl Fn() -> F,
) -> anyhow::Result<T> {
    let mut wait = Backoff::default();
    loop {
        match work().await {
            Ok(done) => {
                parts.health.well(Component::Database);
                return Ok(done);
            }
            Err(store::Error::Unavailable(error)) => {
                parts.health.ill(Component::Database, format!("it cannot be reached: {error}"));
                tracing::warn!(%error, "the database is away; waiting for it");
                wait.pause().await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until this is the only engine.
async fn take_lock(parts: &Parts) -> anyhow::Result<EngineLock> {
    let mut is_told = false;
    loop {
        if let Some(lock) = patiently(parts, || EngineLock::try_take(&parts.store)).await? {
            parts.health.well(Component::Lock);
            return Ok(lock);
        }
        parts.health.ill(Component::Lock, "another engine works on this database; standing by");
        if !is_told {
            tracing::info!("another engine works on this database; standing by");
            is_told = true;
        }
        if patiently(parts, || EngineLock::evict_hung(&parts.store)).await? {
            tracing::warn!("the other engine has been silent for too long; taking over");
            continue;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// One before the first message that the stream has. Waits for the stream.
async fn stream_begins_after(parts: &Parts) -> i64 {
    let name = &parts.config.intake.pull.stream;
    let mut wait = Backoff::default();
    loop {
        let why = match first_position(parts, name).await {
            Ok(Some(first)) => {
                parts.health.well(Component::Bus);
                return first - 1;
            }
            Ok(None) => format!("there is no stream {name}: run `prooftally stream ensure`"),
            Err(error) => format!("{error:#}"),
        };
        parts.health.ill(Component::Bus, why.clone());
        tracing::warn!(why, "the stream cannot be read; waiting for it");
        wait.pause().await;
    }
}

/// The first position of the stream; of a mirror that has copied nothing yet, that of its origin.
async fn first_position(parts: &Parts, name: &str) -> anyhow::Result<Option<i64>> {
    let jetstream = &parts.bus.jetstream;
    let Some(mut info) = streams::info(jetstream, name).await? else { return Ok(None) };
    if let Some(origin) = &parts.config.intake.origin
        && info.state.messages == 0
        && let Some(of_origin) = streams::info(jetstream, origin).await?
    {
        info = of_origin;
    }
    let first = i64::try_from(info.state.first_sequence).unwrap_or(i64::MAX);
    Ok(Some(first.max(1)))
}

fn check_stream(cursor: &Cursor, stream: &str) -> anyhow::Result<()> {
    let known = cursor.stream.as_deref().unwrap_or(stream);
    anyhow::ensure!(
        known == stream,
        "this database was metered from stream {known}, and nats.stream says {stream}: \
         positions of one stream mean nothing in another; set nats.stream back to {known}"
    );
    Ok(())
}

async fn load_directory(store: &Store) -> Result<Directory, store::Error> {
    let directory = Directory::default();
    directory.add_brands(brands::all(&store.pool).await?);
    directory.add_predicates(brands::predicates(&store.pool).await?);
    Ok(directory)
}

/// Loads the keys of what is not sealed, and whose each entry is: some full segments at most, and the open one.
async fn load_keys(
    store: &Store,
    cursor: &Cursor,
    archive: &Archive,
) -> Result<(Keys, BrandEntries), store::Error> {
    let segment_entries = segment_entries(cursor);
    let (keys, entries) = (Keys::new(segment_entries), BrandEntries::new(segment_entries));
    let open = segments::full(cursor.entry, segment_entries);
    let mut connection = store.connect().await?;
    let (mut rows, mut doubles) = (archive.entries_sealed(), 0);
    for segment in archive.unsealed().into_iter().chain([open]) {
        let mut loaded = 0;
        keys::load(&mut connection, segment, cursor.entry, |key| {
            loaded += 1;
            doubles += i64::from(!keys.add(key));
            entries.add(&[key]);
        })
        .await?;
        let mut bounds = segments::entries_of(segment, segment_entries);
        bounds.end = bounds.end.min(cursor.entry + 1);
        let expected = sealing::receipts_among(&mut connection, bounds).await?;
        if loaded != expected {
            return Err(store::Error::Corrupt(format!(
                "segment {segment} of the ledger has {loaded} receipts and must have {expected}: run \
                 `prooftally audit`"
            )));
        }
        rows += loaded;
    }
    let expected = cursor.totals.counted + cursor.totals.counted_later;
    if rows != expected {
        return Err(store::Error::Corrupt(format!(
            "the ledger has {rows} receipts and the cursor says {expected}: run `prooftally audit`"
        )));
    }
    if doubles > 0 {
        let what = "receipts are counted twice: run `prooftally audit`, and `audit repair`";
        tracing::error!(doubles, what);
    }
    for key in corrections::replacements(&store.pool).await? {
        keys.replace(key);
    }
    Ok((keys, entries))
}

async fn make_segments(store: &Store, cursor: &Cursor) -> Result<(), store::Error> {
    let entries = segment_entries(cursor);
    let segment = segments::segment_of(cursor.entry, entries);
    segments::ensure(&store.pool, segment..segment + 2, entries).await
}

/// Fixed when the first fence was taken, so it is always there.
fn segment_entries(cursor: &Cursor) -> i64 {
    cursor.segment_entries.unwrap_or(1)
}
