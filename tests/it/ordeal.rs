//! Everything at once: an engine killed again and again at random, servers that restart and crash,
//! acknowledgements that are dropped and repeated; and a database that is away under load.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use prooftally::workload::Spec;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::RngCore;

use crate::harness::{EngineProcess, Postgresql, World};

const KILLS: u32 = 20;
const EVENTS: i64 = 1_000_000;

/// What happens beside the kill of this number.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    NatsRestarts,
    /// An orderly stop, and a start after so long.
    PostgresqlStops(Duration),
    PostgresqlCrashes,
}

fn beside(kill: u32) -> Beside {
    match kill {
        5 | 12 => Beside::NatsRestarts,
        8 => Beside::PostgresqlStops(Duration::from_secs(10)),
        15 => Beside::PostgresqlCrashes,
        _ => Beside::Nothing,
    }
}

async fn happen(world: &mut World, what: Beside) {
    let Postgresql::Own(postgres) = &mut world.postgres else { unreachable!("made so") };
    match what {
        Beside::Nothing => {}
        Beside::NatsRestarts => {
            world.nats.kill().unwrap();
            world.nats.start_again().unwrap();
        }
        Beside::PostgresqlStops(away) => {
            postgres.stop().unwrap();
            tokio::time::sleep(away).await;
            postgres.start_again().unwrap();
        }
        Beside::PostgresqlCrashes => {
            postgres.crash().unwrap();
            postgres.start_again().unwrap();
        }
    }
}

/// Repeats every acknowledgement once, late and out of order.
async fn repeat_acknowledgements(client: async_nats::Client) {
    let mut acknowledgements = client.subscribe("$JS.ACK.>").await.unwrap();
    let (mut seen, mut last) = (HashSet::new(), None);
    while let Some(message) = acknowledgements.next().await {
        if seen.insert(message.subject.to_string())
            && let Some(earlier) = last.replace(message.subject)
        {
            let _ = client.publish(earlier, bytes::Bytes::new()).await;
        }
    }
}

/// A million events, a fifth of a segment between kills. A killed engine drops the acknowledgements of
/// what it has committed, a nats-server that restarts forgets them all.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_and_four_outages_lose_and_double_nothing() {
    let mut world = World::with_own_postgres().await;
    let count = u64::try_from(EVENTS).unwrap();
    let truth = world.publish(&Spec { count, brands: 1_000, ..Spec::default() }).await;
    let repeating = tokio::spawn(repeat_acknowledgements(world.bus.client.clone()));
    let variables = [
        ("PROOFTALLY__INTAKE__CHUNK_MESSAGES_MAX", "2000"),
        ("PROOFTALLY__LEDGER__SEGMENT_ENTRIES", "150000"),
    ];
    let mut random = Pcg32::new(20, 7);
    let mut back_after = Vec::new();
    let mut engine = EngineProcess::start_with(&world, &variables);
    for kill in 0..KILLS {
        let next = world.position().await + 2_000 + i64::from(random.next_u32() % 70_000);
        world.wait_for_position(next.min(EVENTS * 19 / 20)).await;
        happen(&mut world, beside(kill)).await;
        engine.kill();
        let killed_at = world.position().await;
        let started = Instant::now();
        engine = EngineProcess::start_with(&world, &variables);
        if killed_at < EVENTS {
            world.wait_for_position(killed_at + 1).await;
            back_after.push(started.elapsed());
        }
    }
    assert!(back_after.len() > 15, "it was not killed in the middle");
    let (worst, sum) = (back_after.iter().max().unwrap(), back_after.iter().sum::<Duration>());
    let mean = sum / u32::try_from(back_after.len()).unwrap();
    println!("back to work after {mean:.2?} on average and {worst:.2?} at worst");
    world.wait_until_metered().await;
    assert_eq!(engine.stop(), Some(0));
    repeating.abort();
    world.assert_equals(&truth).await;
    let audit = world.prooftally(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
}

/// While the database is away events go on coming: none is lost, and memory does not grow.
#[tokio::test(flavor = "multi_thread")]
async fn five_seconds_without_a_database_under_load_lose_nothing() {
    const AWAY: Duration = Duration::from_secs(5);
    const MEMORY_GROWTH_MAX: u64 = 96 << 20;
    let mut world = World::with_own_postgres().await;
    let engine = EngineProcess::start(&world);
    let spec = Spec { count: 20_000, brands: 100, ..Spec::default() };
    world.publish(&spec).await;
    world.wait_until_metered().await;
    let Postgresql::Own(postgres) = &mut world.postgres else { unreachable!("made so") };
    postgres.stop().unwrap();
    let (stopped, before) = (Instant::now(), engine.memory_bytes());
    let spec = Spec { count: 100_000, brands: 100, seed: 2, ..Spec::default() };
    world.publish(&spec).await;
    tokio::time::sleep(AWAY.saturating_sub(stopped.elapsed())).await;
    let growth = engine.memory_bytes().saturating_sub(before);
    println!("memory grew by {} MB in {:.1?} without a database", growth >> 20, stopped.elapsed());
    assert!(growth < MEMORY_GROWTH_MAX, "memory grew by {growth} bytes");
    let Postgresql::Own(postgres) = &mut world.postgres else { unreachable!("made so") };
    postgres.start_again().unwrap();
    world.wait_until_metered().await;
    assert_eq!(engine.stop(), Some(0));
    world.assert_conserved().await;
    // Once more, all of it: what was lost would be counted now.
    let before = prooftally::store::cursor::read(world.pool()).await.unwrap().totals;
    let engine = world.engine().await;
    world.publish(&spec).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let after = prooftally::store::cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!(after.counted, before.counted);
}
