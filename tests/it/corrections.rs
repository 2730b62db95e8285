//! What was counted, corrected: conflicts settled, receipts voided, doubles repaired, audits on a
//! schedule.

use prooftally::engine;
use prooftally::store::audit::{self, Severity};
use prooftally::store::conflicts::{self, Conflict, Filter};
use prooftally::store::{cursor, sealing};

use crate::harness::{World, wait_for, world};
use crate::metering::receipt;

const CERT: &str = "CERT_VALID@V1";
const OTHER: &str = "DUE_DILIGENCE_VALID@V1";

/// The same receipt with another predicate.
fn contradiction(receipt_id: &str) -> String {
    receipt(receipt_id, "acme").replace(CERT, OTHER)
}

async fn all(world: &World) -> Vec<Conflict> {
    let filter = Filter { limit: 100, ..Filter::default() };
    conflicts::list(world.pool(), &filter).await.unwrap()
}

/// Receipts by predicate, less what was taken back.
async fn receipts(world: &World) -> Vec<(String, u64)> {
    let rows = world.usage().await;
    rows.into_iter()
        .filter(|row| row.receipts > 0)
        .map(|row| (row.predicate, row.receipts))
        .collect()
}

fn of(predicate: &str, receipts: u64) -> (String, u64) {
    (predicate.to_owned(), receipts)
}

async fn assert_clean(world: &World) {
    world.assert_conserved().await;
    let findings = audit::run(world.pool(), |_| ()).await.unwrap().findings;
    let violations: Vec<_> =
        findings.iter().filter(|found| found.severity == Severity::Violation).collect();
    assert!(violations.is_empty(), "{violations:?}");
}

