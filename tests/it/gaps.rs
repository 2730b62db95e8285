//! Streams that lose messages, that are re-created or restored, and databases that are restored: each
//! on a real server, with the record, the metric and the refusal that it must cause, and no receipt
//! counted twice.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::stream::{Config as StreamConfig, Source, Stream};
use chrono::{DateTime, Utc};
use prooftally::engine::{self, Engine};
use prooftally::store::gaps::{self, Filter, Gap};
use prooftally::store::{Store, audit, cursor};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};

use crate::harness::world::{admin, metrics};
use crate::harness::{World, wait_for};
use crate::metering::receipt;

/// Looks often, so that tests need not wait for a minute.
fn watchful(config: &mut prooftally::config::Config) {
    config.nats.identity_every_ms = 200;
    config.intake.heartbeat_ms = 500;
}

/// Reads the mirror.
fn mirrored(config: &mut prooftally::config::Config) {
    watchful(config);
    config.nats.mirror.enabled = true;
    config.nats.mirror.bytes_max = -1;
    "METERING".clone_into(&mut config.nats.stream);
}

async fn publish(world: &World, numbers: Range<u32>) {
    let events = numbers.map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", events).await;
}

async fn stream(world: &World, name: &str) -> Stream {
    world.jetstream().get_stream(name).await.unwrap()
}

async fn found(world: &World) -> Vec<Gap> {
    let filter = Filter { limit: 100, ..Filter::default() };
    gaps::list(world.pool(), &filter).await.unwrap()
}

/// Epoch, first and last position, and reason of each gap.
async fn extents(world: &World) -> Vec<(i32, i64, Option<i64>, String)> {
    let found = found(world).await;
    found.into_iter().map(|gap| (gap.epoch, gap.first, gap.last, gap.reason)).collect()
}

fn missing(first: i64, last: i64) -> (i32, i64, Option<i64>, String) {
    (1, first, Some(last), "missing".to_owned())
}

async fn wait_for_metric(engine: &Engine, line: &str) {
    wait_for(line, async || metrics(engine).await.lines().any(|found| found == line).then_some(()))
        .await;
}

/// Waits until `/readyz` says this, with this status.
async fn wait_for_health(engine: &Engine, status: u16, text: &str) {
    wait_for(text, async || {
        let (found, body) = admin(engine, "/readyz").await;
        (found == status && body.contains(text)).then_some(())
    })
    .await;
}

/// So many receipts are counted, and nothing contradicts itself.
async fn assert_counted(world: &World, counted: i64) {
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!(totals.counted, counted, "{totals:?}");
    let findings = audit::run(world.pool(), |_| ()).await.unwrap();
    assert!(findings.findings.is_empty(), "{findings:?}");
}

async fn stored_at(world: &World, sequence: u64) -> DateTime<Utc> {
    let message = stream(world, "PROOFS").await.get_raw_message(sequence).await.unwrap();
    DateTime::from_timestamp_micros(message.time.timestamp_micros()).unwrap()
}

