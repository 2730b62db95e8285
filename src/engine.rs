//! The composition root: what is started in which order, and stopped in which.
//!
//! Start: admin listener, database (migrations), bus; then the metering subtree: lock, fence, cursor,
//! directory, keys, actors, intake. Stop: intake, what is in flight, ledger, acknowledgements, pool.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ractor::{Actor, ActorRef};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::actors::brand_supervisor::{BrandSupervisor, BrandSupervisorArguments};
use crate::actors::directory::Directory;
use crate::actors::engine_supervisor::{EngineArguments, EngineMsg, EngineSupervisor, Metering};
use crate::actors::flight::Flight;
use crate::actors::keys::Keys;
use crate::actors::ledger::{LedgerActor, LedgerArguments};
use crate::actors::restart::Limits;
use crate::bus::intake::Intake;
use crate::bus::requests::Bell;
use crate::bus::sorter::Sorter;
use crate::bus::{self, Bus, intake, sorter, streams};
use crate::store::cursor::Cursor;
use crate::store::lock::EngineLock;
use crate::store::{self, Store, brands, cursor, keys, segments};
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::health::{Component, Health};
use crate::telemetry::metrics::Metrics;

/// Everything that an engine needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: store::Config,
    pub migrate_on_start: bool,
    pub segment_entries: i64,
    pub bus: bus::Config,
    pub intake: intake::Config,
    pub sorter: sorter::Config,
    pub restart: Limits,
    /// Failures on the same slice after which a brand's events are parked.
    pub brand_tries_max: u32,
    pub admin_listen: SocketAddr,
    pub metrics_brands_max: usize,
    pub shutdown_grace: Duration,
}

/// Entries in a segment of the ledger, fixed when the first engine starts. Its unique index is built
/// in about a second and its keys take 200 MB of memory.
const SEGMENT_ENTRIES: i64 = 3_500_000;

/// An engine that runs.
pub struct Engine {
    root: ActorRef<EngineMsg>,
    ended: tokio::task::JoinHandle<()>,
    beside: Vec<tokio::task::JoinHandle<()>>,
    parts: Arc<Parts>,
    pub admin: SocketAddr,
}

/// What every life of the metering subtree shares.
struct Parts {
    config: Config,
    store: Store,
    bus: Bus,
    bell: Bell,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The flight of the present life, for the gauges.
    flight: watch::Sender<Option<Flight>>,
    fence: watch::Sender<Option<i64>>,
}

impl Engine {
    /// Starts an engine. Returns as soon as its listener is open; metering begins when database and
    /// bus are there and no other engine holds the lock, and `/readyz` says what it waits for.
    ///
    /// # Errors
    /// If a URL cannot be read, the listener cannot be opened, or the root cannot be started.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(config.metrics_brands_max));
        let health = Arc::new(Health::starting());
        let listener = TcpListener::bind(config.admin_listen)
            .await
            .with_context(|| format!("admin.listen {} cannot be opened", config.admin_listen))?;
        let admin = listener.local_addr()?;
        let faces = Admin { health: Arc::clone(&health), metrics: Arc::clone(&metrics) };
        let mut beside = vec![tokio::spawn(async move {
            if let Err(error) = admin::serve(listener, faces, std::future::pending()).await {
                tracing::error!(%error, "the admin listener has ended");
            }
        })];
        let store = Store::new(&config.store)?;
        let bus = bus::connect(&config.bus, true).await?;
        let restart = config.restart;
        let parts = Arc::new(Parts {
            config,
            store,
            bus,
            bell: Bell::default(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            flight: watch::Sender::new(None),
            fence: watch::Sender::new(None),
        });
        beside.push(tokio::spawn(parts.bell.clone().listen(parts.store.clone())));
        beside.push(tokio::spawn(watch_lag(Arc::clone(&parts))));
        let of_start = Arc::clone(&parts);
        let arguments = EngineArguments {
            start: Arc::new(move |root| Box::pin(start_metering(Arc::clone(&of_start), root))),
            limits: restart,
            metrics,
            health,
        };
        let (root, ended) = Actor::spawn(None, EngineSupervisor, arguments)
            .await
            .map_err(|error| anyhow::anyhow!("the root actor cannot be started: {error}"))?;
        tracing::info!(%admin, "engine has started");
        Ok(Self { root, ended, beside, parts, admin })
    }

