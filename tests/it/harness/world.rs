//! A world for one test: a nats-server of its own, a database of its own, and what they must hold.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use async_nats::jetstream::Context;
use bytes::Bytes;
use prooftally::bus::publish::Publisher;
use prooftally::bus::{self, Bus, streams};
use prooftally::config::Config;
use prooftally::engine::{self, Engine};
use prooftally::local::{Binaries, Nats, NatsOptions, Postgres, PostgresOptions};
use prooftally::store::usage::{self, Dimension, Query};
use prooftally::store::{Store, conservation, cursor, rejections, usage_fold};
use prooftally::workload::{FailedRow, Generator, Kind, Spec, Totals, Truth, UsageRow};
use sqlx::PgPool;

use super::engine_process::PROGRAM;
use super::wait_for;

/// The PostgreSQL that tests share, each with its own database. It stops with this process.
static SHARED: LazyLock<Arc<Postgres>> = LazyLock::new(|| Arc::new(postgres()));

fn postgres() -> Postgres {
    let options = PostgresOptions {
        // Tests kill processes and not machines, so nothing needs to reach the disk.
        durable: false,
        settings: vec![("max_connections".to_owned(), "300".to_owned())],
        ..PostgresOptions::default()
    };
    Postgres::start(&binaries(), options).expect("PostgreSQL starts")
}

fn binaries() -> Binaries {
    Binaries::find().expect("dev/setup has been run")
}

/// Where the database of a test lives.
pub enum Postgresql {
    Shared(Arc<Postgres>),
    /// A server that the test may stop and crash.
    Own(Box<Postgres>),
}

impl Postgresql {
    fn server(&self) -> &Postgres {
        match self {
            Postgresql::Shared(postgres) => postgres,
            Postgresql::Own(postgres) => postgres,
        }
    }
}

/// Everything that a test works with.
pub struct World {
    pub nats: Nats,
    pub postgres: Postgresql,
    pub config: Config,
    pub bus: Bus,
    pub store: Store,
}

impl World {
    /// On the shared PostgreSQL.
    pub async fn new() -> Self {
        Self::with_stream("PROOFS").await
    }

    /// On the shared PostgreSQL, with another name for the stream.
    pub async fn with_stream(stream: &str) -> Self {
        Self::on(Postgresql::Shared(Arc::clone(&SHARED)), stream, |_| {}).await
    }

