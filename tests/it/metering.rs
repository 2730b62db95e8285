//! The main job: a stream in, exact usage out.

use prooftally::store::cursor;
use prooftally::workload::Spec;

use crate::harness::world::{admin, metrics};
use crate::harness::{EngineProcess, World, wait_for};

/// The command's whole way: events by the command, an engine of its own process, usage by the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_events_of_a_thousand_brands_are_the_truth() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.json");
    let engine = EngineProcess::start(&world);
    let published = world.prooftally(&[
        "events",
        "publish",
        "--count",
        "1000000",
        "--brands",
        "1000",
        "--truth",
        truth.to_str().unwrap(),
    ]);
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    world.wait_until_metered().await;
    assert_eq!(engine.stop(), Some(0));

    let truth: prooftally::workload::Truth =
        serde_json::from_slice(&std::fs::read(&truth).unwrap()).unwrap();
    world.assert_equals(&truth).await;
    let usage =
        world.prooftally(&["usage", "--by", "brand,day,predicate,result", "--output", "json"]);
    let usage: Vec<prooftally::workload::UsageRow> = serde_json::from_slice(&usage.stdout).unwrap();
    assert_eq!(usage, truth.usage);
    let totals = truth.totals;
    assert_eq!(totals.events, 1_000_000);
    assert!(totals.duplicates == 50_000 && totals.conflicts > 0 && totals.rejected > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_engine_runs_is_metered_too() {
    let world = World::new().await;
    let engine = world.engine().await;
    let spec = Spec { count: 3_000, brands: 20, ..Spec::default() };
    let truth = world.publish(&spec).await;
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_equals(&truth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pass_over_the_same_events_counts_nothing() {
    let world = World::new().await;
    let engine = world.engine().await;
    let spec = Spec { count: 3_000, brands: 20, ..Spec::default() };
    world.publish(&spec).await;
    world.wait_until_metered().await;
    let before = cursor::read(world.pool()).await.unwrap();
    world.publish(&spec).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let after = cursor::read(world.pool()).await.unwrap();
    assert_eq!(after.totals.counted, before.totals.counted);
    assert_eq!(after.sequence, 2 * before.sequence);
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subject_of_the_stream_has_a_disposition() {
    let world = World::new().await;
    world.publish_raw("proofs.revoked", ["{}".to_owned(), String::new()]).await;
    world.publish_raw("proofs.verifiedx", ["{}".to_owned()]).await;
    world.publish_raw("proofs.verified.eu", [receipt("r-1", "acme")]).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.ignored), (1, 3));
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_the_stream_no_longer_has_are_a_gap() {
    let world = World::new().await;
    let receipts = (1..=10).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", receipts).await;
    let stream = world.jetstream().get_stream("PROOFS").await.unwrap();
    for sequence in [4, 5, 8] {
        stream.delete_message(sequence).await.unwrap();
    }
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.gap), (7, 3));
    let gaps: Vec<(i64, i64)> =
        sqlx::query_as("select first, last from disposition where kind = 'gap' order by first")
            .fetch_all(world.pool())
            .await
            .unwrap();
    assert_eq!(gaps, [(4, 5), (8, 8)]);
    world.assert_conserved().await;
}

/// A stream that is older than the engine: what it had dropped before is no gap.
#[tokio::test(flavor = "multi_thread")]
async fn metering_begins_where_the_stream_does() {
    let world = World::new().await;
    let receipts = (1..=10).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", receipts).await;
    let stream = world.jetstream().get_stream("PROOFS").await.unwrap();
    stream.purge().sequence(7).await.unwrap();
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let cursor = cursor::read(world.pool()).await.unwrap();
    assert_eq!((cursor.began_after, cursor.totals.counted, cursor.totals.gap), (6, 4, 0));
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_is_read_like_the_stream() {
    let mut world = World::new().await;
    world.config.nats.mirror.enabled = true;
    // The server reserves the bytes, and a test machine has fewer than a real one.
    world.config.nats.mirror.bytes_max = 1_000_000_000;
    world.config.nats.stream = world.config.nats.mirror.name.clone();
    for wanted in prooftally::engine::streams_wanted(&world.config) {
        prooftally::bus::streams::ensure(world.jetstream(), &wanted).await.unwrap();
    }
    let truth = world.publish(&Spec { count: 2_000, ..Spec::default() }).await;
    let engine = world.engine().await;
    world.wait_for_position(2_000).await;
    engine.stop().await;
    world.assert_equals(&truth).await;
}

/// Subjects that no text column and no client can take. The second one is sent by hand: the client
/// would refuse to send it, as it refuses to receive it.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_cannot_be_stored_or_read_is_rejected_and_stops_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    world.publish_raw("proofs.verified", [receipt("r-1", "acme")]).await;
    let address = world.nats.url();
    let mut socket =
        tokio::net::TcpStream::connect(address.trim_start_matches("nats://")).await.unwrap();
    let mut hello = [0; 1];
    socket.read_exact(&mut hello).await.unwrap();
    let bytes = b"CONNECT {\"verbose\":false}\r\nPUB proofs.verified.a\0b 4\r\n{bad\r\n\
        PUB proofs.verified.\xff\xfe 4\r\n{bad\r\nPING\r\n";
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"PONG\r\n") {
        let mut part = [0; 1024];
        let count = socket.read(&mut part).await.unwrap();
        assert!(count > 0, "the server has ended the connection");
        answer.extend_from_slice(&part[..count]);
    }
    world.publish_raw("proofs.verified", [receipt("r-2", "acme")]).await;
    let engine = world.engine().await;
    world.wait_for_position(4).await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.rejected), (2, 2));
    let reasons: Vec<String> = sqlx::query_scalar("select reason from rejection order by sequence")
        .fetch_all(world.pool())
        .await
        .unwrap();
    assert_eq!(reasons, ["json_syntax", "subject"]);
    world.assert_conserved().await;
}

