//! Sealed segments: what was counted long ago counts no more, whatever restarts, and a receipt that is
//! counted twice is found.

use prooftally::engine::Engine;
use prooftally::store::filter::{FilterBuilder, hash_of};
use prooftally::store::sealing::Kept;
use prooftally::store::{cursor, sealing};
use prooftally::workload::{Percent, Spec};

use crate::harness::world::{admin, metrics};
use crate::harness::{EngineProcess, World, wait_for};
use crate::metering::receipt;

/// So that a few thousand events fill several segments.
const SEGMENT_ENTRIES: i64 = 1_000;

fn spec() -> Spec {
    let old_duplicate = Percent::from_basis_points(5_000);
    Spec { count: 12_000, brands: 20, old_duplicate, ..Spec::default() }
}

async fn engine(world: &World) -> Engine {
    world
        .engine_with(|config| {
            config.segment_entries = SEGMENT_ENTRIES;
            config.intake.chunk_messages_max = 300;
        })
        .await
}

/// Waits until all full segments but `broken` of them are sealed, and returns how many are.
async fn wait_until_sealed(world: &World, broken: i64) -> i64 {
    wait_for("full segments are sealed", async || {
        let cursor = cursor::read(world.pool()).await.ok()?;
        let full = (cursor.entry + 1) / SEGMENT_ENTRIES;
        let sealed = sealing::sealed_count(world.pool()).await.ok()?;
        (sealed == full - broken).then_some(sealed)
    })
    .await
}

