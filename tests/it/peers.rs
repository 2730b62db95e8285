//! What the network's present meter gets wrong, and this one must not.

use std::time::Instant;

use prooftally::store::cursor;

use crate::harness::{EngineProcess, World};
use crate::metering::receipt;

/// A receipt that is emitted again has a new event id, maybe the other shape and another time. It is
/// billed once.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_emitted_again_counts_once() {
    let world = World::new().await;
    let envelope = |event_id: &str, time: &str| {
        format!(
            r#"{{"eventId":"{event_id}","eventType":"proofs.verified","timestamp":"{time}","payload":{{"receiptId":"r-1","predicateId":{{"name":"CERT_VALID","version":"V1"}},"supplierId":"mill","requesterId":"acme","productBinding":"shirt","result":true,"commitmentRoot":"00"}},"metadata":{{"gatewayId":"g","correlationId":"c","traceId":"t"}}}}"#
        )
    };
    let events = [
        envelope("e-1", "2026-03-01T10:00:00Z"),
        envelope("e-2", "2026-03-01T10:00:03Z"),
        receipt("r-1", "acme"),
        receipt("r-1", "acme"),
    ];
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate), (1, 3));
    let usage = world.usage().await;
    assert_eq!((usage[0].receipts, usage[0].duplicates), (1, 3));
}

/// More bad events than a consumer's default of 1,000 unacknowledged messages: nothing jams.
#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_bad_events_among_good_ones_stop_nothing() {
    let world = World::new().await;
    let events = (0..6_000).map(|number| match number % 4 {
        0 => "{".to_owned(),
        1 => receipt(&format!("r-{number}"), "unknown"),
        // ADR-004's own example leaves out productRef, result and expiresAt.
        2 => format!(
            r#"{{"receiptId":"r-{number}","predicateId":"CERT_VALID@V1","brandId":"acme","supplierId":"mill","verifiedAt":"2026-03-01T10:00:00Z"}}"#
        ),
        _ => receipt(&format!("r-{number}"), "acme"),
    });
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.rejected), (3_000, 3_000));
    world.assert_conserved().await;
}

/// A consumer that dies with messages delivered and not acknowledged does not wait for its ack wait,
/// which is ten minutes: the next one begins at the cursor at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_killed_in_the_middle_is_back_at_once() {
    let world = World::new().await;
    let events = (0..50_000).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", events).await;
    let small = [("PROOFTALLY__INTAKE__CHUNK_MESSAGES_MAX", "200")];
    let engine = EngineProcess::start_with(&world, &small);
    world.wait_for_position(5_000).await;
    engine.kill();
    let killed_at = world.position().await;
    assert!(killed_at < 50_000, "it was not killed in the middle");
    let stream = world.jetstream().get_stream("PROOFS").await.unwrap();
    let consumer = stream.consumer_info("billing-processor").await.unwrap();
    assert!(consumer.num_ack_pending > 0, "nothing was delivered and unacknowledged");
    let started = Instant::now();
    let engine = EngineProcess::start(&world);
    world.wait_for_position(killed_at + 1).await;
    println!("back to work {} ms after the new process started", started.elapsed().as_millis());
    world.wait_until_metered().await;
    engine.stop();
    assert_eq!(cursor::read(world.pool()).await.unwrap().totals.counted, 50_000);
}