/// A stream that was re-created is not taken for the one that was metered: nothing is read, and the
/// engine says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_created_anew_is_seen_and_not_read() {
    let world = World::new().await;
    let receipts =
        |from: u32| (from..from + 20).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", receipts(0)).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    for positions in [5, 20, 30] {
        world.jetstream().delete_stream("PROOFS").await.unwrap();
        assert!(world.prooftally(&["stream", "ensure"]).status.success());
        let events = (0..positions).map(|number| receipt(&format!("s-{number}"), "acme"));
        world.publish_raw("proofs.verified", events).await;
        wait_for("the engine says that it is another stream", async || {
            let (status, body) = admin(&engine, "/readyz").await;
            let says =
                body.contains("re-created or restored") || body.contains("before the cursor");
            (status == 503 && says).then_some(())
        })
        .await;
    }
    assert_eq!(world.position().await, 20);
    engine.stop().await;
    assert_eq!(cursor::read(world.pool()).await.unwrap().totals.counted, 20);
}

/// An event of the flat shape.
pub fn receipt(receipt_id: &str, brand: &str) -> String {
    format!(
        r#"{{"receiptId":"{receipt_id}","predicateId":"CERT_VALID@V1","brandId":"{brand}","supplierId":"mill","productRef":"shirt","result":true,"verifiedAt":"2026-03-01T10:00:00Z"}}"#
    )
}

/// Brands without events lose their actor, and wake with the next event and all that was counted.
#[tokio::test(flavor = "multi_thread")]
async fn idle_brands_are_passivated_and_wake_exact() {
    let world = World::new().await;
    let engine = world
        .engine_with(|config| config.passivate_after = std::time::Duration::from_millis(200))
        .await;
    let spec = Spec { count: 3_000, brands: 50, ..Spec::default() };
    let truth = world.publish(&spec).await;
    world.wait_until_metered().await;
    wait_for("no brand has an actor", async || {
        metrics(&engine).await.contains("prooftally_brand_actors 0\n").then_some(())
    })
    .await;
    world.assert_equals(&truth).await;
    let before = cursor::read(world.pool()).await.unwrap().totals;
    world.publish(&spec).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let after = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!(after.counted, before.counted, "a brand that woke has counted again");
}