async fn counted(world: &World) -> i64 {
    cursor::read(world.pool()).await.unwrap().totals.counted
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_sealed_segments_are_never_counted_again() {
    let world = World::new().await;
    let truth = world.publish(&spec()).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    world.assert_equals(&truth).await;
    let sealed = wait_until_sealed(&world, 0).await;
    assert!(sealed >= 9, "{sealed} segments");
    // All of it again, under new positions, to an engine that has sealed and to one that has loaded.
    let before = counted(&world).await;
    world.publish(&spec()).await;
    world.wait_until_metered().await;
    let text = metrics(&engine).await;
    let gauge = format!(r#"prooftally_segments{{state="sealed"}} {sealed}"#);
    assert!(text.contains(&gauge), "{text}");
    engine.stop().await;
    assert_eq!(counted(&world).await, before);
    let engine = self::engine(&world).await;
    world.publish(&spec()).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(counted(&world).await, before);
    world.assert_conserved().await;
    let audit = world.prooftally(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
}

/// A content that contradicts a receipt of a sealed segment is a conflict with that receipt's entry; the
/// same content with less said is a duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_a_sealed_receipt_is_found() {
    let world = World::new().await;
    world.publish_raw("proofs.verified", [receipt("r-old", "acme")]).await;
    world.publish(&Spec { count: 3_000, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    let other = receipt("r-old", "acme").replace("mill", "loom");
    let absent = receipt("r-old", "acme").replace(r#""supplierId":"mill","#, "");
    let before = cursor::read(world.pool()).await.unwrap().totals;
    world.publish_raw("proofs.verified", [absent, other.clone()]).await;
    world.wait_until_metered().await;
    let after = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!(after.duplicate - before.duplicate, 1);
    assert_eq!(after.conflict - before.conflict, 1);
    let entry: i64 = sqlx::query_scalar("select entry from conflict where receipt_id = 'r-old'")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(entry, 1);
    // The other content was right: from now on it is the one that was counted.
    let resolved =
        world.prooftally(&["conflicts", "resolve", "--all", "--because", "a loom it was"]);
    assert!(resolved.status.success(), "{resolved:?}");
    world.publish_raw("proofs.verified", [other]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let resolved = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!(resolved.duplicate - after.duplicate, 1);
    assert_eq!((resolved.conflict, resolved.counted), (after.conflict, after.counted));
    world.assert_conserved().await;
}

/// A rejection whose receipt came again, was counted and is in a sealed segment by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_sealed_receipt_is_a_duplicate() {
    let world = World::new().await;
    world.publish_raw("proofs.verified", [receipt("r-old", "zeta")]).await;
    let engine = world
        .engine_with(|config| {
            config.segment_entries = SEGMENT_ENTRIES;
            config.sorter.brands_max = 0;
        })
        .await;
    world.wait_until_metered().await;
    engine.stop().await;
    let engine = self::engine(&world).await;
    world.publish_raw("proofs.verified", [receipt("r-old", "zeta")]).await;
    world.publish(&Spec { count: 3_000, ..spec() }).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    let asked = world.prooftally(&["events", "rejected", "retry", "--reason", "unknown_brand"]);
    let answer = String::from_utf8_lossy(&asked.stdout);
    assert!(answer.contains("0 counted, 1 duplicates"), "{asked:?}");
    engine.stop().await;
    world.assert_conserved().await;
}

/// Killed again and again while segments fill and are sealed.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_while_it_seals_is_exact() {
    let world = World::new().await;
    let truth = world.publish(&Spec { count: 40_000, ..spec() }).await;
    let variables = [
        ("PROOFTALLY__INTAKE__CHUNK_MESSAGES_MAX", "400"),
        ("PROOFTALLY__LEDGER__SEGMENT_ENTRIES", "1000"),
    ];
    for position in [5_000, 13_000, 21_000, 30_000] {
        let engine = EngineProcess::start_with(&world, &variables);
        world.wait_for_position(position).await;
        engine.kill();
    }
    assert!(world.position().await < 40_000, "it was not killed in the middle");
    let engine = EngineProcess::start_with(&world, &variables);
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    assert_eq!(engine.stop(), Some(0));
    world.assert_equals(&truth).await;
}

/// A world whose full segments are sealed, and whose engine has ended.
async fn sealed_world() -> World {
    let world = World::new().await;
    world.publish(&Spec { count: 3_000, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    engine.stop().await;
    world
}

/// A filter is trusted only while it is the one that was kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_filter_is_built_anew() {
    let world = sealed_world().await;
    let damage = "update segment set filter = set_byte(filter, 100, get_byte(filter, 100) # 255)";
    sqlx::query(damage).execute(world.pool()).await.unwrap();
    let before = counted(&world).await;
    let engine = self::engine(&world).await;
    world.publish(&Spec { count: 3_000, ..spec() }).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(counted(&world).await, before);
}

/// A filter that has not all of its segment's receipts would let one be counted again. The audit asks it for each.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_a_filter_that_forgets_a_receipt() {
    let world = sealed_world().await;
    let mut connection = world.pool().acquire().await.unwrap();
    let mut keys = Vec::new();
    sealing::keys(&mut connection, 1, |of| keys.push(of)).await.unwrap();
    assert_eq!(keys.len() as i64, SEGMENT_ENTRIES);
    let mut builder = FilterBuilder::default();
    keys.iter().skip(1).for_each(|of| builder.add(hash_of(of.brand_no, of.key)));
    let other = Kept::new(1, SEGMENT_ENTRIES, builder.build().unwrap().to_bytes());
    sqlx::query("update segment set filter = $1, checksum = $2 where segment = 1")
        .bind(&other.filter)
        .bind(&other.checksum)
        .execute(&mut *connection)
        .await
        .unwrap();
    let audit = world.prooftally(&["audit"]);
    assert_eq!(audit.status.code(), Some(10), "{audit:?}");
    let found = String::from_utf8_lossy(&audit.stdout);
    let entry: i64 = sqlx::query_scalar(
        "select entry from ledger where receipt_key = $1::uuid and brand_no = $2",
    )
    .bind(format!("{:032x}", keys[0].key.0))
    .bind(keys[0].brand_no)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let says = format!("segment 1: its filter does not have the receipt of entry {entry}");
    assert!(found.contains(&says), "{found}");
}

/// Without one of its receipts it could be counted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_lacks_a_receipt_is_not_metered_on() {
    let world = World::new().await;
    world.publish(&Spec { count: 900, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    engine.stop().await;
    // The total is what it should be, as far as the cursor knows.
    sqlx::raw_sql(
        "delete from ledger where entry = 500; \
         update cursor set counted = counted - 1, doubled = doubled + 1",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let ended = world.prooftally(&["serve"]);
    assert!(!ended.status.success(), "{ended:?}");
    let log = String::from_utf8_lossy(&ended.stderr);
    assert!(log.contains("segment 0 of the ledger has"), "{log}");
}

/// The keys in memory do not stand in for a row that is gone: its receipt could be counted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_gone_before_its_segment_is_full_keeps_it_unsealed() {
    let world = World::new().await;
    world.publish(&Spec { count: 900, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    sqlx::query("delete from ledger where entry = 500").execute(world.pool()).await.unwrap();
    world.publish(&Spec { count: 2_000, seed: 2, ..spec() }).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 1).await;
    let problem = wait_for("the segment has a problem", async || {
        sqlx::query_scalar::<_, Option<String>>("select problem from segment where segment = 0")
            .fetch_optional(world.pool())
            .await
            .ok()?
            .flatten()
    })
    .await;
    assert!(problem.contains("998 receipts were read"), "{problem}");
    engine.stop().await;
}

/// Makes the ledger count the receipt of one entry a second time, in place of another entry of the
/// same brand.
async fn plant_double(world: &World, first: i64, second_from: i64) -> i64 {
    sqlx::query_scalar(
        "update ledger l set receipt_key = f.receipt_key, receipt_id = f.receipt_id from ledger f \
         where f.entry = $1 and l.entry = (select min(entry) from ledger o \
            where o.brand_no = f.brand_no and o.entry >= $2) \
         returning l.entry",
    )
    .bind(first)
    .bind(second_from)
    .fetch_one(world.pool())
    .await
    .unwrap()
}

/// The check that planted doubles are found, in one segment or across two, and that metering goes on.
async fn check_double_is_found(first: i64, second_from: i64) {
    let world = World::new().await;
    world.publish(&Spec { count: 2_000, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    engine.stop().await;
    let second = plant_double(&world, first, second_from).await;
    let engine = self::engine(&world).await;
    world.publish(&Spec { count: 3_000, seed: 2, ..spec() }).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 1).await;
    let problem: Option<String> =
        sqlx::query_scalar("select problem from segment where segment = $1")
            .bind(second / SEGMENT_ENTRIES)
            .fetch_one(world.pool())
            .await
            .unwrap();
    let problem = problem.expect("it is not sealed");
    assert!(problem.contains(&format!("is counted in entries [{first}, {second}]")), "{problem}");
    let (status, ready) = admin(&engine, "/readyz").await;
    assert!(status == 503 && ready.contains("uniqueness"), "{status} {ready}");
    let text = metrics(&engine).await;
    assert!(text.contains(r#"prooftally_segments{state="broken"} 1"#), "{text}");
    let audit = world.prooftally(&["audit"]);
    assert_eq!(audit.status.code(), Some(10), "{audit:?}");
    // Repaired, it is sealed at once, and everything adds up.
    let repaired = world.prooftally(&["audit", "repair", "--because", "planted by a test"]);
    assert!(repaired.status.success(), "{repaired:?}");
    wait_until_sealed(&world, 0).await;
    wait_for("the engine is ready", async || {
        (admin(&engine, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    engine.stop().await;
    let audit = world.prooftally(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
    // The next engine finds as many rows as it expects.
    let engine = self::engine(&world).await;
    world.publish(&Spec { count: 1_000, seed: 3, ..spec() }).await;
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_conserved().await;
}

/// With more full segments than may wait for sealing the intake stands still, and the repair that they
/// wait for is carried out all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_carried_out_while_reading_waits_for_sealing() {
    let world = World::new().await;
    world.publish(&Spec { count: 900, ..spec() }).await;
    let engine = engine(&world).await;
    world.wait_until_metered().await;
    engine.stop().await;
    // Open segment 0 has a double, and so will have segments 1 and 2 of what follows.
    plant_double(&world, 100, 200).await;
    let engine = self::engine(&world).await;
    world.publish(&Spec { count: 2_000, seed: 2, ..spec() }).await;
    world.wait_until_metered().await;
    wait_until_sealed(&world, 1).await;
    for (segment, first) in [(1, 1_100), (2, 2_100)] {
        // As if it had never been sealed.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "delete from segment where segment = {segment}; \
             drop index if exists ledger_{segment:06}_receipt"
        )))
        .execute(world.pool())
        .await
        .unwrap();
        if first < counted(&world).await - 100 {
            plant_double(&world, first, first + 50).await;
        }
    }
    engine.stop().await;
    let engine = self::engine(&world).await;
    world.publish(&Spec { count: 4_000, seed: 3, ..spec() }).await;
    wait_for("reading waits", async || {
        admin(&engine, "/readyz").await.1.contains("sealing").then_some(())
    })
    .await;
    let repaired = world.prooftally(&["audit", "repair", "--because", "planted by a test"]);
    assert!(repaired.status.success(), "{repaired:?}");
    world.wait_until_metered().await;
    wait_until_sealed(&world, 0).await;
    engine.stop().await;
    let audit = world.prooftally(&["audit"]);
    assert!(audit.status.success(), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counted_twice_within_a_segment_is_found() {
    // Both in segment 1, which was open when they were planted.
    check_double_is_found(1_050, 1_100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_counted_twice_across_segments_is_found() {
    check_double_is_found(500, 1_100).await;
}
