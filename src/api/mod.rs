//! The API: usage, invoices and what may be done to them, over HTTP.
//!
//! A request passes `edge` (its id, problems, time), `caller` (who it is), `access` (may they), `limiter`,
//! `edge` again if it changes something (its turn), `once` (Idempotency-Key) and then its handler, one file a resource. Handlers run in a task of their own,
//! so that a client that goes away never ends a transaction half-way. Whoever belongs to a brand reads under
//! a role of the database that sees that brand alone.

#![allow(clippy::struct_field_names, reason = "fields are called what the JSON calls them")]

mod accept;
mod access;
mod activity;
mod amend;
mod amount;
mod applying;
mod assigning;
mod assignments;
mod behind;
mod brands;
mod caller;
mod conflicts;
mod description;
mod drafts;
mod edge;
mod examples;
mod form;
mod gaps;
mod holders;
mod holds;
mod invoices;
mod issuer;
mod keys;
mod limiter;
mod lines;
pub mod listener;
pub mod oidc;
mod once;
mod page;
mod patient;
mod payments;
mod periods;
mod place;
mod plan_terms;
mod plans;
mod preview;
mod pricing;
mod problem;
mod profiles;
mod pulse;
mod receipts;
mod rejections;
mod reports;
mod requests;
mod run;
pub mod stream;
mod usage;
mod voids;
mod waivers;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgPool, PgTransaction};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use utoipa_swagger_ui::SwaggerUi;

use crate::store::due::{Terms, issuer_at};
use crate::store::finding::Lent;
use crate::store::plan_file::folder::PriceLists;
use crate::store::reading::Plans;
use crate::store::{Error, Store, change, reading};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use access::Operation;
use caller::Caller;
use holders::Holders;
use limiter::Limiter;
pub use listener::Tls;
use oidc::Oidc;
use problem::Problem;
use stream::Streams;

/// What the API needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub connections_max: u32,
    /// Of the connections of its clients.
    pub sockets: listener::Limits,
    pub body_bytes_max: usize,
    pub request_timeout: Duration,
    /// How long streamed answers may take.
    pub streams: stream::Limits,
    pub page_rows_max: u32,
    pub requests_per_second: u32,
    pub requests_burst: u32,
    /// Whose tokens are accepted beside keys.
    pub oidc: Option<oidc::Config>,
    pub terms: Terms,
    pub price_lists: PriceLists,
}

/// Certificates and key, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What the engine that serves the API shares with it.
#[derive(Clone)]
pub struct Shared {
    pub health: Arc<Health>,
    pub metrics: Arc<Metrics>,
    pub counted: Lent,
}

impl Shared {
    pub fn of(health: &Arc<Health>, metrics: &Arc<Metrics>, counted: &Lent) -> Self {
        Self { health: Arc::clone(health), metrics: Arc::clone(metrics), counted: counted.clone() }
    }
}

/// How long who has made a change waits for a connection among all others, before taking the one that is kept for
/// its answer.
const MOMENT: Duration = Duration::from_millis(50);

/// What all handlers share.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    store: Store,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    operations: HashMap<(String, String), Operation>,
    limiter: Limiter,
    streams: Streams,
    /// A connection beside those of `store`, to answer for what was made while all of those are in use.
    answers: Store,
    /// Places of those who change something.
    changes: Semaphore,
    oidc: Option<Oidc>,
    holders: Holders,
    counted: Lent,
}

impl Api {
    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The pool with which it is noted how a request was answered: the one beside, while each connection of the
    /// others' is in use.
    fn noting(&self) -> &PgPool {
        let pool = &self.inner.store.pool;
        let is_full = pool.num_idle() == 0 && pool.size() >= pool.options().get_max_connections();
        if is_full { &self.inner.answers.pool } else { pool }
    }

    /// Today by the calendar of the issuer in force; in UTC while there is none.
    fn today(&self, now: DateTime<Utc>) -> NaiveDate {
        let issuer = issuer_at(&self.config().terms.issuers, now);
        issuer.map_or(now.date_naive(), |issuer| billing::usage::usage_day(now, issuer.zone))
    }