/// Meters the first `count` receipts and stops.
async fn meter(world: &World, count: u32) {
    let engine = world.engine().await;
    publish(world, 0..count).await;
    world.wait_until_metered().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_past_the_cursor_is_a_gap_until_somebody_accepts_it() {
    let world = World::configured(watchful).await;
    meter(&world, 20).await;
    publish(&world, 20..30).await;
    stream(&world, "PROOFS").await.purge().sequence(26).await.unwrap();
    let engine = world.engine().await;
    world.wait_until_metered().await;
    assert_eq!(extents(&world).await, [missing(21, 25)]);
    assert_eq!(found(&world).await[0].next_stored_at, Some(stored_at(&world, 26).await));
    assert_counted(&world, 25).await;
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="missing"} 1"#).await;
    wait_for_metric(&engine, r#"prooftally_gap_positions_total{reason="missing"} 5"#).await;
    wait_for_health(&engine, 200, "open gaps: 1 missing").await;
    let info = world.prooftally(&["stream", "info"]);
    assert!(String::from_utf8_lossy(&info.stderr).contains("open gaps: 1 missing"), "{info:?}");

    let listed = world.prooftally(&["gaps", "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["first"], &listed[0]["last"]), (&21.into(), &25.into()));
    let accept = |arguments: &[&str]| {
        world.prooftally(&[&["gaps", "accept"], arguments].concat()).status.code()
    };
    assert_eq!(accept(&["1"]), Some(2), "without a reason");
    assert_eq!(accept(&["--because", "why"]), Some(2), "without saying which");
    assert_eq!(accept(&["7", "--because", "no such gap"]), Some(4));
    assert_eq!(accept(&["1", "--because", "a test has purged them"]), Some(0));
    assert_eq!(accept(&["--all", "--because", "again"]), Some(4), "none is open");
    let gap = &found(&world).await[0];
    assert_eq!(gap.acceptance.as_deref(), Some("a test has purged them"));
    assert!(gap.accepted_by.as_deref().unwrap().starts_with("cli uid "));
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="missing"} 0"#).await;
    wait_for_health(&engine, 200, r#""notices":{}"#).await;
    engine.stop().await;
    assert_counted(&world, 25).await;
}

/// What waits behind a slow database is purged, and nothing comes after it that would show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_while_the_engine_runs_is_seen_though_nothing_comes_after_it() {
    let world = World::configured(watchful).await;
    let engine = world
        .engine_with(|config| {
            config.intake.chunk_messages_max = 1;
            config.intake.pull.messages = 1;
        })
        .await;
    publish(&world, 0..10).await;
    world.wait_until_metered().await;
    let mut holder = world.store.connect().await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("select from cursor for update").execute(&mut *held).await.unwrap();
    publish(&world, 10..30).await;
    stream(&world, "PROOFS").await.purge().await.unwrap();
    held.rollback().await.unwrap();
    world.wait_for_position(30).await;
    let gap = found(&world).await.pop().unwrap();
    assert_eq!((gap.last, gap.reason.as_str(), gap.next_stored_at), (Some(30), "missing", None));
    let counted = gap.first - 1;
    assert!((10..30).contains(&counted), "{gap:?}");
    assert_counted(&world, counted).await;
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="missing"} 1"#).await;
    publish(&world, 30..31).await;
    world.wait_for_position(31).await;
    engine.stop().await;
    assert_eq!(found(&world).await[0].next_stored_at, Some(stored_at(&world, 31).await));
    assert_counted(&world, counted + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_past_the_cursor_is_a_gap() {
    let world = World::configured(|config| {
        watchful(config);
        config.nats.origin.messages_max = 50;
    })
    .await;
    meter(&world, 10).await;
    publish(&world, 10..110).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    wait_for_metric(&engine, r#"prooftally_gap_positions_total{reason="missing"} 50"#).await;
    engine.stop().await;
    assert_eq!(extents(&world).await, [missing(11, 60)]);
    assert_counted(&world, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_messages_are_a_gap_each() {
    let world = World::configured(watchful).await;
    publish(&world, 0..10).await;
    let proofs = stream(&world, "PROOFS").await;
    for sequence in [4, 5, 8, 10] {
        assert!(proofs.delete_message(sequence).await.unwrap());
    }
    let engine = world.engine().await;
    world.wait_for_position(10).await;
    assert_eq!(extents(&world).await, [missing(4, 5), missing(8, 8), missing(10, 10)]);
    publish(&world, 10..11).await;
    world.wait_until_metered().await;
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="missing"} 3"#).await;
    engine.stop().await;
    let next: Vec<_> = found(&world).await.into_iter().map(|gap| gap.next_stored_at).collect();
    let mut expected = Vec::new();
    for sequence in [6, 9, 11] {
        expected.push(Some(stored_at(&world, sequence).await));
    }
    assert_eq!(next, expected);
    assert_counted(&world, 7).await;
}

/// A consumer that somebody deletes, or sets back or forward, is made anew at the cursor. That it was
/// set past messages is no proof that they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_somebody_touches_is_made_anew_at_the_cursor() {
    let world = World::configured(watchful).await;
    let engine = world.engine().await;
    publish(&world, 0..10).await;
    world.wait_until_metered().await;
    let consumer = world.config.nats.consumer.clone();
    let proofs = stream(&world, "PROOFS").await;
    let mut published = 10;
    for reset in [Some(3), None, Some(100)] {
        match reset {
            None => drop(proofs.delete_consumer(&consumer).await.unwrap()),
            reset => drop(proofs.reset_consumer(&consumer, reset).await.unwrap()),
        }
        publish(&world, published..published + 5).await;
        published += 5;
        world.wait_until_metered().await;
        let info = proofs.consumer_info(&consumer).await.unwrap();
        assert!(info.ack_floor.stream_sequence <= u64::from(published), "{info:?}");
    }
    let recoveries = metrics(&engine).await;
    let line = recoveries.lines().find(|line| line.starts_with("prooftally_intake_recoveries"));
    let count: u32 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count >= 3, "each was noticed: {line:?}");
    engine.stop().await;
    assert_eq!(extents(&world).await, []);
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate), (25, 0));
    assert_counted(&world, 25).await;
}

/// Whoever asks the engine for something interrupts its reading, and must not begin the silence anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_noticed_however_often_the_engine_is_asked() {
    const HEARTBEAT: Duration = Duration::from_millis(500);
    let world = World::configured(|config| config.intake.heartbeat_ms = 500).await;
    let engine = world.engine().await;
    publish(&world, 0..3).await;
    world.wait_until_metered().await;
    let nats = i32::try_from(world.nats.pid()).ok().and_then(rustix::process::Pid::from_raw);
    let signal = |signal| rustix::process::kill_process(nats.unwrap(), signal).unwrap();
    signal(rustix::process::Signal::STOP);
    let asking = async {
        loop {
            let rung = sqlx::query("select pg_notify('prooftally_request', '')");
            rung.execute(world.pool()).await.unwrap();
            tokio::time::sleep(HEARTBEAT / 4).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = wait_for_health(&engine, 503, "the server has been silent for 1s") => {}
    }
    signal(rustix::process::Signal::CONT);
    publish(&world, 3..6).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_counted(&world, 6).await;
}

/// An engine that has been sent nothing yet cannot know by the deliveries that the consumer was moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_skips_messages_is_no_proof_that_they_are_gone() {
    let world = World::configured(watchful).await;
    meter(&world, 10).await;
    let engine = world.engine().await;
    let consumer = world.config.nats.consumer.clone();
    let proofs = stream(&world, "PROOFS").await;
    wait_for("the engine's consumer is there", async || {
        let info = proofs.consumer_info(&consumer).await.ok()?;
        (info.num_waiting > 0).then_some(())
    })
    .await;
    proofs.reset_consumer(&consumer, Some(13)).await.unwrap();
    publish(&world, 10..15).await;
    world.wait_until_metered().await;
    wait_for_metric(&engine, "prooftally_intake_recoveries_total 1").await;
    engine.stop().await;
    assert_eq!(extents(&world).await, []);
    assert_counted(&world, 15).await;
}

