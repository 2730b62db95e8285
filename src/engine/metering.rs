//! One life of the metering subtree: from the lock to the intake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorRef};
use tokio::sync::{Semaphore, watch};

use super::Parts;
use crate::actors::brand_supervisor::{BrandSupervisor, BrandSupervisorArguments};
use crate::actors::directory::Directory;
use crate::actors::engine_supervisor::{EngineMsg, Metering};
use crate::actors::flight::Flight;
use crate::actors::keys::Keys;
use crate::actors::ledger::{LedgerActor, LedgerArguments};
use crate::bus::intake::Intake;
use crate::bus::sorter::Sorter;
use crate::bus::streams;
use crate::store::backoff::Backoff;
use crate::store::cursor::Cursor;
use crate::store::lock::{EngineLock, KeptLock};
use crate::store::{self, Store, brands, corrections, cursor, keys, segments};
use crate::telemetry::health::Component;

/// What a life finds in the database.
struct Opened {
    lock: KeptLock,
    cursor: Cursor,
    directory: Arc<Directory>,
    keys: Keys,
}

/// Begins a life: waits for database, bus and lock for as long as it takes, and then starts the actors
/// and the intake, linked to `root`.
///
/// # Errors
/// If the database refuses, or was metered from another stream.
pub async fn start(parts: Arc<Parts>, root: ActorRef<EngineMsg>) -> anyhow::Result<Metering> {
    let Opened { lock, cursor, directory, keys } = open(&parts).await?;
    let flight = Flight::new();
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
        metrics: Arc::clone(&parts.metrics),
    };
    let (brands, _) =
        BrandSupervisor::spawn_linked(None, BrandSupervisor, brands, root.get_cell()).await?;
    let (fence, next_chunk) = (cursor.fence, cursor.chunk + 1);
    let ledger = LedgerArguments {
        store: parts.store.clone(),
        cursor,
        keys,
        directory: Arc::clone(&directory),
        flight: flight.clone(),
        bus: parts.bus.client.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        refusals: parts.refusals.clone(),
    };
    let (ledger, _) = LedgerActor::spawn_linked(None, LedgerActor, ledger, root.get_cell()).await?;
    flight.connect(brands.clone(), ledger.clone());
    let (stop_intake, stop) = watch::channel(false);
    let intake = Intake {
        config: parts.config.intake.clone(),
        bus: parts.bus.clone(),
        store: parts.store.clone(),
        sorter: Sorter { config: parts.config.sorter.clone(), directory },
        flight: flight.clone(),
        ledger: ledger.clone(),
        bell: parts.bell.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        stop,
        next_chunk,
        credits: Arc::new(Semaphore::new(parts.config.intake.credits)),
        fence,
        caution: None,
        refusals: parts.refusals.clone(),
    };
    let intake = tokio::spawn(watch_intake(intake, ledger.get_id(), root));
    Ok(Metering { brands, ledger, flight, intake, stop_intake, lock })
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
    let began_after = stream_begins_after(parts).await;
    let stream = &config.intake.pull.stream;
    let cursor = patiently(parts, || {
        cursor::take_fence(&store.pool, stream, began_after, config.segment_entries)
    })
    .await?;
    check_stream(&cursor, stream)?;
    let directory = Arc::new(patiently(parts, || load_directory(store)).await?);
    let keys = patiently(parts, || load_keys(store, &cursor)).await?;
    patiently(parts, || make_segments(store, &cursor)).await?;
    tracing::info!(
        fence = cursor.fence,
        sequence = cursor.sequence,
        entry = cursor.entry,
        brands = directory.brand_count(),
        elapsed_ms = started.elapsed().as_millis(),
        "the ledger is loaded"
    );
    Ok(Opened { lock, cursor, directory, keys })
}

/// Runs the intake and tells the root if it fails or panics.
async fn watch_intake(intake: Intake, ledger: ActorId, root: ActorRef<EngineMsg>) {
    let mut task = AbortOnDrop(tokio::spawn(intake.run()));
    let why = match (&mut task.0).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
        Err(panic) => format!("the intake ended: {panic}"),
    };
    let _ = root.cast(EngineMsg::IntakeFailed { ledger, why });
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
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
        let why = match streams::info(&parts.bus.jetstream, name).await {
            Ok(Some(info)) => {
                parts.health.well(Component::Bus);
                let first = i64::try_from(info.state.first_sequence).unwrap_or(i64::MAX);
                return first.max(1) - 1;
            }
            Ok(None) => format!("there is no stream {name}: run `prooftally stream ensure`"),
            Err(error) => format!("{error:#}"),
        };
        parts.health.ill(Component::Bus, why.clone());
        tracing::warn!(why, "the stream cannot be read; waiting for it");
        wait.pause().await;
    }
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

async fn load_keys(store: &Store, cursor: &Cursor) -> Result<Keys, store::Error> {
    let keys = Keys::new();
    let mut connection = store.connect().await?;
    let mut rows = 0;
    keys::load(&mut connection, cursor.entry, |key| {
        rows += 1;
        keys.add(key);
    })
    .await?;
    let totals = cursor.totals;
    if rows != totals.counted + totals.counted_later {
        return Err(store::Error::Corrupt(format!(
            "the ledger has {rows} receipts and the cursor says {}: run `prooftally audit`",
            totals.counted + totals.counted_later
        )));
    }
    if i64::try_from(keys.len()) != Ok(rows) {
        tracing::error!(
            receipts = rows,
            keys = keys.len(),
            "the ledger counts receipts twice: run `prooftally audit`, and `audit repair`"
        );
    }
    for key in corrections::replacements(&store.pool).await? {
        keys.replace(key);
    }
    Ok(keys)
}

async fn make_segments(store: &Store, cursor: &Cursor) -> Result<(), store::Error> {
    let entries = cursor.segment_entries.unwrap_or(1);
    let segment = segments::segment_of(cursor.entry, entries);
    segments::ensure(&store.pool, segment..segment + 2, entries).await
}
