//! Servers and engines that die in the middle of the work.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prooftally::store::sealing;
use prooftally::workload::Spec;

use crate::harness::{EngineProcess, Loss, Postgresql, Proxy, World, wait_for};

fn spec() -> Spec {
    Spec { count: 120_000, brands: 200, ..Spec::default() }
}

/// Small chunks, so that there is a middle to die in.
const SMALL_CHUNKS: [(&str, &str); 1] = [("PROOFTALLY__INTAKE__CHUNK_MESSAGES_MAX", "500")];

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_twice_in_the_middle_loses_and_doubles_nothing() {
    let world = World::new().await;
    let truth = world.publish(&spec()).await;
    for position in [20_000, 60_000] {
        let engine = EngineProcess::start_with(&world, &SMALL_CHUNKS);
        world.wait_for_position(position).await;
        engine.kill();
        assert!(world.position().await < 120_000, "it was not killed in the middle");
    }
    let killed_at = world.position().await;
    let started = Instant::now();
    let engine = EngineProcess::start(&world);
    world.wait_for_position(killed_at + 1).await;
    println!("back to work {} ms after its start", started.elapsed().as_millis());
    world.wait_until_metered().await;
    assert_eq!(engine.stop(), Some(0));
    world.assert_equals(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_nats_is_survived() {
    let mut world = World::new().await;
    let truth = world.publish(&spec()).await;
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 500).await;
    world.wait_for_position(20_000).await;
    world.nats.kill().unwrap();
    let killed_at = world.position().await;
    assert!(killed_at < 120_000, "it was not killed in the middle");
    world.nats.start_again().unwrap();
    let started = Instant::now();
    world.wait_for_position(killed_at + 25_000).await;
    println!("25,000 events metered {} ms after the restart", started.elapsed().as_millis());
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_equals(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_crash_of_postgresql_are_survived() {
    let mut world = World::with_own_postgres().await;
    let truth = world.publish(&spec()).await;
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 500).await;
    for (position, crash) in [(20_000, false), (60_000, true)] {
        world.wait_for_position(position).await;
        let Postgresql::Own(postgres) = &mut world.postgres else { unreachable!("made so") };
        if crash {
            postgres.crash().unwrap();
        } else {
            postgres.stop().unwrap();
        }
        postgres.start_again().unwrap();
    }
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_equals(&truth).await;
}

/// An orderly stop commits what is in flight; the next engine goes on after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_told_to_stop_finishes_and_the_next_goes_on() {
    let world = World::new().await;
    let truth = world.publish(&spec()).await;
    let engine = EngineProcess::start_with(&world, &SMALL_CHUNKS);
    world.wait_for_position(20_000).await;
    assert_eq!(engine.stop(), Some(0));
    world.assert_conserved().await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_equals(&truth).await;
}

/// An engine that hangs is taken over from; when it wakes it writes nothing and stands by, and goes on
/// when the other dies.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_is_taken_over_from_and_stands_by_when_it_wakes() {
    let world = World::new().await;
    let truth = world.publish(&spec()).await;
    let first = EngineProcess::start_with(&world, &SMALL_CHUNKS);
    world.wait_for_position(10_000).await;
    first.pause();
    let hung_at = world.position().await;
    assert!(hung_at < 120_000, "it did not hang in the middle");
    let second = EngineProcess::start_with(&world, &SMALL_CHUNKS);
    world.wait_for_position(hung_at + 10_000).await;
    let fence = world.fence().await;
    first.resume();
    world.wait_for_position(hung_at + 20_000).await;
    assert_eq!(world.fence().await, fence, "the engine that woke has taken the fence back");
    second.kill();
    world.wait_until_metered().await;
    assert!(world.fence().await > fence, "the first engine did not go on");
    assert_eq!(first.stop(), Some(0));
    world.assert_equals(&truth).await;
}

/// The one that hangs was sealing: its session holds the lock of the sealers and of the segment's row.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_while_it_seals_does_not_keep_the_next_from_sealing() {
    let world = World::new().await;
    let variables = [SMALL_CHUNKS[0], ("PROOFTALLY__LEDGER__SEGMENT_ENTRIES", "1000")];
    assert!(world.prooftally(&["migrate"]).status.success());
    let mut blocker = world.pool().begin().await.unwrap();
    sqlx::query("lock table segment in share mode").execute(&mut *blocker).await.unwrap();
    world.publish(&Spec { count: 2_500, brands: 20, ..Spec::default() }).await;
    let first = EngineProcess::start_with(&world, &variables);
    let sealing = "select count(*) from pg_stat_activity where datname = current_database() \
        and application_name = 'prooftally sealer' and wait_event_type = 'Lock'";
    wait_for("a segment is being sealed", async || {
        let waiting: i64 = sqlx::query_scalar(sealing).fetch_one(world.pool()).await.ok()?;
        (waiting > 0).then_some(())
    })
    .await;
    first.pause();
    blocker.rollback().await.unwrap();
    let second = EngineProcess::start_with(&world, &variables);
    let later = Spec { count: 5_000, brands: 20, seed: 2, ..Spec::default() };
    world.publish(&later).await;
    world.wait_until_metered().await;
    wait_for("all full segments are sealed", async || {
        let entry: i64 =
            sqlx::query_scalar("select entry from cursor").fetch_one(world.pool()).await.ok()?;
        let sealed = sealing::sealed_count(world.pool()).await.ok()?;
        (sealed == (entry + 1) / 1_000).then_some(())
    })
    .await;
    first.resume();
    second.kill();
    assert_eq!(first.stop(), Some(0));
    world.assert_conserved().await;
}

/// Two engines on one database: the second stands by and goes on when the first dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_stands_by() {
    let world = World::new().await;
    let truth = world.publish(&spec()).await;
    let first = EngineProcess::start_with(&world, &SMALL_CHUNKS);
    world.wait_for_position(10_000).await;
    let second = world.engine().await;
    world.wait_for_position(30_000).await;
    first.kill();
    world.wait_until_metered().await;
    second.stop().await;
    world.assert_equals(&truth).await;
}

/// The address of the world's PostgreSQL, and its URL by way of `proxy`.
pub fn by_way_of(world: &World, proxy: Option<SocketAddr>) -> (SocketAddr, String) {
    use secrecy::ExposeSecret;
    let url = world.config.database.url.expose_secret().to_owned();
    let (_, rest) = url.split_once('@').expect("it names a user");
    let (address, database) = rest.split_once('/').expect("it names a database");
    let server = address.parse().expect("an address");
    (server, format!("postgres://postgres@{}/{database}", proxy.unwrap_or(server)))
}

/// What became of a commit whose reply is lost is looked up: nothing is committed twice, nothing is
/// left out.
async fn check_lost_commits(loss: Loss) {
    let world = World::new().await;
    let truth = world.publish(&Spec { count: 20_000, brands: 50, ..Spec::default() }).await;
    world.store.migrate().await.unwrap();
    let (server, _) = by_way_of(&world, None);
    let proxy = Proxy::start(server, loss, 5).await;
    let (_, url) = by_way_of(&world, Some(proxy.address));
    let engine = world
        .engine_with(|config| {
            config.store.url = url.into();
            config.store.commit_timeout = Duration::from_secs(1);
            config.intake.chunk_messages_max = 500;
        })
        .await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert!(proxy.losses() >= 3, "{} commits were lost", proxy.losses());
    world.assert_equals(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_lost_is_found() {
    check_lost_commits(Loss::Reply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_lost_on_its_way_is_done_again() {
    check_lost_commits(Loss::Request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_never_answered_is_found() {
    check_lost_commits(Loss::Silence).await;
}
