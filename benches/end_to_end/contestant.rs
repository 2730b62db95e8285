//! A contestant's run: what it is told, and what it found. It runs in a process of its own, so that
//! processor time and memory are its alone.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prooftally::config::Config;
use prooftally::local::Stack;
use prooftally::store::Store;
use prooftally::{bus, engine as product};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::case::{Case, MIRROR, STREAM};
use crate::processes::{self, Cpu};
use crate::{copy, drain, engine, peer, writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Contestant {
    /// L1: reads and acknowledges, and does nothing else.
    Drain,
    /// L2: writes the ledger rows, and does nothing else.
    Copy,
    Prooftally,
    /// The loop of ADR-004 in TypeScript.
    Adr004,
    /// A transaction a message.
    OneByOne,
    /// A transaction a hundred messages.
    Batches,
}

impl Contestant {
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Drain => "L1 drain",
            Contestant::Copy => "L2 copy",
            Contestant::Prooftally => "prooftally",
            Contestant::Adr004 => "ADR-004 loop",
            Contestant::OneByOne => "one by one",
            Contestant::Batches => "batches of 100",
        }
    }
}

/// What a contestant is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub contestant: Contestant,
    pub case: Case,
    pub nats_url: String,
    pub nats_pid: u32,
    pub database_url: String,
    pub postgres_pid: u32,
    pub chunk: usize,
    pub credits: usize,
    pub segment: i64,
    /// Whether prooftally reads the mirror and not the stream that is published to.
    pub reads_mirror: bool,
}

/// What a contestant found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub events: u64,
    pub seconds: f64,
    /// Processor time of one event.
    pub cpu: Cpu,
    pub memory_bytes_max: u64,
    /// From the start of an engine to its first commit; 0 for others.
    pub first_commit_seconds: f64,
    /// What is wrong with the result; the rate is void unless this is empty.
    pub faults: Vec<String>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

impl Order {
    /// Has `program`, or this program, carry it out.
    pub fn run(&self, program: Option<&Path>) -> anyhow::Result<Outcome> {
        let me = std::env::current_exe()?;
        let output = Command::new(program.unwrap_or(&me))
            .args(["--bench", "--order", &serde_json::to_string(self)?])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        anyhow::ensure!(output.status.success(), "{:?} failed: {}", self.contestant, output.status);
        serde_json::from_slice(&output.stdout).context("a contestant's answer")
    }

    /// The product's settings for these servers.
    pub fn config(&self) -> product::Config {
        let mut config = Config::default();
        config.nats.url = self.nats_url.as_str().into();
        let stream = if self.reads_mirror { MIRROR } else { STREAM };
        stream.clone_into(&mut config.nats.stream);
        config.nats.mirror.enabled = self.reads_mirror;
        config.intake.chunk_messages_max = self.chunk;
        config.intake.credits = self.credits;
        config.ledger.segment_entries = self.segment;
        // In proportion, so that the bytes are not what cuts a chunk.
        config.intake.chunk_bytes_max = config.intake.chunk_bytes_max.max(self.chunk * 512);
        config.database.url = self.database_url.as_str().into();
        config.admin.listen = ([127, 0, 0, 1], 0).into();
        config.api.listen = ([127, 0, 0, 1], 0).into();
        product::Config::of(&config)
    }

    pub fn store(&self) -> anyhow::Result<Store> {
        Store::new(&self.config().store)
    }
}

/// Carries an order out and prints the outcome.
pub async fn obey(order: &Order) -> anyhow::Result<()> {
    let outcome = match order.contestant {
        Contestant::Drain => drain::run(order).await?,
        Contestant::Copy => copy::run(order).await?,
        Contestant::Prooftally => engine::run(order).await?,
        Contestant::Adr004 => peer::run(order, 5_000)?,
        Contestant::OneByOne => writer::run(order, 1, 5_000).await?,
        Contestant::Batches => writer::run(order, 100, 100_000).await?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Measures from its making to its end.
pub struct Watch<'a> {
    order: &'a Order,
    since: Instant,
    cpu: Cpu,
}

impl<'a> Watch<'a> {
    pub fn start(order: &'a Order) -> anyhow::Result<Self> {
        let cpu = Cpu::now(std::process::id(), order.nats_pid, order.postgres_pid)?;
        Ok(Self { order, since: Instant::now(), cpu })
    }

    pub fn stop(self, events: u64) -> anyhow::Result<Outcome> {
        let seconds = self.since.elapsed().as_secs_f64();
        let me = std::process::id();
        let cpu = Cpu::now(me, self.order.nats_pid, self.order.postgres_pid)?;
        Ok(Outcome {
            events,
            seconds,
            cpu: cpu.each(self.cpu, events),
            memory_bytes_max: processes::memory_max(me)?,
            first_commit_seconds: 0.0,
            faults: Vec::new(),
        })
    }
}

pub fn bus_config(url: &str) -> bus::Config {
    bus::Config { url: url.into(), credentials_file: None, ping_interval: Duration::from_secs(10) }
}

/// A database for one run.
pub struct Database {
    /// Over the socket: a connection over TCP waits for delayed acknowledgements in a COPY.
    pub url: String,
    admin: Store,
}

const NAME: &str = "contest";

impl Database {
    /// Makes it, and leaves PostgreSQL with nothing to do from before.
    pub async fn create(stack: &Stack) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.database.url = stack.postgres.socket_url("postgres").into();
        let admin = Store::new(&product::Config::of(&config).store)?;
        stack.postgres.create_database(NAME)?;
        sqlx::raw_sql("checkpoint").execute(&admin.pool).await?;
        Ok(Self { url: stack.postgres.socket_url(NAME), admin })
    }

    pub async fn remove(self) -> anyhow::Result<()> {
        let statement = format!("drop database {NAME} with (force)");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.admin.pool).await?;
        self.admin.pool.close().await;
        Ok(())
    }
}