    /// A snapshot that shows what the caller may see. It has written nothing, so nobody waits for its end: when it
    /// is dropped, the database is told as the connection goes back to the pool.
    async fn read(&self, caller: &Caller) -> Result<PgTransaction<'static>, Problem> {
        self.snapshot(caller, Plans::ForValues).await
    }

    /// The same, for what is found by its name.
    async fn read_named(&self, caller: &Caller) -> Result<PgTransaction<'static>, Problem> {
        self.snapshot(caller, Plans::Kept).await
    }

    async fn snapshot(
        &self,
        caller: &Caller,
        plans: Plans,
    ) -> Result<PgTransaction<'static>, Problem> {
        let timeout = self.inner.config.request_timeout;
        let begin = |store| reading::begin(store, caller.brand_no(), timeout, plans);
        if !change::is_begun() {
            return Ok(begin(&self.inner.store).await?);
        }
        // What was made is answered as made, whoever else has the connections.
        match tokio::time::timeout(MOMENT, begin(&self.inner.store)).await {
            Err(_) | Ok(Err(Error::Unavailable(sqlx::Error::PoolTimedOut))) => {
                Ok(begin(&self.inner.answers).await?)
            }
            Ok(snapshot) => Ok(snapshot?),
        }
    }
}

/// A listener that is open, and what it serves.
pub struct Server {
    listener: tokio::net::TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: listener::Limits,
    pub address: SocketAddr,
}

impl Server {
    /// Opens the listener. `store` must be the API's own, so that requests never take the engine's
    /// connections; `engine` is what the engine lends.
    ///
    /// # Errors
    /// If the address cannot be opened, or a file of TLS cannot be read.
    pub async fn open(config: Config, store: Store, engine: Shared) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(Tls::read).transpose()?;
        let oidc = config.oidc.clone().map(Oidc::new).transpose()?;
        let listener = tokio::net::TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("api.listen {} cannot be opened", config.listen))?;
        let address = listener.local_addr()?;
        if let Some(oidc) = &oidc {
            oidc.warm();
        }
        let limits = config.sockets;
        let router = router(config, store, oidc, engine);
        Ok(Self { listener, tls, router, limits, address })
    }

    /// Serves until the task is dropped.
    pub async fn serve(self) {
        match self.tls {
            Some(tls) => {
                let accepted = tls.listen(self.listener, self.limits.handshake);
                listener::serve(accepted, self.router, self.limits).await;
            }
            None => listener::serve(self.listener, self.router, self.limits).await,
        }
    }
}

fn router(config: Config, store: Store, oidc: Option<Oidc>, engine: Shared) -> Router {
    let (routes, document) = description::routes().split_for_parts();
    let document = description::complete(document);
    let limiter = Limiter::new(config.requests_per_second, config.requests_burst);
    let streams = Streams::new(config.streams, config.connections_max);
    let changes = Semaphore::new((config.connections_max / 2).max(1) as usize);
    let operations = access::operations(&document);
    let body_bytes_max = config.body_bytes_max;
    let Shared { health, metrics, counted } = engine;
    let answers = store.apart(1, config.request_timeout);
    let inner = Inner {
        config,
        store,
        health,
        metrics,
        operations,
        limiter,
        streams,
        answers,
        changes,
        oidc,
        holders: Holders::default(),
        counted,
    };
    let api = Api { inner: Arc::new(inner) };
    let docs = SwaggerUi::new("/docs").url("/openapi.json", document);
    routes
        .layer(from_fn_with_state(api.clone(), once::once))
        .layer(from_fn_with_state(api.clone(), edge::in_turn))
        .layer(from_fn_with_state(api.clone(), access::admit))
        .merge(docs)
        .fallback(edge::no_such_path)
        .method_not_allowed_fallback(edge::no_such_method)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(CompressionLayer::new().gzip(true))
        .layer(from_fn_with_state(api.clone(), edge::in_time))
        .layer(from_fn(edge::identified))
        .with_state(api)
}

/// The OpenAPI document, as it is served, with the members of each object in the order of their names: the
/// same bytes each time.
///
/// # Panics
/// Never: the document is plain data.
pub fn openapi() -> String {
    let (_, document) = description::routes().split_for_parts();
    let sorted = serde_json::to_value(description::complete(document));
    let text = sorted.and_then(|sorted| serde_json::to_string_pretty(&sorted));
    text.expect("the document is plain data")
}
