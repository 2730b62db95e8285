//! Servers, a ledger with last month's receipts and an invoice for each brand, and events of today.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, Datelike, Months, NaiveTime, TimeDelta, Utc};
use prooftally::bus::{self, Bus, streams};
use prooftally::engine as product;
use prooftally::local::{Binaries, Stack};
use prooftally::store::billing_run::{self, Which};
use prooftally::store::{Store, api_keys, audit_runs, cursor};
use prooftally::workload::{Generator, Percent, Spec};

use crate::engine::{Order, Running};
use crate::processes::Cpu;
use crate::{Options, metered, publishing, terms};

/// Events that are published before the engine has to have metered them.
const SLICE: u64 = 1_000_000;
/// More events of a day than are ever published, so that a day is a day at any rate.
const LIVE_MAX: u64 = 100_000_000;
/// Seldom enough to cost nothing; a rate is off by this much at most.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct World {
    // Dropped before the servers are.
    pub store: Store,
    pub bus: Bus,
    order: Order,
    last_month: Generator,
    pub live: Generator,
    month: (DateTime<Utc>, DateTime<Utc>),
    /// Events so far.
    pub published: u64,
    /// The last entry of last month.
    pub billed: i64,
    stack: Stack,
}

impl World {
    /// Starts the servers and makes stream and schema.
    pub async fn new(options: &Options) -> anyhow::Result<Self> {
        if let Some(folder) = &options.keep {
            anyhow::ensure!(!folder.exists(), "{} is there already", folder.display());
        }
        let stack = Stack::start(&Binaries::find()?, options.keep.clone())?;
        let order = Order {
            nats_url: stack.nats_url(),
            // A connection over TCP waits for delayed acknowledgements in a COPY.
            database_url: stack.postgres.socket_url(prooftally::local::DATABASE),
            segment: options.segment,
        };
        let config = order.config()?;
        let store = Store::new(&product::store_config(&config))?;
        store.migrate().await?;
        let bus = bus::connect(&product::bus_config(&config), true).await?;
        for wanted in product::streams_wanted(&config) {
            streams::ensure(&bus.jetstream, &wanted).await?;
        }
        let now = Utc::now();
        let first = now.date_naive().with_day(1).context("a month has a first day")?;
        let until = first.and_time(NaiveTime::MIN).and_utc();
        let month = (until - Months::new(1), until);
        let events = options.receipts * 20 / 19;
        let last_month = Generator::new(&spec(1, events, options.brands, month))?;
        let day = (now - TimeDelta::days(1), now);
        let live = Generator::new(&spec(2, LIVE_MAX, options.brands, day))?;
        Ok(Self { store, bus, order, last_month, live, month, published: 0, billed: 0, stack })
    }

    /// Has an engine count last month's receipts, and says how many events a second that were while they were
    /// published. All that is full is sealed, and no audit is due.
    pub async fn fill(&mut self) -> anyhow::Result<f64> {
        let mut engine = Running::start(&self.order)?;
        let started = Instant::now();
        loop {
            let slice = SLICE.min(self.last_month.remaining());
            if slice == 0 {
                break;
            }
            publishing::at_once(&self.bus, &mut self.last_month, slice).await?;
            self.published += slice;
            self.catch_up(&mut engine).await?;
        }
        let rate = self.published as f64 / started.elapsed().as_secs_f64();
        self.billed = cursor::read(&self.store.pool).await?.entry;
        let counted = Utc::now();
        while audit_runs::last(&self.store.pool).await?.is_none() || !self.passed(counted).await? {
            engine.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        engine.stop()?;
        Ok(rate)
    }

    /// Whether an engine has noted, after `counted`, that it had read all there was: without that no period has
    /// passed.
    async fn passed(&self, counted: DateTime<Utc>) -> anyhow::Result<bool> {
        Ok(sqlx::query_scalar("select exists (select from caught_up where at > $1)")
            .bind(counted)
            .fetch_one(&self.store.pool)
            .await?)
    }

    /// Issues each brand's invoice of last month, and says how many there are.
    pub async fn issue(&self) -> anyhow::Result<usize> {
        let (from, until) = self.month;
        terms::give(&self.store, &terms::tiered_plan(), from.date_naive(), None).await?;
        let terms = product::billing_terms(&self.order.config()?);
        // After the grace time, also in the first days of a month.
        let now = Utc::now().max(until + TimeDelta::days(10));
        let which = Which::default();
        let done =
            billing_run::issue_all(&self.store, &terms, &which, now, "bench", |_, _| ()).await?;
        anyhow::ensure!(done.refused.is_empty(), "{:?}", done.refused);
        sqlx::raw_sql("vacuum analyze").execute(&self.store.pool).await?;
        Ok(done.issued.len())
    }

    /// A key that may read everything.
    pub async fn key(&self) -> anyhow::Result<String> {
        let (role, name) = (api_keys::Role::FinanceRead, "bench".to_owned());
        let new = api_keys::New { name, role, brand_no: None, expires_at: None };
        Ok(api_keys::create(&self.store.pool, &new, "bench").await?.key)
    }

    /// Publishes `events` of today, and then starts an engine, which stays: how many a second are metered,
    /// from the first commit to the last, sealing included?
    pub async fn drain(&mut self, events: u64) -> anyhow::Result<(Running, f64)> {
        let before = self.published;
        publishing::at_once(&self.bus, &mut self.live, events).await?;
        self.published += events;
        let mut engine = Running::start(&self.order)?;
        while self.metered().await? == before {
            engine.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let (began, first) = (Instant::now(), self.metered().await?);
        self.catch_up(&mut engine).await?;
        let rate = (self.published - first) as f64 / began.elapsed().as_secs_f64();
        Ok((engine, rate))
    }

    /// The last event that is metered.
    pub async fn metered(&self) -> anyhow::Result<u64> {
        Ok(u64::try_from(cursor::read(&self.store.pool).await?.sequence)?)
    }

    /// Waits until all events are metered and all that is full is sealed, and lets the stream forget them.
    pub async fn catch_up(&self, engine: &mut Running) -> anyhow::Result<()> {
        let mut connection = self.store.connect().await?;
        while self.metered().await? < self.published || !metered::is_done(&mut connection).await? {
            engine.check()?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let stream = self.bus.jetstream.get_stream("PROOFS").await?;
        // The message at the cursor stays: it says that the stream is the one that was metered.
        stream.purge().sequence(self.published).await?;
        Ok(())
    }

    /// Processor time so far of an engine or another process, nats-server and PostgreSQL.
    pub fn cpu(&self, pid: u32) -> anyhow::Result<Cpu> {
        Cpu::now(pid, self.stack.nats.pid(), self.stack.postgres.pid())
    }

    /// Where what was counted differs from what was published.
    pub async fn faults(&self) -> anyhow::Result<Vec<String>> {
        let (mut truth, live) = (self.last_month.truth(), self.live.truth());
        // Rows of one key add up.
        truth.usage.extend(live.usage);
        truth.totals.counted += live.totals.counted;
        metered::faults(&self.store, &truth).await
    }
}

/// Receipts, with the usual repeats: one event in twenty, half of which reach back to the beginning.
fn spec(seed: u64, count: u64, brands: u32, span: (DateTime<Utc>, DateTime<Utc>)) -> Spec {
    let (none, (from, until)) = (Percent::ZERO, span);
    let spec = Spec { seed, count, brands, from, until, ..Spec::default() };
    // Nothing that a person would have to look at before an invoice is issued.
    Spec { conflict: none, malformed: none, failed: none, ..spec }
}