    /// Completes when the engine ends by itself: its restart budget is spent.
    pub async fn failed(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Stops in order. What cannot be committed within the grace time is left for the next engine,
    /// which reads it again.
    pub async fn stop(self) {
        let grace = self.parts.config.shutdown_grace;
        tracing::info!(grace_ms = grace.as_millis(), "stopping: finishing what is in flight");
        let stopped = self.root.call(EngineMsg::Stop, Some(grace)).await;
        let in_order = stopped.is_ok_and(|answer| answer.is_success());
        if !in_order {
            tracing::warn!("not everything was committed in time; the next start reads it again");
        }
        if in_order
            && let Some(fence) = *self.parts.fence.borrow()
            && let Err(error) = cursor::note_end(&self.parts.store.pool, fence).await
        {
            tracing::debug!(%error, "the orderly end was not noted");
        }
        let _ = self.parts.bus.client.flush().await;
        for task in self.beside {
            task.abort();
        }
        self.parts.store.pool.close().await;
        tracing::info!("engine has stopped");
    }
}

/// One life of the metering subtree: from the lock to the intake.
async fn start_metering(parts: Arc<Parts>, root: ActorRef<EngineMsg>) -> anyhow::Result<Metering> {
    let started = Instant::now();
    let Parts { config, store, bus, .. } = &*parts;
    if config.migrate_on_start {
        patiently(&parts, || store.migrate()).await?;
    }
    let missing = patiently(&parts, || store.migrations_missing()).await?;
    anyhow::ensure!(missing == 0, "{missing} migrations are missing: run `prooftally migrate`");
    let lock = take_lock(&parts).await?;
    let began_after = stream_begins_after(&parts).await;
    let stream = &config.intake.pull.stream;
    let cursor = patiently(&parts, || {
        cursor::take_fence(&store.pool, stream, began_after, config.segment_entries)
    })
    .await?;
    check_stream(&cursor, stream)?;
    let directory = Arc::new(patiently(&parts, || load_directory(store)).await?);
    let keys = patiently(&parts, || load_keys(store, &cursor)).await?;
    patiently(&parts, || make_segments(store, &cursor)).await?;
    tracing::info!(
        fence = cursor.fence,
        sequence = cursor.sequence,
        entry = cursor.entry,
        brands = directory.brand_count(),
        elapsed_ms = started.elapsed().as_millis(),
        "the ledger is loaded"
    );

    let flight = Flight::new();
    parts.flight.send_replace(Some(flight.clone()));
    parts.fence.send_replace(Some(cursor.fence));
    for brand_no in directory.parked_brands() {
        flight.park(brand_no);
    }
    let (fence, next_chunk) = (cursor.fence, cursor.chunk + 1);
    let brands = BrandSupervisorArguments {
        keys: keys.clone(),
        flight: flight.clone(),
        limits: config.restart,
        tries_max: config.brand_tries_max,
        metrics: Arc::clone(&parts.metrics),
    };
    let (brands, _) =
        BrandSupervisor::spawn_linked(None, BrandSupervisor, brands, root.get_cell()).await?;
    let ledger = LedgerArguments {
        store: store.clone(),
        cursor,
        keys,
        directory: Arc::clone(&directory),
        flight: flight.clone(),
        bus: bus.client.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
    };
    let (ledger, _) = LedgerActor::spawn_linked(None, LedgerActor, ledger, root.get_cell()).await?;
    flight.connect(brands.clone(), ledger.clone());
    let (stop_intake, stop) = watch::channel(false);
    let intake = Intake {
        config: config.intake.clone(),
        bus: bus.clone(),
        store: store.clone(),
        sorter: Sorter { config: config.sorter.clone(), directory },
        flight: flight.clone(),
        ledger: ledger.clone(),
        bell: parts.bell.clone(),
        metrics: Arc::clone(&parts.metrics),
        health: Arc::clone(&parts.health),
        stop,
        next_chunk,
        credits: Arc::new(Semaphore::new(config.intake.credits)),
        fence,
        caution: None,
    };
    let intake = tokio::spawn(watch_intake(intake, root));
    let lock = tokio::spawn(lock.keep(store.clone()));
    Ok(Metering { brands, ledger, flight, intake, stop_intake, lock })
}

/// Runs the intake and tells the root if it fails or panics.
async fn watch_intake(intake: Intake, root: ActorRef<EngineMsg>) {
    let mut task = AbortOnDrop(tokio::spawn(intake.run()));
    let why = match (&mut task.0).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
        Err(panic) => format!("the intake ended: {panic}"),
    };
    let _ = root.cast(EngineMsg::IntakeFailed(why));
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
    let mut wait = Duration::from_millis(50);
    loop {
        match work().await {
            Ok(done) => {
                parts.health.well(Component::Database);
                return Ok(done);
            }
            Err(store::Error::Unavailable(error)) => {
                parts.health.ill(Component::Database, format!("it cannot be reached: {error}"));
                tracing::warn!(%error, "the database is away; waiting for it");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
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
    let mut wait = Duration::from_millis(50);
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
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
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
    keys::load(&mut connection, cursor.entry, |key| keys.add(key)).await?;
    if i64::try_from(keys.len()) != Ok(cursor.entry) {
        return Err(store::Error::Corrupt(format!(
            "the ledger has {} receipts and the cursor says {}: run `prooftally audit`",
            keys.len(),
            cursor.entry
        )));
    }
    Ok(keys)
}

async fn make_segments(store: &Store, cursor: &Cursor) -> Result<(), store::Error> {
    let entries = cursor.segment_entries.unwrap_or(1);
    let segment = segments::segment_of(cursor.entry, entries);
    segments::ensure(&store.pool, segment..segment + 2, entries).await
}

/// Measures how far the cursor is behind the stream, now and then.
async fn watch_lag(parts: Arc<Parts>) {
    const EVERY: Duration = Duration::from_secs(2);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(flight) = parts.flight.borrow().as_ref() {
            let (chunks, actors) = flight.load();
            parts.metrics.load(chunks, actors);
        }
        let name = &parts.config.intake.pull.stream;
        let Ok(Some(info)) = streams::info(&parts.bus.jetstream, name).await else { continue };
        let Ok(cursor) = cursor::read(&parts.store.pool).await else { continue };
        let last = i64::try_from(info.state.last_sequence).unwrap_or(i64::MAX);
        let messages = (last - cursor.sequence).max(0);
        let age = match cursor.stored_at {
            Some(stored_at) if messages > 0 => chrono::Utc::now() - stored_at,
            _ => chrono::TimeDelta::zero(),
        };
        parts.metrics.lag(messages, age.to_std().unwrap_or_default());
    }
}

impl Config {
    /// The parts' settings out of the configuration's.
    pub fn of(config: &crate::config::Config) -> Self {
        let milliseconds = Duration::from_millis;
        let pull = &config.intake;
        // Delivered and not yet acknowledged: what is asked for, half as much again, and all chunks
        // in flight; twice that, so that the server never waits for an acknowledgement.
        let unacknowledged = pull.pull_messages * 2 + pull.chunk_messages_max * (pull.credits + 1);
        Self {
            store: store_config(config),
            migrate_on_start: config.database.migrate_on_start,
            segment_entries: SEGMENT_ENTRIES,
            bus: bus_config(config),
            intake: intake::Config {
                pull: bus::pull::Config {
                    stream: config.nats.stream.clone(),
                    consumer: config.nats.consumer.clone(),
                    messages: pull.pull_messages,
                    heartbeat: milliseconds(pull.heartbeat_ms),
                    ack_pending_max: i64::try_from(unacknowledged * 2).unwrap_or(i64::MAX),
                },
                chunk_messages_max: pull.chunk_messages_max,
                chunk_bytes_max: pull.chunk_bytes_max,
                credits: pull.credits,
            },
            sorter: sorter::Config {
                verified: config.nats.subjects.verified.clone(),
                failed: config.nats.subjects.failed.clone(),
                limits: bus::decode::Limits {
                    payload_bytes_max: pull.payload_bytes_max,
                    future_max: chrono::TimeDelta::milliseconds(
                        i64::try_from(pull.future_tolerance_ms).unwrap_or(i64::MAX / 2),
                    ),
                },
                brands_max: config.brands.auto_create_max,
                default_zone: config.brands.default_zone,
                predicates_max: pull.predicates_max,
            },
            restart: Limits {
                failures_max: config.supervision.restarts_max,
                window: milliseconds(config.supervision.restart_window_ms),
                backoff_min: milliseconds(config.supervision.backoff_ms_min),
            },
            brand_tries_max: config.supervision.brand_tries_max,
            admin_listen: config.admin.listen,
            metrics_brands_max: config.admin.metrics_brands_max,
            shutdown_grace: milliseconds(config.service.shutdown_grace_ms),
        }
    }
}

/// How the database is reached.
pub fn store_config(config: &crate::config::Config) -> store::Config {
    store::Config {
        url: config.database.url.clone(),
        connections_max: config.database.connections_max,
        acquire_timeout: Duration::from_millis(config.database.acquire_timeout_ms),
        commit_timeout: Duration::from_millis(config.database.commit_timeout_ms),
    }
}

/// How the bus is reached.
pub fn bus_config(config: &crate::config::Config) -> bus::Config {
    bus::Config {
        url: config.nats.url.clone(),
        credentials_file: config.nats.credentials_file.clone(),
        ping_interval: Duration::from_millis(config.nats.ping_interval_ms),
    }
}

/// The streams that should be there, the origin first.
pub fn streams_wanted(config: &crate::config::Config) -> Vec<streams::Wanted> {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
    let origin = &config.nats.origin;
    let mirror = &config.nats.mirror;
    let mut wanted = vec![streams::Wanted {
        name: origin.name.clone(),
        subjects: origin.subjects.clone(),
        mirror_of: None,
        messages_max: origin.messages_max,
        bytes_max: origin.bytes_max,
        age_max: days(origin.age_max_days),
        replicas: origin.replicas,
    }];
    if mirror.enabled {
        wanted.push(streams::Wanted {
            name: mirror.name.clone(),
            subjects: Vec::new(),
            mirror_of: Some(origin.name.clone()),
            messages_max: mirror.messages_max,
            bytes_max: mirror.bytes_max,
            age_max: days(mirror.age_max_days),
            replicas: mirror.replicas,
        });
    }
    wanted
}