    /// On the shared PostgreSQL, with another configuration; the streams are made by it.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Postgresql::Shared(Arc::clone(&SHARED)), "PROOFS", change).await
    }

    /// With a PostgreSQL of its own.
    pub async fn with_own_postgres() -> Self {
        Self::on(Postgresql::Own(Box::new(postgres())), "PROOFS", |_| {}).await
    }

    async fn on(postgres: Postgresql, stream: &str, change: impl FnOnce(&mut Config)) -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        postgres.server().create_database(&database).expect("the database is created");
        let nats = Nats::start(&binaries(), NatsOptions::default()).expect("nats-server starts");
        let mut config = Config::default();
        config.nats.url = nats.url().into();
        stream.clone_into(&mut config.nats.stream);
        stream.clone_into(&mut config.nats.origin.name);
        config.nats.origin.replicas = 1;
        config.nats.mirror.replicas = 1;
        config.database.url = postgres.server().url(&database).into();
        config.admin.listen = ([127, 0, 0, 1], 0).into();
        config.api.listen = ([127, 0, 0, 1], 0).into();
        change(&mut config);
        let bus = bus::connect(&engine::bus_config(&config), true).await.expect("the bus is there");
        let store = Store::new(&engine::store_config(&config)).expect("the URL is good");
        store.migrate().await.expect("its owner migrates it");
        let world = Self { nats, postgres, config, bus, store };
        world.ensure_streams().await;
        world
    }

    async fn ensure_streams(&self) {
        for wanted in engine::streams_wanted(&self.config) {
            streams::ensure(&self.bus.jetstream, &wanted).await.expect("streams are created");
        }
    }

    pub fn pool(&self) -> &PgPool {
        &self.store.pool
    }

    pub fn jetstream(&self) -> &Context {
        &self.bus.jetstream
    }

    /// An engine in this process.
    pub async fn engine(&self) -> Engine {
        self.engine_with(|_| {}).await
    }

    /// An engine in this process with other settings.
    pub async fn engine_with(&self, change: impl FnOnce(&mut engine::Config)) -> Engine {
        let mut config = engine::Config::of(&self.config);
        config.store.url = self.application_url().into();
        change(&mut config);
        Box::pin(Engine::start(config)).await.expect("the engine starts")
    }

    /// The database as engines and programs reach it: as the application's role. The world itself is the
    /// owner, so that it can do what nobody may.
    pub fn application_url(&self) -> String {
        use secrecy::ExposeSecret;
        self.config.database.url.expose_secret().replacen("//postgres@", "//prooftally_app@", 1)
    }

    /// The variables that point a process at this world.
    pub fn variables(&self) -> Vec<(String, String)> {
        use secrecy::ExposeSecret;
        let config = &self.config;
        [
            ("PROOFTALLY__NATS__URL", config.nats.url.expose_secret().to_owned()),
            ("PROOFTALLY__DATABASE__URL", self.application_url()),
            ("PROOFTALLY__NATS__STREAM", config.nats.stream.clone()),
            ("PROOFTALLY__NATS__ORIGIN__NAME", config.nats.origin.name.clone()),
            ("PROOFTALLY__NATS__ORIGIN__MESSAGES_MAX", config.nats.origin.messages_max.to_string()),
            ("PROOFTALLY__NATS__MIRROR__ENABLED", config.nats.mirror.enabled.to_string()),
            ("PROOFTALLY__NATS__MIRROR__BYTES_MAX", config.nats.mirror.bytes_max.to_string()),
            ("PROOFTALLY__NATS__ORIGIN__REPLICAS", "1".to_owned()),
            ("PROOFTALLY__NATS__MIRROR__REPLICAS", "1".to_owned()),
            ("PROOFTALLY__ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
            ("PROOFTALLY__API__LISTEN", "127.0.0.1:0".to_owned()),
            ("PROOFTALLY__TELEMETRY__LOG_FILTER", "warn".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Runs `prooftally` with these arguments to its end.
    pub fn prooftally(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(arguments)
            .envs(self.variables())
            .output()
            .expect("the program of this build starts")
    }

    /// Publishes a workload and returns what metering it must come to.
    pub async fn publish(&self, spec: &Spec) -> Truth {
        let mut generator = Generator::new(spec).expect("the spec is good");
        let mut publisher = Publisher::new(self.bus.client.clone());
        while let Some(event) = generator.next_event() {
            let subject = match event.kind {
                Kind::Failed => "proofs.failed",
                _ => "proofs.verified",
            };
            let payload = Bytes::copy_from_slice(event.payload);
            publisher.publish(subject.to_owned(), payload).await.expect("it is published");
        }
        publisher.finish().await.expect("all is stored");
        generator.truth()
    }

    /// Publishes payloads on a subject.
    pub async fn publish_raw(&self, subject: &str, payloads: impl IntoIterator<Item = String>) {
        let mut publisher = Publisher::new(self.bus.client.clone());
        for payload in payloads {
            let payload = Bytes::from(payload);
            publisher.publish(subject.to_owned(), payload).await.expect("it is published");
        }
        publisher.finish().await.expect("all is stored");
    }

    /// The cursor's position; 0 while the database is away or empty.
    pub async fn position(&self) -> i64 {
        cursor::read(self.pool()).await.map_or(0, |cursor| cursor.sequence)
    }

    /// The fence of the engine that writes.
    pub async fn fence(&self) -> i64 {
        cursor::read(self.pool()).await.expect("the database answers").fence
    }

    /// Waits until the cursor has passed `position`.
    pub async fn wait_for_position(&self, position: i64) {
        let what = format!("the cursor passes {position}");
        wait_for(&what, async || (self.position().await >= position).then_some(())).await;
    }

    /// Waits until everything in the stream is metered, and usage has it.
    pub async fn wait_until_metered(&self) {
        let name = self.config.nats.stream.clone();
        let last = wait_for("the stream answers", async || {
            let info = streams::info(self.jetstream(), &name).await.ok()??;
            i64::try_from(info.state.last_sequence).ok()
        })
        .await;
        self.wait_for_position(last).await;
        wait_for("usage has what is counted", async || {
            let usage_entry = usage_fold::last_entry(self.pool()).await.ok()?;
            (usage_entry >= cursor::read(self.pool()).await.ok()?.entry).then_some(())
        })
        .await;
    }

    /// Asserts that the database says what `truth` says, and that everything is conserved.
    pub async fn assert_equals(&self, truth: &Truth) {
        let found = self.found(truth).await;
        let differences = truth.compare(&found);
        assert!(differences.is_empty(), "not the truth:\n{}", differences.join("\n"));
        self.assert_conserved().await;
    }

    pub async fn assert_conserved(&self) {
        let found = conservation::count(self.pool()).await.expect("the database answers");
        let violations = found.violations();
        assert!(violations.is_empty(), "not conserved:\n{}", violations.join("\n"));
    }

    pub async fn usage(&self) -> Vec<UsageRow> {
        let by = vec![Dimension::Brand, Dimension::Day, Dimension::Predicate, Dimension::Result];
        let query = Query { by, ..Query::default() };
        let rows = usage::query(self.pool(), &query).await.expect("the database answers");
        let count = |number: i64| u64::try_from(number).expect("counts are not negative");
        rows.into_iter()
            .map(|row| UsageRow {
                brand: row.brand.expect("grouped by it"),
                usage_day: row.usage_day.expect("grouped by it"),
                predicate: row.predicate.expect("grouped by it"),
                result: row.result.expect("grouped by it"),
                receipts: count(row.receipts),
                duplicates: count(row.duplicates.expect("usage rows have it")),
            })
            .collect()
    }

    async fn found(&self, truth: &Truth) -> Truth {
        let cursor = cursor::read(self.pool()).await.expect("the database answers");
        let count = |number: i64| u64::try_from(number).expect("counts are not negative");
        let totals = cursor.totals;
        let rejected = rejections::open_by_reason(self.pool()).await.expect("it answers");
        let failed = rejections::failures(self.pool()).await.expect("it answers");
        Truth {
            zone: truth.zone.clone(),
            totals: Totals {
                events: count(totals.positions()),
                counted: count(totals.counted),
                duplicates: count(totals.duplicate),
                conflicts: count(totals.conflict),
                rejected: count(totals.rejected),
                failed: count(totals.ignored),
            },
            rejected: rejected.into_iter().map(|(reason, n)| (reason, count(n))).collect(),
            usage: self.usage().await,
            failed: failed
                .into_iter()
                .map(|row| FailedRow {
                    failed_on: row.failed_on,
                    predicate: row.predicate,
                    error_code: row.error_code,
                    failures: count(row.failures),
                })
                .collect(),
        }
    }
}

/// What the engine's admin listener answers on `path`: status and body.
pub async fn admin(engine: &Engine, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(engine.admin).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.expect("an HTTP status"), body.unwrap_or_default())
}

/// The engine's metrics.
pub async fn metrics(engine: &Engine) -> String {
    admin(engine, "/metrics").await.1
}
