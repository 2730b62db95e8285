//! Brands and the ledger failing inside a healthy process. Failpoints are global, so their names carry
//! a brand or a stream that no other test uses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fail::FailScenario;
use prooftally::store::cursor;
use prooftally::workload::{Spec, UsageRow};

use crate::harness::{World, wait_for, world};
use crate::metering::receipt;

/// Failpoints belong to the process: one test at a time may set them up.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The failpoint before a commit of that stream's ledger.
const COMMIT_BROKEN: &str = "commit Some(\"PROOFS_OF_A_BROKEN_LEDGER\")";

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_panics_among_a_hundred_is_restarted_alone() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::new().await;
    let spec = Spec { count: 20_000, brands: 100, skew: 0.0, seed: 7, ..Spec::default() };
    let truth = world.publish(&spec).await;
    let brand = truth.usage[0].brand.clone();
    // Once before it decides, once after it has answered and before its chunk is committed.
    fail::cfg(format!("meter {brand}"), "2*off->1*panic(poison)->off").unwrap();
    fail::cfg(format!("answered {brand}"), "4*off->1*panic(poison)->off").unwrap();
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 1_000).await;
    world.wait_until_metered().await;
    let metrics = world::metrics(&engine).await;
    engine.stop().await;
    scenario.teardown();
    world.assert_equals(&truth).await;
    assert!(metrics.contains(r#"prooftally_restarts_total{actor="brand"} 2"#), "{metrics}");
    assert!(!metrics.contains(r#"actor="metering""#), "others were restarted too: {metrics}");
}

/// Receipts by brand, of several truths together.
fn receipts_by_brand<'a>(
    usage: impl IntoIterator<Item = &'a UsageRow>,
) -> BTreeMap<(String, String, String), u64> {
    let mut receipts = BTreeMap::new();
    for row in usage.into_iter().filter(|row| row.receipts > 0) {
        let key = (row.brand.clone(), row.usage_day.to_string(), row.predicate.clone());
        *receipts.entry(key).or_default() += row.receipts;
    }
    receipts
}

/// A brand that fails for ever stops no other: its events are parked, and are exact once the cause is
/// gone, also while live ones arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_fails_for_ever_is_parked_and_exact_once_unparked() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::new().await;
    let spec = Spec { count: 20_000, brands: 100, skew: 0.0, seed: 8, ..Spec::default() };
    let first = world.publish(&spec).await;
    let brand = first.usage[0].brand.clone();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let (attempts, noted) = (AtomicU32::new(0), Arc::clone(&failures));
    let from_the_thirtieth_on = move || {
        if attempts.fetch_add(1, Ordering::Relaxed) >= 30 {
            noted.lock().unwrap().push(Instant::now());
            panic!("poison");
        }
    };
    fail::cfg_callback(format!("meter {brand}"), from_the_thirtieth_on).unwrap();
    let small = |config: &mut prooftally::engine::Config| config.intake.chunk_messages_max = 500;
    let engine = world.engine_with(small).await;
    world.wait_until_metered().await;
    world.assert_conserved().await;
    let parked = cursor::read(world.pool()).await.unwrap().totals.parked;
    assert!(parked > 0, "nothing was parked");
    let failures = failures.lock().unwrap().clone();
    assert_eq!(failures.len(), 3, "it is parked at the third failure on the same events");
    println!("the others waited {:?} for the brand that fails", failures[2] - failures[0]);
    let others =
        |usage: &[UsageRow]| receipts_by_brand(usage.iter().filter(|row| row.brand != brand));
    assert_eq!(others(&world.usage().await), others(&first.usage));

    // The parking outlives the engine.
    engine.stop().await;
    let engine = world.engine_with(small).await;
    fail::remove(format!("meter {brand}"));
    // Slow, so that chunks which park more of its events are in flight when it is unparked.
    sqlx::raw_sql(
        "create function slow() returns trigger language plpgsql as \
            $$ begin perform pg_sleep(0.2); return null; end $$; \
         create trigger slow after insert on parked_event \
            for each statement execute function slow()",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let live = Spec { seed: 9, ..spec };
    let (second, unparked) = tokio::join!(world.publish(&live), async {
        wait_for("live events are parked", async || {
            (cursor::read(world.pool()).await.ok()?.totals.parked > parked).then_some(())
        })
        .await;
        tokio::task::block_in_place(|| world.prooftally(&["brands", "unpark", &brand]))
    });
    assert!(unparked.status.success(), "{unparked:?}");
    world.wait_until_metered().await;
    engine.stop().await;
    scenario.teardown();
    world.assert_conserved().await;
    let expected = receipts_by_brand(first.usage.iter().chain(&second.usage));
    assert_eq!(receipts_by_brand(&world.usage().await), expected);
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from parked_event where outcome is null")
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(waiting, 0);
}

/// Never often enough on one chunk to be parked for that one, but on one chunk after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_fails_once_in_each_chunk_is_parked_too() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::new().await;
    let spec = Spec { count: 20_000, brands: 50, skew: 0.0, seed: 10, ..Spec::default() };
    let truth = world.publish(&spec).await;
    let brand = truth.usage[0].brand.clone();
    let attempts = AtomicU32::new(0);
    let every_other = move || {
        assert!(attempts.fetch_add(1, Ordering::Relaxed) % 2 == 1, "every other attempt fails");
    };
    fail::cfg_callback(format!("meter {brand}"), every_other).unwrap();
    let one_by_one = |config: &mut prooftally::engine::Config| {
        config.intake.chunk_messages_max = 500;
        config.intake.credits = 1;
    };
    let engine = world.engine_with(one_by_one).await;
    world.wait_until_metered().await;
    let metrics = world::metrics(&engine).await;
    assert!(!metrics.contains(r#"actor="metering""#), "others were restarted too: {metrics}");
    let parked = cursor::read(world.pool()).await.unwrap().totals.parked;
    assert!(parked > 0, "nothing was parked");
    fail::remove(format!("meter {brand}"));
    let unparked = world.prooftally(&["brands", "unpark", &brand]);
    assert!(unparked.status.success(), "{unparked:?}");
    engine.stop().await;
    scenario.teardown();
    assert_eq!(receipts_by_brand(&world.usage().await), receipts_by_brand(&truth.usage));
}

/// Parked events that a lowered limit refuses stay parked, and so does their brand.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_that_is_refused_now_stays_parked() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::new().await;
    fail::cfg("meter gadus", "panic(poison)").unwrap();
    let engine = world.engine().await;
    let long = format!("r-{}", "0".repeat(100));
    let strict_bytes = receipt("r-1", "gadus").len() + 50;
    let events = [receipt("r-1", "gadus"), receipt(&long, "gadus"), receipt("r-2", "gadus")];
    world.publish_raw("proofs.verified", events).await;
    world.wait_until_metered().await;
    assert_eq!(cursor::read(world.pool()).await.unwrap().totals.parked, 3);
    engine.stop().await;
    scenario.teardown();
    let strict = |config: &mut prooftally::engine::Config| {
        config.sorter.limits.payload_bytes_max = strict_bytes;
    };
    let engine = world.engine_with(strict).await;
    for counted in [2, 2] {
        let unparked = world.prooftally(&["brands", "unpark", "gadus"]);
        let text = String::from_utf8_lossy(&unparked.stderr).into_owned();
        assert!(text.contains("1 parked events are refused as they are now"), "{unparked:?}");
        let totals = cursor::read(world.pool()).await.unwrap().totals;
        assert_eq!(totals.counted_later, counted);
    }
    engine.stop().await;
    let engine = world.engine().await;
    let unparked = world.prooftally(&["brands", "unpark", "gadus"]);
    assert!(unparked.status.success(), "{unparked:?}");
    engine.stop().await;
    assert_eq!(cursor::read(world.pool()).await.unwrap().totals.counted_later, 3);
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_panics_takes_metering_back_to_the_cursor() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::with_stream("PROOFS_OF_A_BROKEN_LEDGER").await;
    let truth = world.publish(&Spec { count: 20_000, brands: 50, ..Spec::default() }).await;
    fail::cfg(COMMIT_BROKEN, "3*off->1*panic(broken)->off").unwrap();
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 1_000).await;
    world.wait_until_metered().await;
    let metrics = world::metrics(&engine).await;
    engine.stop().await;
    scenario.teardown();
    world.assert_equals(&truth).await;
    assert!(metrics.contains(r#"prooftally_restarts_total{actor="metering"} 1"#), "{metrics}");
}

/// An event that ends the engine whenever it is read becomes a rejection; all others are counted.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_ends_the_engine_is_rejected_unread() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::new().await;
    let receipts =
        |from: u32| (from..from + 300).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", receipts(0)).await;
    world.publish_raw("proofs.verified.poison", [receipt("r-poison", "acme")]).await;
    world.publish_raw("proofs.verified", receipts(300)).await;
    fail::cfg("sort proofs.verified.poison", "panic(poison)").unwrap();
    let engine = world.engine_with(|config| config.restart.failures_max = 20).await;
    world.wait_until_metered().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.rejected), (600, 1));
    // The cause is gone.
    fail::remove("sort proofs.verified.poison");
    let retried = world.prooftally(&["events", "rejected", "retry", "--reason", "poison"]);
    assert!(retried.status.success(), "{retried:?}");
    engine.stop().await;
    scenario.teardown();
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.counted_later), (600, 1));
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_fails_again_and_again_ends() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let world = World::with_stream("PROOFS_OF_A_BROKEN_LEDGER").await;
    world.publish_raw("proofs.verified", [receipt("r-1", "acme")]).await;
    fail::cfg(COMMIT_BROKEN, "panic(broken)").unwrap();
    let mut engine = world.engine_with(|config| config.restart.failures_max = 3).await;
    tokio::time::timeout(crate::harness::DEADLINE, engine.failed()).await.expect("it gives up");
    fail::remove(COMMIT_BROKEN);
    engine.stop().await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    scenario.teardown();
    assert_eq!(cursor::read(world.pool()).await.unwrap().totals.counted, 1);
}
