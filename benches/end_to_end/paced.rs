//! Events that come at a steady rate: how long until each is committed, and does the lag grow?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prooftally::bus;
use prooftally::store::cursor;
use prooftally::workload::Generator;
use tokio::sync::mpsc;

use crate::case::{self, Case};
use crate::contestant::{self, Contestant, Database, Order};
use crate::{Options, engine, publishing, start};

/// The cursor is looked at this often.
const TICK: Duration = Duration::from_millis(1);

/// So many events were published at that time, all together.
type Published = (u64, Instant);

/// Publishes `options.paced` events a second for `options.seconds`, and prints how long they took.
pub async fn run(options: &Options, rate: u64) -> anyhow::Result<()> {
    let stack = start(options)?;
    let bus = bus::connect(&contestant::bus_config(&stack.nats_url()), false).await?;
    let count = rate * options.seconds;
    let case = Case { count, ..case::plain(options, "paced") };
    case.create_stream(&bus).await?;
    if options.mirror {
        case.create_mirror(&bus).await?;
    }
    let database = Database::create(&stack).await?;
    let order = Order {
        contestant: Contestant::Prooftally,
        case: case.clone(),
        nats_url: stack.nats_url(),
        nats_pid: stack.nats.pid(),
        database_url: database.url.clone(),
        postgres_pid: stack.postgres.pid(),
        chunk: options.chunk,
        credits: options.credits,
        segment: options.segment,
        reads_mirror: options.mirror,
    };
    let store = order.store()?;
    store.migrate().await?;
    let mut connection = store.connect().await?;
    let engine = tokio::task::spawn_blocking(move || order.run(None));
    let (told, published) = mpsc::unbounded_channel();
    let mut generator = Generator::new(&case.spec())?;
    // Whoever is told is there until all is committed.
    let tell = |sent, at| told.send((sent, at)).unwrap_or_default();
    let publishing = publishing::paced(&bus, &mut generator, rate, count, tell);
    let (sent, seen) = tokio::join!(publishing, watch(&mut connection, published, count));
    sent?;
    let Seen { mut latencies, lags } = seen?;
    let outcome = engine.await??;
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 1_000].as_secs_f64() * 1e3;
    println!("{rate} events/s for {} s, from their publication to their commit:", options.seconds);
    println!(
        "  p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    println!("  events that waited, each second: {lags:?}");
    println!("  {:.1} us of processor time an event", outcome.cpu.sum());
    let faults = engine::faults(&database.url, &generator.truth()).await?;
    anyhow::ensure!(faults.is_empty(), "the figures are void: {}", faults.join("; "));
    drop(connection);
    store.pool.close().await;
    database.remove().await
}

struct Seen {
    /// Of each tick's last event.
    latencies: Vec<Duration>,
    /// Events published and not committed, once a second.
    lags: Vec<u64>,
}

/// Looks at the cursor until all events are committed.
async fn watch(
    connection: &mut sqlx::PgConnection,
    mut published: mpsc::UnboundedReceiver<Published>,
    count: u64,
) -> anyhow::Result<Seen> {
    let mut waiting: VecDeque<Published> = VecDeque::new();
    let mut seen = Seen { latencies: Vec::new(), lags: Vec::new() };
    let (mut position, mut sent) = (0, 0);
    let mut second = Instant::now();
    while position < count {
        tokio::time::sleep(TICK).await;
        position = u64::try_from(cursor::read(&mut *connection).await?.sequence)?;
        while let Ok(tick) = published.try_recv() {
            sent = tick.0;
            waiting.push_back(tick);
        }
        let now = Instant::now();
        while let Some((_, at)) = waiting.pop_front_if(|(last, _)| *last <= position) {
            seen.latencies.push(now - at);
        }
        if second.elapsed() >= Duration::from_secs(1) {
            seen.lags.push(sent.saturating_sub(position));
            second = now;
        }
    }
    Ok(seen)
}
