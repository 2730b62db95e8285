//! Growth: is an event as cheap in a large ledger as in an empty one?
//!
//! Events are published slice by slice while no engine runs; then an engine in a process of its own
//! meters the slice and seals what is full. So each slice also measures a start on a larger ledger.
//! What was metered is purged from the stream, which so needs disk for one slice only.

use prooftally::bus;
use prooftally::workload::Generator;

use crate::case::{self, Case, STREAM};
use crate::contestant::{self, Contestant, Database, Order, Outcome};
use crate::{Options, engine, publishing, start};

/// Meters `options.count` events in slices, and prints what each slice took.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let stack = start(options)?;
    let bus = bus::connect(&contestant::bus_config(&stack.nats_url()), false).await?;
    let mut case = case::plain(options, "growth");
    case.create_stream(&bus).await?;
    let database = Database::create(&stack).await?;
    let mut generator = Generator::new(&case.spec())?;
    let mut first: Option<Outcome> = None;
    println!(
        "receipts  events/s  of the first  first commit after  us/event: ours  PostgreSQL  \
         nats-server  MB at most"
    );
    let mut done = 0;
    while done < options.count {
        let slice = options.slice.min(options.count - done);
        publishing::at_once(&bus, &mut generator, slice).await?;
        done += slice;
        case.count = done;
        let outcome = order(&stack, &database, &case, options).run(None)?;
        let of_first = outcome.rate() / first.as_ref().unwrap_or(&outcome).rate();
        println!(
            "{done:>8}  {:>8.0}  {of_first:>12.2}  {:>16.2} s  {:>14.2}  {:>10.2}  {:>11.2}  {:>10.0}",
            outcome.rate(),
            outcome.first_commit_seconds,
            outcome.cpu.ours,
            outcome.cpu.postgres,
            outcome.cpu.nats,
            outcome.memory_bytes_max as f64 / 1e6,
        );
        first.get_or_insert(outcome);
        let stream = bus.jetstream.get_stream(STREAM).await?;
        // The message at the cursor stays: it says that the stream is the one that was metered.
        stream.purge().sequence(done).await?;
    }
    let faults = engine::faults(&database.url, &generator.truth()).await?;
    anyhow::ensure!(faults.is_empty(), "the rates are void: {}", faults.join("; "));
    println!("all {done} events are the truth");
    database.remove().await
}

fn order(
    stack: &prooftally::local::Stack,
    database: &Database,
    case: &Case,
    options: &Options,
) -> Order {
    Order {
        contestant: Contestant::Prooftally,
        case: case.clone(),
        nats_url: stack.nats_url(),
        nats_pid: stack.nats.pid(),
        database_url: database.url.clone(),
        postgres_pid: stack.postgres.pid(),
        chunk: options.chunk,
        credits: options.credits,
        segment: options.segment,
        reads_mirror: false,
    }
}