/// Deletes the stream and makes it anew.
async fn recreate(world: &World, name: &str) {
    world.jetstream().delete_stream(name).await.unwrap();
    let ensured = world.prooftally(&["stream", "ensure"]);
    assert!(ensured.status.success(), "{ensured:?}");
}

/// The stream is in doubt: it is recorded and seen everywhere, nothing is read, and requests are served.
async fn assert_in_doubt(world: &World, engine: &Engine, position: i64, text: &str) {
    wait_for_health(engine, 503, text).await;
    wait_for_metric(engine, "prooftally_stream_identity_ok 0").await;
    wait_for_metric(engine, r#"prooftally_gaps_open{reason="stream_changed"} 1"#).await;
    let changed = (1, position + 1, None, "stream_changed".to_owned());
    assert_eq!(extents(world).await, [changed]);
    let info = world.prooftally(&["stream", "info", "--output", "json"]);
    assert!(String::from_utf8_lossy(&info.stdout).contains(text), "{info:?}");
    let zone = world.prooftally(&["brands", "set", "acme", "--zone", "Europe/Berlin"]);
    assert!(zone.status.success(), "requests are not served: {zone:?}");
    let early = world.prooftally(&["gaps", "accept", "--all", "--because", "too early"]);
    assert_eq!(early.status.code(), Some(5), "{early:?}");
    assert_eq!(world.position().await, position);
}

/// Adopts the stream, accepts the gap, and waits until all is metered.
async fn adopt(world: &World, engine: &Engine) {
    let adopted = world.prooftally(&["stream", "adopt", "--because", "a test made it anew"]);
    assert!(adopted.status.success(), "{adopted:?}");
    wait_for_metric(engine, "prooftally_stream_identity_ok 1").await;
    world.wait_until_metered().await;
    wait_for_health(engine, 200, "open gaps: 1 stream_changed").await;
    let again = world.prooftally(&["stream", "adopt", "--because", "once more"]);
    assert_eq!(again.status.code(), Some(5), "nothing to adopt: {again:?}");
    let accepted = world.prooftally(&["gaps", "accept", "--all", "--because", "looked into"]);
    assert!(accepted.status.success(), "{accepted:?}");
    let current = cursor::read(world.pool()).await.unwrap();
    assert_eq!(current.epoch, 2);
    let why: String =
        sqlx::query_scalar("select because from epoch").fetch_one(world.pool()).await.unwrap();
    assert_eq!(why, "a test made it anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_is_read_only_once_it_is_adopted() {
    for again in [0, 20] {
        let world = World::configured(watchful).await;
        let engine = world.engine().await;
        publish(&world, 0..20).await;
        world.wait_until_metered().await;
        let early = world.prooftally(&["stream", "adopt", "--because", "no need"]);
        assert_eq!(early.status.code(), Some(5), "{early:?}");
        let engine = if again == 0 {
            recreate(&world, "PROOFS").await;
            engine
        } else {
            // As many messages again, while no engine runs.
            engine.stop().await;
            recreate(&world, "PROOFS").await;
            publish(&world, 10..10 + again).await;
            world.engine().await
        };
        assert_in_doubt(&world, &engine, 20, "re-created or restored").await;
        adopt(&world, &engine).await;
        // Those that came again are duplicates, also when more come.
        publish(&world, 10..40).await;
        world.wait_until_metered().await;
        engine.stop().await;
        assert_counted(&world, 40).await;
        // The next life goes on in the new epoch.
        let engine = world.engine().await;
        publish(&world, 39..41).await;
        world.wait_until_metered().await;
        engine.stop().await;
        assert_counted(&world, 41).await;
        assert_eq!(world.prooftally(&["audit"]).status.code(), Some(0));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_restored_to_an_earlier_state_is_in_doubt() {
    let mut world = World::configured(watchful).await;
    let engine = world.engine().await;
    publish(&world, 0..10).await;
    world.wait_until_metered().await;
    let (data, backup) = (world.nats.data().join("jetstream"), tempfile::tempdir().unwrap());
    world.nats.stop().unwrap();
    copy(&data, backup.path());
    world.nats.start_again().unwrap();
    publish(&world, 10..20).await;
    world.wait_for_position(20).await;
    world.nats.stop().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(backup.path(), &data);
    world.nats.start_again().unwrap();
    assert_in_doubt(&world, &engine, 20, "before the cursor").await;
    // It passes the cursor again, with other messages.
    publish(&world, 20..40).await;
    wait_for_health(&engine, 503, "was stored at").await;
    adopt(&world, &engine).await;
    engine.stop().await;
    assert_counted(&world, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_made_anew_under_its_mirror_is_in_doubt() {
    let world = World::configured(mirrored).await;
    let engine = world.engine().await;
    publish(&world, 0..20).await;
    world.wait_for_position(20).await;
    wait_for_metric(&engine, "prooftally_origin_last_sequence 20").await;
    wait_for_metric(&engine, "prooftally_mirror_lag_messages 0").await;
    recreate(&world, "PROOFS").await;
    publish(&world, 20..25).await;
    assert_in_doubt(&world, &engine, 20, "after its origin").await;
    // The origin passes the mirror, which now copies what stands at other positions.
    publish(&world, 25..60).await;
    wait_for_health(&engine, 503, "in its origin PROOFS").await;
    let refused = world.prooftally(&["stream", "adopt", "--because", "too early"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("make it anew"), "{refused:?}");
    recreate(&world, "METERING").await;
    wait_for("the mirror has all", async || {
        (stream(&world, "METERING").await.cached_info().state.last_sequence == 40).then_some(())
    })
    .await;
    adopt(&world, &engine).await;
    engine.stop().await;
    assert_counted(&world, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_another_stream_is_not_read() {
    let world = World::configured(mirrored).await;
    let other = StreamConfig {
        name: "OTHER".to_owned(),
        subjects: vec!["other.>".to_owned()],
        ..StreamConfig::default()
    };
    world.jetstream().create_stream(other).await.unwrap();
    world.jetstream().delete_stream("METERING").await.unwrap();
    let mirror = StreamConfig {
        name: "METERING".to_owned(),
        mirror: Some(Source { name: "OTHER".to_owned(), ..Source::default() }),
        ..StreamConfig::default()
    };
    world.jetstream().create_stream(mirror).await.unwrap();
    let engine = world.engine().await;
    publish(&world, 0..5).await;
    world.publish_raw("other.verified", [receipt("r-other", "acme")]).await;
    wait_for_health(&engine, 503, "is to be a mirror of PROOFS, and is one of OTHER").await;
    wait_for_metric(&engine, "prooftally_stream_identity_ok 0").await;
    // The gap is written after it is said.
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="stream_changed"} 1"#).await;
    assert_eq!(extents(&world).await, [(1, 1, None, "stream_changed".to_owned())]);
    engine.stop().await;
    assert_counted(&world, 0).await;
}

/// What the origin had dropped before anything was metered is no gap, also while its new mirror is
/// empty.
#[tokio::test(flavor = "multi_thread")]
async fn metering_a_new_mirror_begins_where_its_origin_does() {
    let world = World::configured(mirrored).await;
    world.jetstream().delete_stream("METERING").await.unwrap();
    publish(&world, 0..10).await;
    stream(&world, "PROOFS").await.purge().await.unwrap();
    assert!(world.prooftally(&["stream", "ensure"]).status.success());
    let engine = world.engine().await;
    wait_for_metric(&engine, "prooftally_stream_identity_ok 1").await;
    publish(&world, 10..15).await;
    world.wait_for_position(15).await;
    engine.stop().await;
    let cursor = cursor::read(world.pool()).await.unwrap();
    assert_eq!((cursor.began_after, cursor.totals.gap), (10, 0));
    assert_eq!(extents(&world).await, []);
    assert_counted(&world, 5).await;
}

/// A mirror says by itself that it is not behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_does_not_follow_its_origin_is_noticed() {
    let world = World::configured(mirrored).await;
    world.jetstream().delete_stream("METERING").await.unwrap();
    let source = Source {
        name: "PROOFS".to_owned(),
        filter_subject: Some("proofs.verified".to_owned()),
        ..Source::default()
    };
    let mirror = StreamConfig {
        name: "METERING".to_owned(),
        mirror: Some(source),
        ..StreamConfig::default()
    };
    world.jetstream().create_stream(mirror).await.unwrap();
    let engine = world.engine().await;
    publish(&world, 0..5).await;
    world.publish_raw("proofs.other", (0..5).map(|number| number.to_string())).await;
    world.wait_for_position(5).await;
    wait_for_metric(&engine, "prooftally_mirror_lag_messages 5").await;
    wait_for_health(&engine, 200, "it is 5 behind its origin PROOFS and has not moved").await;
    let ensured = world.prooftally(&["stream", "ensure"]);
    assert!(String::from_utf8_lossy(&ensured.stdout).contains("PROOFS filtered by"), "{ensured:?}");
    world.jetstream().delete_stream("PROOFS").await.unwrap();
    wait_for_health(&engine, 200, "its origin PROOFS is gone").await;
    engine.stop().await;
    assert_counted(&world, 5).await;
}

/// A world whose database is restored to position 20 of 30.
async fn restored() -> World {
    let mut world = World::configured(watchful).await;
    meter(&world, 20).await;
    let url = world.config.database.url.expose_secret().to_owned();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let copy = |from: &str, to: &str| {
        let statement = format!("create database {to} template {from}");
        let url = url.replace(&name, "postgres");
        async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
    };
    world.store.pool.close().await;
    let backup = format!("{name}_backup");
    // A connection that was closed may live a moment longer.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    copy(&name, &backup).await;
    world.store = Store::new(&engine::store_config(&world.config)).unwrap();
    let engine = world.engine().await;
    publish(&world, 20..30).await;
    world.wait_until_metered().await;
    engine.stop().await;
    world.store.pool.close().await;
    world.config.database.url = url.replace(&name, &backup).into();
    world.store = Store::new(&engine::store_config(&world.config)).unwrap();
    assert_eq!(world.position().await, 20, "it is restored");
    world
}

async fn assert_commits_are_found_to_be_lost(world: &World, text: &str) {
    let engine = world.engine().await;
    world.wait_until_metered().await;
    let lost = (1, 21, Some(30), "commits_lost".to_owned());
    assert_eq!(extents(world).await, std::slice::from_ref(&lost));
    let detail = found(world).await[0].detail.clone();
    assert!(detail.contains(text), "{detail}");
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="commits_lost"} 1"#).await;
    wait_for_metric(&engine, r#"prooftally_gap_positions_total{reason="commits_lost"} 10"#).await;
    wait_for_health(&engine, 200, "open gaps: 1 commits_lost").await;
    engine.stop().await;
    assert_counted(world, 30).await;
    // It is found once.
    let engine = world.engine().await;
    publish(world, 29..31).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(extents(world).await, [lost]);
    assert_counted(world, 31).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_a_restored_database_lost_are_known_by_the_ack_floor() {
    let world = restored().await;
    let bucket = engine::witness_config(&world.config).bucket;
    world.jetstream().delete_stream(format!("KV_{bucket}")).await.unwrap();
    assert_commits_are_found_to_be_lost(&world, "the consumer says that position 30").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_a_restored_database_lost_are_known_by_the_witness_after_a_restart_of_nats() {
    let mut world = restored().await;
    world.nats.stop().unwrap();
    world.nats.start_again().unwrap();
    wait_for("the stream answers", async || {
        let stream = world.jetstream().get_stream("PROOFS").await.ok()?;
        let consumer = stream.consumer_info(&world.config.nats.consumer).await;
        assert!(consumer.is_err(), "the consumer's floor has survived, and shows nothing here");
        Some(())
    })
    .await;
    assert_commits_are_found_to_be_lost(&world, "position 30 and entry 30 were committed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_witness_is_kept_beside_the_commits_and_its_drift_reported() {
    let world = World::configured(watchful).await;
    let says = async |text: &str| {
        wait_for(text, async || {
            let stream = world.jetstream().get_stream("KV_prooftally-billing-processor").await;
            let subject = "$KV.prooftally-billing-processor.PROOFS";
            let message = stream.ok()?.get_last_raw_message_by_subject(subject).await.ok()?;
            String::from_utf8_lossy(&message.payload).contains(text).then_some(())
        })
        .await;
    };
    let engine = world.engine().await;
    publish(&world, 0..10).await;
    world.wait_until_metered().await;
    says("epoch=1 sequence=10 entry=10 fence=1").await;
    // It is made again if somebody deletes it.
    world.jetstream().delete_stream("KV_prooftally-billing-processor").await.unwrap();
    publish(&world, 0..5).await;
    says("epoch=1 sequence=15 entry=10 fence=1").await;
    engine.stop().await;

    let ensured = world.prooftally(&["stream", "ensure"]);
    let text = String::from_utf8_lossy(&ensured.stderr).into_owned();
    assert!(text.contains("bucket prooftally-billing-processor: as configured"), "{text}");
    let mut bucket = stream(&world, "KV_prooftally-billing-processor").await.cached_info().clone();
    bucket.config.max_messages_per_subject = 3;
    world.jetstream().update_stream(&bucket.config).await.unwrap();
    let drifted = world.prooftally(&["stream", "ensure"]);
    assert_eq!(drifted.status.code(), Some(5), "{drifted:?}");
    assert!(String::from_utf8_lossy(&drifted.stdout).contains("max_msgs_per_subject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_until_something_is_lost_is_measured_and_warned_of() {
    let world = World::configured(|config| {
        watchful(config);
        config.nats.origin.messages_max = 1_000;
        // Four months: everything is below it.
        config.nats.time_to_loss_ms_min = 30 * 86_400_000;
    })
    .await;
    let engine = world.engine().await;
    let mut published = 0;
    wait_for("a time to loss is measured", async || {
        publish(&world, published..published + 50).await;
        published += 50;
        let metrics = metrics(&engine).await;
        let name = "prooftally_stream_time_to_loss_seconds ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
        let seconds: f64 = line.parse().unwrap();
        (seconds > 0.0 && seconds < 86_400.0).then_some(())
    })
    .await;
    wait_for_health(&engine, 200, "unread messages will be dropped in").await;
    world.wait_until_metered().await;
    engine.stop().await;
    let info = world.prooftally(&["stream", "info", "--output", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    let row = &rows[0];
    assert_eq!(row["cursor"], i64::from(published));
    assert_eq!((&row["unread"], &row["identity"]), (&0.into(), &"as metered".into()), "{rows}");
    assert!(row["time_to_loss_s"].as_i64().is_some_and(|seconds| seconds < 86_400), "{rows}");
}

/// The message at the cursor is gone, and what follows is older than it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_next_message_is_too_old_is_in_doubt() {
    let world = World::configured(watchful).await;
    meter(&world, 10).await;
    stream(&world, "PROOFS").await.delete_message(10).await.unwrap();
    sqlx::raw_sql("update cursor set stored_at = stored_at + interval '1 hour'")
        .execute(world.pool())
        .await
        .unwrap();
    publish(&world, 10..15).await;
    let engine = world.engine().await;
    assert_in_doubt(&world, &engine, 10, "long before the one at the cursor").await;
    engine.stop().await;
    assert_counted(&world, 10).await;
}

/// The database goes back while the engine runs, as when a replica that was behind is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_back_under_a_running_engine_is_noticed() {
    let world = World::configured(watchful).await;
    let sql = async |statements: &'static str| {
        sqlx::raw_sql(statements).execute(world.pool()).await.unwrap();
    };
    let engine = world.engine().await;
    publish(&world, 0..20).await;
    world.wait_until_metered().await;
    sql("create table kept_cursor as table cursor; create table kept_usage as table usage_day; \
         create table kept_fold as table usage_fold")
    .await;
    publish(&world, 20..30).await;
    world.wait_until_metered().await;
    sql("begin; delete from cursor; insert into cursor table kept_cursor; delete from usage_day; \
         insert into usage_day table kept_usage; delete from usage_fold; \
         insert into usage_fold table kept_fold; delete from ledger where entry > 20; commit")
    .await;
    publish(&world, 30..31).await;
    world.wait_for_position(31).await;
    assert_eq!(extents(&world).await, [(1, 21, Some(30), "commits_lost".to_owned())]);
    wait_for_metric(&engine, r#"prooftally_gaps_open{reason="commits_lost"} 1"#).await;
    engine.stop().await;
    assert_counted(&world, 31).await;
}
