//! How fast prooftally is beside the two limits that it cannot pass, and beside simpler writers.
//!
//! `cargo bench --bench end_to_end` starts its own servers, publishes each case's events once, and
//! then lets the contestants read them in turn, round by round, each in a process of its own and
//! with a fresh database. docs/performance.md says what is measured and why.

mod case;
mod contestant;
mod copy;
mod drain;
mod engine;
mod growth;
mod metered;
mod paced;
mod peer;
mod processes;
mod publishing;
mod report;
mod writer;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use prooftally::bus::{self, Bus};
use prooftally::config::Config;
use prooftally::local::{Binaries, NatsOptions, Stack};

use case::Case;
use contestant::{Contestant, Order, Outcome};
use report::{CaseReport, Report};

#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
struct Options {
    /// Given by `cargo bench`; without it nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
    /// What a process of its own is to do, as JSON
    #[arg(long, hide = true)]
    order: Option<String>,
    /// Run only these cases
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Events of a case
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Brands of the cases that do not say
    #[arg(long, default_value_t = 1_000)]
    brands: u32,
    /// Zipf exponent over the brands
    #[arg(long, default_value_t = 1.0)]
    skew: f64,
    /// Hours that the events span, in the cases that do not say
    #[arg(long, default_value_t = 1)]
    hours: u32,
    /// Rounds that count; one more before them does not
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events in a chunk, at most
    #[arg(long, default_value_t = Config::default().intake.chunk_messages_max)]
    chunk: usize,
    /// Chunks in flight, at most
    #[arg(long, default_value_t = Config::default().intake.credits)]
    credits: usize,
    /// Leave the simple writers out
    #[arg(long)]
    no_writers: bool,
    /// Measure growth instead of the cases: `count` events, metered slice by slice
    #[arg(long)]
    growth: bool,
    /// Events of a slice of growth
    #[arg(long, default_value_t = 1_000_000)]
    slice: u64,
    /// Measure how long events take that come at this rate, instead of the cases
    #[arg(long, value_name = "EVENTS_A_SECOND")]
    paced: Option<u64>,
    /// With --paced: the engine reads a mirror of the stream that is published to
    #[arg(long, requires = "paced")]
    mirror: bool,
    /// How long they come
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Entries in a segment of the ledger
    #[arg(long, default_value_t = Config::default().ledger.segment_entries)]
    segment: i64,
    /// A setting of PostgreSQL, as name=value
    #[arg(long = "postgres", value_name = "SETTING")]
    postgres: Vec<String>,
    /// Other builds of this program whose engine runs in the same rounds
    #[arg(long = "rival", value_name = "PROGRAM")]
    rivals: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` runs this program too, without arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let options = Options::parse();
    // As the product's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match (&options.order, options.paced) {
        (Some(order), _) => runtime.block_on(contestant::obey(&serde_json::from_str(order)?)),
        (None, Some(rate)) => runtime.block_on(paced::run(&options, rate)),
        (None, None) if options.growth => runtime.block_on(growth::run(&options)),
        (None, None) => runtime.block_on(compare(&options)),
    }
}

async fn compare(options: &Options) -> anyhow::Result<()> {
    if !options.no_writers {
        peer::program()?;
    }
    let cases = case::cases(options)?;
    let mut report = Report::new(options);
    report.print_head();
    for case in cases {
        let stack = start(options)?;
        let bus = bus::connect(&contestant::bus_config(&stack.nats_url()), false).await?;
        let truth = case.publish(&bus).await?;
        let mut found = CaseReport::new(&case);
        // The first round warms caches and is not counted.
        for round in 0..=options.rounds {
            let mut field = field(options, round == 0);
            // Nobody always runs after the same neighbour.
            field.rotate_left(round % 2);
            for entry in field {
                let outcome = run(&stack, &case, &entry, options, &truth).await?;
                found.print_progress(round, &entry, &outcome);
                if round > 0 {
                    found.add(&entry, outcome);
                }
            }
        }
        found.print(report.cores());
        report.add(found);
    }
    report.write()
}

/// Who runs in a round.
fn field(options: &Options, is_warm_up: bool) -> Vec<Entry> {
    let me = |contestant| Entry { contestant, program: None };
    let mut field = vec![me(Contestant::Drain), me(Contestant::Copy), me(Contestant::Prooftally)];
    for program in &options.rivals {
        field.push(Entry { contestant: Contestant::Prooftally, program: Some(program.clone()) });
    }
    if !options.no_writers && !is_warm_up {
        let writers = [Contestant::Adr004, Contestant::OneByOne, Contestant::Batches];
        field.extend(writers.map(me));
    }
    field
}

/// A contestant, and the build that runs it if it is not this one.
pub struct Entry {
    pub contestant: Contestant,
    pub program: Option<PathBuf>,
}

impl Entry {
    /// What the tables call it.
    pub fn name(&self) -> String {
        match &self.program {
            Some(program) => program.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            None => self.contestant.name().to_owned(),
        }
    }
}

fn start(options: &Options) -> anyhow::Result<Stack> {
    let settings = options
        .postgres
        .iter()
        .map(|setting| {
            let (name, value) = setting.split_once('=').context("--postgres is name=value")?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect::<anyhow::Result<_>>()?;
    let postgres = prooftally::local::PostgresOptions { settings, ..Default::default() };
    Ok(Stack::start_with(&Binaries::find()?, NatsOptions::default(), postgres)?)
}

/// Runs one contestant on a fresh database and, if it is prooftally, checks what it counted.
async fn run(
    stack: &Stack,
    case: &Case,
    entry: &Entry,
    options: &Options,
    truth: &prooftally::workload::Truth,
) -> anyhow::Result<Outcome> {
    let database = contestant::Database::create(stack).await?;
    let order = Order {
        contestant: entry.contestant,
        case: case.clone(),
        nats_url: stack.nats_url(),
        nats_pid: stack.nats.pid(),
        database_url: database.url.clone(),
        postgres_pid: stack.postgres.pid(),
        chunk: options.chunk,
        credits: options.credits,
        segment: options.segment,
        reads_mirror: false,
    };
    let mut outcome = order.run(entry.program.as_deref())?;
    if entry.contestant == Contestant::Prooftally {
        outcome.faults = engine::faults(&database.url, truth).await?;
    }
    database.remove().await?;
    Ok(outcome)
}

/// Reads with what the product reads with, so that drains differ in nothing else.
pub async fn open(
    bus: &Bus,
    config: &prooftally::engine::Config,
) -> anyhow::Result<bus::pull::Pull> {
    // The connection is announced late, and a reader takes what is announced for a new one.
    bus.connections.clone().wait_for(|connections| *connections > 0).await?;
    Ok(bus::pull::Pull::open(bus, &config.intake.pull, 1, 1).await?)
}
