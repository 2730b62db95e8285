//! Servers with a month of counted receipts, and brands that have a plan, a profile and a tax.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use prooftally::bus::publish::Publisher;
use prooftally::bus::{self, streams};
use prooftally::config::Config;
use prooftally::engine::{self, Engine, billing_terms};
use prooftally::local::{Binaries, NatsOptions, PostgresOptions, Stack};
use prooftally::store::due::Terms;
use prooftally::store::{Store, cursor, sealing, segments};
use prooftally::workload::{Generator, Percent, Spec};

use crate::{Options, terms};

pub struct Books {
    // Dropped before the servers are.
    pub store: Store,
    pub terms: Terms,
    pub first: NaiveDate,
    pub end: NaiveDate,
    /// After the grace time.
    pub now: DateTime<Utc>,
    _stack: Stack,
}

impl Books {
    /// Has the engine count `options.count` receipts of `brands` brands, and ends it.
    pub async fn new(options: &Options, brands: u32, plan: &str) -> anyhow::Result<Self> {
        let postgres = PostgresOptions::default();
        let stack = Stack::start_with(&Binaries::find()?, NatsOptions::default(), postgres)?;
        let mut config = terms::config()?;
        config.nats.url = stack.nats_url().into();
        "PROOFS".clone_into(&mut config.nats.stream);
        "PROOFS".clone_into(&mut config.nats.origin.name);
        config.nats.origin.replicas = 1;
        config.database.url = stack.postgres_url().into();
        config.ledger.segment_entries = options.segment;
        config.admin.listen = ([127, 0, 0, 1], 0).into();
        let none = Percent::ZERO;
        let spec = Spec {
            count: options.count,
            brands,
            skew: 0.0,
            duplicate: none,
            reemitted: none,
            conflict: none,
            malformed: none,
            failed: none,
            ..Spec::default()
        };
        let (first, end) = (spec.from.date_naive(), spec.until.date_naive());
        let store = Store::new(&engine::store_config(&config))?;
        store.migrate().await?;
        count(&config, &store, &spec).await?;
        terms::give(&store, plan, first, Some(end)).await?;
        sqlx::raw_sql("vacuum analyze").execute(&store.pool).await?;
        let terms = billing_terms(&config);
        let now = spec.until + chrono::TimeDelta::days(10);
        Ok(Self { store, terms, first, end, now, _stack: stack })
    }
}

/// Publishes and counts, and waits until all that is full is sealed.
async fn count(config: &Config, store: &Store, spec: &Spec) -> anyhow::Result<()> {
    let bus = bus::connect(&engine::bus_config(config), true).await?;
    for wanted in engine::streams_wanted(config) {
        streams::ensure(&bus.jetstream, &wanted).await?;
    }
    let mut generator = Generator::new(spec)?;
    let mut publisher = Publisher::new(bus.client.clone());
    while let Some(event) = generator.next_event() {
        let payload = Bytes::copy_from_slice(event.payload);
        publisher.publish(event.subject.to_owned(), payload).await?;
    }
    publisher.finish().await?;
    let engine = Engine::start(engine::Config::of(config)).await?;
    let last = i64::try_from(spec.count)?;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let cursor = cursor::read(&store.pool).await?;
        let segment_entries = cursor.segment_entries.unwrap_or(i64::MAX);
        let caught_up: i64 =
            sqlx::query_scalar("select sequence from caught_up").fetch_one(&store.pool).await?;
        let sealed = sealing::sealed_count(&store.pool).await?;
        let is_sealed = sealed == segments::full(cursor.entry, segment_entries);
        if cursor.sequence >= last && caught_up >= last && is_sealed {
            break;
        }
    }
    engine.stop().await;
    Ok(())
}
