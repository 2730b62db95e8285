//! The composition root: what is started in which order, and stopped in which.
//!
//! Start: admin listener, database (migrations), bus; then the metering subtree: lock, fence, cursor,
//! directory, keys, actors, intake. Stop: intake, what is in flight, ledger, acknowledgements, pool.

mod lookout;
mod metering;
mod rounds;
mod serving;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use anyhow::Context as _;
use ractor::{Actor, ActorRef};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::actors::biller::BillerArguments;
use crate::actors::engine_supervisor::{EngineArguments, EngineMsg, EngineSupervisor};
use crate::actors::flight::Flight;
use crate::actors::refusals::Refusals;
use crate::actors::restart::Limits;
use crate::api;
use crate::bus::requests::Bell;
use crate::bus::witness::{self, Witness};
use crate::bus::{self, Bus, intake, sorter};
use crate::store::cursor::{self, Place};
use crate::store::due::Terms;
use crate::store::finding::Lent;
use crate::store::{self, Store};
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
pub use lookout::time_to_loss;
use serving::Serving;
pub use settings::{
    billing_terms, bus_config, origin_of_mirror, price_lists, store_config, streams_wanted,
    witness_config,
};

/// Everything that an engine needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: store::Config,
    pub migrate_on_start: bool,
    pub segment_entries: i64,
    pub bus: bus::Config,
    pub intake: intake::Config,
    pub sorter: sorter::Config,
    pub witness: witness::Config,
    /// People are warned when less time is left until unread messages are dropped.
    pub time_to_loss_min: Duration,
    pub restart: Limits,
    /// Failures on the same slice after which a brand's events are parked.
    pub brand_tries_max: u32,
    /// A brand without work for so long loses its actor.
    pub passivate_after: Duration,
    /// How often the whole database is audited; `None` for never.
    pub audit_every: Option<Duration>,
    pub billing: Billing,
    /// `None` if it is off.
    pub api: Option<api::Config>,
    pub admin_listen: SocketAddr,
    pub metrics_brands_max: usize,
    pub shutdown_grace: Duration,
}

/// How documents are issued.
#[derive(Clone, Debug)]
pub struct Billing {
    pub terms: Terms,
    /// Issues what nothing speaks against; otherwise a person does.
    pub finalizes: bool,
    /// How often drafts are refreshed.
    pub every: Duration,
}

/// How long the end of an engine waits for servers to hear of it.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// An engine that runs.
pub struct Engine {
    root: ActorRef<EngineMsg>,
    ended: tokio::task::JoinHandle<()>,
    beside: Vec<tokio::task::JoinHandle<()>>,
    serving: Option<Serving>,
    parts: Arc<Parts>,
    pub admin: SocketAddr,
    /// Where the API listens, if it is on.
    pub api: Option<SocketAddr>,
}

/// What every life of the metering subtree shares.
struct Parts {
    config: Config,
    store: Store,
    bus: Bus,
    bell: Bell,
    refusals: Refusals,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// The flight of the present life, for the gauges.
    flight: watch::Sender<Option<Flight>>,
    fence: watch::Sender<Option<i64>>,
    /// The last commit, for the witness.
    committed: watch::Sender<Option<Place>>,
    witness: Witness,
    /// What the present life lends the API of what is counted.
    counted: Lent,
    /// Messages after the cursor, when last looked at.
    backlog: AtomicI64,
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
        let asked = store::Config { connections_max: 1, ..config.store.clone() };
        health.ask(Store::new(&asked)?);
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
        let counted = Lent::default();
        let shared = api::Shared::of(&health, &metrics, &counted);
        let serving = Serving::start(&config, shared).await?;
        let store = Store::new(&config.store)?;
        let bus = bus::connect(&config.bus, true).await?;
        let restart = config.restart;
        let biller = BillerArguments {
            store: store.clone(),
            terms: config.billing.terms.clone(),
            finalizes: config.billing.finalizes,
            every: config.billing.every,
            metrics: Arc::clone(&metrics),
        };
        let stream = config.intake.pull.stream.clone();
        let witness = Witness::new(bus.jetstream.clone(), config.witness.clone(), stream);
        let parts = Arc::new(Parts {
            config,
            store,
            bus,
            bell: Bell::default(),
            refusals: Refusals::default(),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            flight: watch::Sender::new(None),
            fence: watch::Sender::new(None),
            committed: watch::Sender::new(None),
            witness,
            counted,
            backlog: AtomicI64::new(i64::MAX),
        });
        beside.push(tokio::spawn(parts.bell.clone().listen(parts.store.clone())));
        beside.push(tokio::spawn(lookout::Lookout::new(Arc::clone(&parts)).run()));
        let committed = parts.committed.subscribe();
        beside.push(tokio::spawn(parts.witness.clone().keep(committed)));
        beside.push(tokio::spawn(rounds::audits(Arc::clone(&parts))));
        beside.push(tokio::spawn(rounds::open_cases(Arc::clone(&parts))));
        let of_start = Arc::clone(&parts);
        let arguments = EngineArguments {
            start: Arc::new(move |root| Box::pin(metering::start(Arc::clone(&of_start), root))),
            biller,
            limits: restart,
            refusals: parts.refusals.clone(),
            metrics,
            health,
        };
        let (root, ended) = Actor::spawn(None, EngineSupervisor, arguments)
            .await
            .map_err(|error| anyhow::anyhow!("the root actor cannot be started: {error}"))?;
        tracing::info!(%admin, "engine has started");
        let api = serving.as_ref().map(|serving| serving.address);
        Ok(Self { root, ended, beside, serving, parts, admin, api })
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
        for task in self.beside {
            task.abort();
        }
        drop(self.serving);
        let fence = *self.parts.fence.borrow();
        let committed = *self.parts.committed.borrow();
        let last_words = async {
            if let Some(place) = committed
                && let Err(error) = self.parts.witness.write(place).await
            {
                tracing::debug!(%error, "the witness was not written");
            }
            if let Some(fence) = fence.filter(|_| in_order) {
                let _ = cursor::note_end(&self.parts.store.pool, fence).await;
            }
            let _ = self.parts.bus.client.flush().await;
            self.parts.store.pool.close().await;
        };
        // A server that hangs must not keep the process: nothing depends on these.
        let _ = tokio::time::timeout(LAST_WORDS_MAX, last_words).await;
        tracing::info!("engine has stopped");
    }
}