/// The state of each conflict and how often it was seen.
fn states(conflicts: &[Conflict]) -> Vec<(&str, i64)> {
    conflicts.iter().map(|conflict| (conflict.state.as_str(), conflict.seen)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolved_conflict_counts_the_other_content_and_stays_settled() {
    let world = World::new().await;
    let engine = world.engine().await;
    let (first, other) = (receipt("r-1", "acme"), contradiction("r-1"));
    world.publish_raw("proofs.verified", [first.clone(), other.clone(), other.clone()]).await;
    world.wait_until_metered().await;
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    let asked =
        world.prooftally(&["conflicts", "resolve", "1", "--because", "the first was a test"]);
    assert!(asked.status.success(), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("1 conflicts resolved"), "{asked:?}");
    assert_eq!(receipts(&world).await, [of(OTHER, 1)]);
    // Both come again: the right one is a duplicate, and the wrong one opens nothing.
    world.publish_raw("proofs.verified", [other.clone(), first.clone()]).await;
    world.wait_until_metered().await;
    assert_eq!(states(&all(&world).await), [("resolved", 2), ("dismissed", 1)]);
    // Nor after a restart.
    engine.stop().await;
    let engine = world.engine().await;
    world.publish_raw("proofs.verified", [other.clone(), first.clone()]).await;
    world.wait_until_metered().await;
    assert_eq!(states(&all(&world).await), [("resolved", 2), ("dismissed", 2)]);
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate, totals.conflict), (1, 2, 4));
    assert_eq!((totals.voided, totals.resolved), (1, 1));
    assert_clean(&world).await;
    assert_eq!(world.prooftally(&["replay"]).status.code(), Some(0));
    // Once more is refused, and the way back is the other one.
    let again = world.prooftally(&["conflicts", "resolve", "1", "--because", "again"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("0 conflicts resolved"), "{again:?}");
    let back = world.prooftally(&["conflicts", "resolve", "2", "--because", "no, it was right"]);
    assert!(String::from_utf8_lossy(&back.stdout).contains("1 conflicts resolved"), "{back:?}");
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    world.publish_raw("proofs.verified", [first, other]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(states(&all(&world).await), [("dismissed", 3), ("resolved", 2)]);
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    assert_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_dismissed_in_bulk_and_not_opened_by_a_replay() {
    let world = World::new().await;
    let engine = world.engine().await;
    let ids: Vec<String> = (0..20).map(|number| format!("r-{number}")).collect();
    let firsts: Vec<String> = ids.iter().map(|id| receipt(id, "acme")).collect();
    let others: Vec<String> = ids.iter().map(|id| contradiction(id)).collect();
    world.publish_raw("proofs.verified", firsts).await;
    // Each content twice in what is likely one chunk.
    world.publish_raw("proofs.verified", [others.clone(), others.clone()].concat()).await;
    world
        .publish_raw(
            "proofs.verified",
            [receipt("z-1", "zeta"), receipt("z-1", "zeta").replace("mill", "loom")],
        )
        .await;
    world.wait_until_metered().await;
    assert!(all(&world).await.iter().take(20).all(|conflict| conflict.seen == 2));
    wait_for("the metric says 21 open", async || {
        world::metrics(&engine).await.contains("prooftally_conflicts_open 21").then_some(())
    })
    .await;
    let nobody = world.prooftally(&["conflicts", "dismiss", "--because", "nobody is meant"]);
    assert_eq!(nobody.status.code(), Some(5), "{nobody:?}");
    let asked =
        world.prooftally(&["conflicts", "dismiss", "--brand", "acme", "--because", "known"]);
    assert!(String::from_utf8_lossy(&asked.stdout).contains("20 conflicts dismissed"), "{asked:?}");
    world.publish_raw("proofs.verified", others).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let open: Vec<String> = all(&world)
        .await
        .into_iter()
        .filter(|conflict| conflict.state == "open")
        .map(|conflict| conflict.brand_id)
        .collect();
    assert_eq!(open, ["zeta"]);
    assert!(all(&world).await.iter().take(20).all(|conflict| conflict.seen == 3));
    assert_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voided_receipts_are_not_billed_and_never_counted_again() {
    let world = World::new().await;
    let engine = world.engine().await;
    let ids = ["r-1", "r-2", "r-3"];
    world.publish_raw("proofs.verified", ids.map(|id| receipt(id, "acme"))).await;
    world.wait_until_metered().await;
    let void = |arguments: &[&str]| {
        let arguments = [&["receipts", "void"], arguments, &["--because", "a test run"]].concat();
        world.prooftally(&arguments)
    };
    let done = void(&["acme", "r-1", "r-2", "r-1"]);
    assert!(String::from_utf8_lossy(&done.stdout).contains("2 receipts voided"), "{done:?}");
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    let twice = void(&["acme", "r-3", "r-2"]);
    assert_eq!(twice.status.code(), Some(5), "{twice:?}");
    assert!(String::from_utf8_lossy(&twice.stderr).contains("are voided already"), "{twice:?}");
    let strange = void(&["acme", "r-9"]);
    assert_eq!(strange.status.code(), Some(5), "{strange:?}");
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    // Delivered again they are duplicates, and a contradiction of one cannot be resolved.
    let again = ids.map(|id| receipt(id, "acme"));
    world.publish_raw("proofs.verified", again).await;
    world.publish_raw("proofs.verified", [contradiction("r-1")]).await;
    world.wait_until_metered().await;
    let resolved = world.prooftally(&["conflicts", "resolve", "--all", "--because", "no"]);
    let answer = String::from_utf8_lossy(&resolved.stdout);
    assert!(answer.contains("0 conflicts resolved") && answer.contains("was voided"), "{answer}");
    let shown = world.prooftally(&["receipts", "show", "r-1", "--output", "csv"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("voided,acme,"), "{shown:?}");
    let zone = world.prooftally(&["brands", "set", "acme", "--zone", "Asia/Tokyo"]);
    assert!(zone.status.success(), "{zone:?}");
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate, totals.voided), (3, 3, 2));
    assert_eq!(receipts(&world).await, [of(CERT, 1)]);
    assert_clean(&world).await;
}

/// Doubles in one segment and across two; one that lost another receipt's position, one that counts a
/// position again.
#[tokio::test(flavor = "multi_thread")]
async fn planted_doubles_are_named_and_repaired_with_a_record() {
    let world = World::new().await;
    let small = |config: &mut engine::Config| config.segment_entries = 10;
    let engine = world.engine_with(small).await;
    let events: Vec<String> = (1..=25).map(|n| receipt(&format!("r-{n}"), "acme")).collect();
    world.publish_raw("proofs.verified", events).await;
    world.wait_until_metered().await;
    // What seals when its engine ends may be done after that.
    wait_for("both full segments are sealed", async || {
        let sealed = sealing::sealed_count(world.pool()).await.ok()?;
        (sealed == 2).then_some(())
    })
    .await;
    engine.stop().await;
    // A sealed segment would refuse them: as if none was.
    sqlx::raw_sql(
        "drop index if exists ledger_000000_receipt, ledger_000001_receipt; delete from segment; \
         update ledger l set receipt_key = f.receipt_key, receipt_id = f.receipt_id \
            from ledger f where f.entry = 1 and l.entry in (2, 15); \
         insert into ledger select 26, sequence, digest, verified_at, expires_at, epoch, brand_no, \
            predicate_no, usage_day, receipt_key, source, result, receipt_id, supplier, product \
            from ledger where entry = 3; \
         update cursor set entry = 26, counted = 26; update usage_fold set entry = 26; \
         update usage_day set receipts = receipts + 1",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let named = world.prooftally(&["audit", "--output", "csv"]);
    assert_eq!(named.status.code(), Some(10), "{named:?}");
    let text = String::from_utf8_lossy(&named.stdout);
    assert!(text.contains("entries [1, 2, 15]") && text.contains("entries [3, 26]"), "{text}");
    let engine = world.engine_with(small).await;
    let repaired = world.prooftally(&["audit", "repair", "--because", "planted by a test"]);
    assert!(repaired.status.success(), "{repaired:?}");
    let none = world.prooftally(&["audit", "repair", "--because", "planted by a test"]);
    assert_eq!(none.status.code(), Some(4), "{none:?}");
    world.publish_raw("proofs.verified", [receipt("r-1", "acme"), receipt("r-26", "acme")]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let kept: Vec<(i64, i64, String)> =
        sqlx::query_as("select entry, first_entry, because from ledger_double order by entry")
            .fetch_all(world.pool())
            .await
            .unwrap();
    let because = || "planted by a test".to_owned();
    assert_eq!(kept, [(2, 1, because()), (15, 1, because()), (26, 3, because())]);
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate, totals.doubled), (24, 3, 3));
    assert_eq!(receipts(&world).await, [of(CERT, 24)]);
    assert_clean(&world).await;
}

/// A conflict that was compared with an entry which leaves the ledger contradicts the first one.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_a_double_can_be_resolved_once_that_is_repaired() {
    let world = World::new().await;
    let engine = world.engine().await;
    let events = [receipt("r-1", "acme"), receipt("r-2", "acme"), contradiction("r-1")];
    world.publish_raw("proofs.verified", events).await;
    world.wait_until_metered().await;
    sqlx::raw_sql(
        "update ledger l set receipt_key = f.receipt_key, receipt_id = f.receipt_id, \
            digest = f.digest from ledger f where f.entry = 1 and l.entry = 2; \
         update conflict set entry = 2",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let repaired = world.prooftally(&["audit", "repair", "--because", "planted by a test"]);
    assert!(repaired.status.success(), "{repaired:?}");
    assert_clean(&world).await;
    // The engine that has seen the double come knows which entry counts.
    world.publish_raw("proofs.verified", [receipt("r-1", "acme"), contradiction("r-1")]).await;
    world.wait_until_metered().await;
    let asked =
        world.prooftally(&["conflicts", "resolve", "1", "--because", "the first was a test"]);
    assert!(String::from_utf8_lossy(&asked.stdout).contains("1 conflicts resolved"), "{asked:?}");
    assert!(!world::metrics(&engine).await.contains(r#"actor="metering""#));
    engine.stop().await;
    assert_eq!(receipts(&world).await, [of(OTHER, 1)]);
    assert_clean(&world).await;
}

/// What the database will never take is refused, and metering goes on in the same life.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_the_database_refuses_is_answered_and_ends_nothing() {
    let world = World::new().await;
    let engine = world.engine().await;
    world.publish_raw("proofs.verified", [receipt("r-1", "acme"), contradiction("r-1")]).await;
    world.wait_until_metered().await;
    sqlx::raw_sql(
        "alter table conflict add constraint none_dismissed check (state <> 'dismissed'); \
         alter table brand add constraint no_moving check (zone = 'UTC')",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let fence = world.fence().await;
    let dismissed = world.prooftally(&["conflicts", "dismiss", "1", "--because", "it is wrong"]);
    let moved = world.prooftally(&["brands", "set", "acme", "--zone", "Europe/Berlin"]);
    for asked in [dismissed, moved] {
        assert!(!asked.status.success(), "{asked:?}");
        assert!(String::from_utf8_lossy(&asked.stderr).contains("23514"), "{asked:?}");
    }
    world.publish_raw("proofs.verified", [receipt("r-2", "acme")]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(world.fence().await, fence, "metering was restarted");
    assert_eq!(receipts(&world).await, [of(CERT, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn audits_run_on_a_schedule_and_outlive_the_engine() {
    let world = World::new().await;
    world.publish_raw("proofs.verified", [receipt("r-1", "acme"), receipt("r-1", "zeta")]).await;
    let often = std::time::Duration::from_millis(200);
    let engine = world.engine_with(|config| config.audit_every = Some(often)).await;
    world.wait_until_metered().await;
    wait_for("an audit that notes the shared receipt and is clean", async || {
        let metrics = world::metrics(&engine).await;
        let note = r#"prooftally_audit_findings{check="shared_receipts",severity="note"} 1"#;
        (metrics.contains("prooftally_audit_clean 1") && metrics.contains(note)).then_some(())
    })
    .await;
    sqlx::raw_sql("update usage_day set receipts = 7").execute(world.pool()).await.unwrap();
    wait_for("an audit that is red", async || {
        let metrics = world::metrics(&engine).await;
        let found = metrics.contains(r#"check="usage",severity="violation"} 2"#);
        (metrics.contains("prooftally_audit_clean 0") && found).then_some(())
    })
    .await;
    let (status, body) = world::admin(&engine, "/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#""notices":{"audit":""#), "{body}");
    engine.stop().await;
    // An engine that does not audit by itself knows of the last one.
    let engine = world.engine_with(|config| config.audit_every = None).await;
    wait_for("the last audit is known", async || {
        world::metrics(&engine).await.contains("prooftally_audit_clean 0").then_some(())
    })
    .await;
    engine.stop().await;
    assert_eq!(world.prooftally(&["audit"]).status.code(), Some(10));
}

/// Two receipts that the database does not take, among thousands that it does: only they are rejected,
/// the engine's restart budget is not touched, and they are counted once the cause is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_rejected_alone() {
    let world = World::new().await;
    world.store.migrate().await.unwrap();
    sqlx::raw_sql("alter table ledger add constraint no_evil check (receipt_id not like 'evil-%')")
        .execute(world.pool())
        .await
        .unwrap();
    let good = |from: u32| (from..from + 1_500).map(|n| receipt(&format!("r-{n}"), "acme"));
    world.publish_raw("proofs.verified", good(0)).await;
    world.publish_raw("proofs.verified", [receipt("evil-1", "acme")]).await;
    world.publish_raw("proofs.verified", good(1_500)).await;
    world.publish_raw("proofs.verified", [receipt("evil-2", "zeta"), receipt("r-x", "zeta")]).await;
    // One failure of its own would end it.
    let engine = world.engine_with(|config| config.restart.failures_max = 0).await;
    world.wait_until_metered().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.rejected), (3_001, 2));
    let listed = world.prooftally(&["events", "rejected", "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    for (place, receipt) in [(0, "evil-1"), (1, "evil-2")] {
        assert_eq!(listed[place]["reason"], "store_refused");
        assert_eq!(listed[place]["receipt"], receipt);
        let detail = listed[place]["detail"].as_str().unwrap();
        assert!(detail.starts_with("23514: ") && detail.contains("no_evil"), "{detail}");
        assert!(!detail.contains("r-"), "it tells of others: {detail}");
    }
    // Asked for while the cause is there, the request is refused, and metering goes on.
    let retry = || world.prooftally(&["events", "rejected", "retry", "--all"]);
    let in_vain = retry();
    assert_eq!(in_vain.status.code(), Some(5), "{in_vain:?}");
    sqlx::raw_sql("alter table ledger drop constraint no_evil")
        .execute(world.pool())
        .await
        .unwrap();
    let retried = retry();
    assert!(String::from_utf8_lossy(&retried.stdout).contains("2 counted"), "{retried:?}");
    world.publish_raw("proofs.verified", [receipt("evil-1", "acme")]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.counted_later, totals.duplicate), (3_001, 2, 1));
    assert_clean(&world).await;
    assert_eq!(world.prooftally(&["replay"]).status.code(), Some(0));
}
