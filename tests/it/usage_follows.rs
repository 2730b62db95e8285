//! Usage that is left behind the ledger while a backlog is metered, and follows it whatever happens.

use prooftally::store::audit;
use prooftally::store::corrections::{self, Correction, Work};
use prooftally::store::requests::{self, Ask};
use prooftally::store::{cursor, ledger, usage_fold};
use prooftally::workload::{Spec, Truth};

use crate::harness::{EngineProcess, World, wait_for, world};

/// The ledger's last entry, and the last one that usage has.
async fn ends(world: &World) -> Option<(i64, i64)> {
    let usage_entry = usage_fold::last_entry(world.pool()).await.ok()?;
    Some((cursor::read(world.pool()).await.ok()?.entry, usage_entry))
}

/// A world whose engine was killed in a backlog, when usage was behind the ledger.
async fn killed_in_a_backlog() -> (World, Truth) {
    let world = World::new().await;
    let truth = world.publish(&Spec { count: 120_000, brands: 50, ..Spec::default() }).await;
    let engine = EngineProcess::start(&world);
    wait_for("usage is left behind", async || {
        let (entry, usage_entry) = ends(&world).await?;
        (usage_entry < entry).then_some(())
    })
    .await;
    engine.kill();
    let (entry, usage_entry) = ends(&world).await.unwrap();
    assert!(usage_entry < entry, "usage has followed before the engine was killed");
    (world, truth)
}

async fn assert_audit_is_clean(world: &World) {
    world.assert_conserved().await;
    let findings = audit::run(world.pool(), |_| ()).await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
}

/// Receipts of all brands, less those taken back.
async fn billed(world: &World) -> i64 {
    let query = "select coalesce(sum(receipts - voided), 0)::bigint from usage_day";
    sqlx::query_scalar(query).fetch_one(world.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_engine_left_behind_is_added_by_the_next() {
    let (world, truth) = killed_in_a_backlog().await;
    assert_audit_is_clean(&world).await;
    let (entry, usage_entry) = ends(&world).await.unwrap();
    assert_eq!(billed(&world).await, usage_entry, "usage is not the entries that it says it has");
    let engine = EngineProcess::start(&world);
    world.wait_until_metered().await;
    assert_eq!(engine.stop(), Some(0));
    assert!(ends(&world).await.unwrap().1 > entry);
    world.assert_equals(&truth).await;
    assert_audit_is_clean(&world).await;
}

/// At the end of a backlog usage lacks more than a commit adds, and no commit comes after.
#[tokio::test(flavor = "multi_thread")]
async fn usage_has_everything_soon_after_a_backlog() {
    let world = World::new().await;
    let truth = world.publish(&Spec { count: 120_000, brands: 50, ..Spec::default() }).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    wait_for("the metric says that nothing is behind", async || {
        world::metrics(&engine).await.contains("prooftally_usage_behind_entries 0").then_some(())
    })
    .await;
    engine.stop().await;
    world.assert_equals(&truth).await;
    assert_audit_is_clean(&world).await;
}

/// Two may find the same entries to be added: each is added once.
#[tokio::test(flavor = "multi_thread")]
async fn usage_is_added_once_by_however_many() {
    let (world, _) = killed_in_a_backlog().await;
    let (entry, _) = ends(&world).await.unwrap();
    let folds = (0..4).map(|_| async {
        let mut connection = world.pool().acquire().await.unwrap();
        usage_fold::fold(&mut connection).await.unwrap()
    });
    let folded = futures_util::future::join_all(folds).await;
    assert_eq!(folded, [entry; 4]);
    assert_eq!(billed(&world).await, entry);
    assert_audit_is_clean(&world).await;
}

/// The brand and the receipt of the last entry, which usage does not have yet.
async fn last_receipt(world: &World) -> (i32, String, String) {
    sqlx::query_as(
        "select brand_no, brand_id, receipt_id from ledger join brand using (brand_no) \
         order by entry desc limit 1",
    )
    .fetch_one(world.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_in_usage_before_it_is_taken_back() {
    let (world, _) = killed_in_a_backlog().await;
    let (entry, _) = ends(&world).await.unwrap();
    let (brand_no, brand, receipt) = last_receipt(&world).await;
    let (receipts, because) = (vec![receipt], "a test".to_owned());
    let ask = Ask::VoidReceipts { brand, receipts: receipts.clone(), because: because.clone() };
    let correction = Correction {
        request_no: requests::ask(world.pool(), &ask, "auditor").await.unwrap(),
        asked_by: "auditor".into(),
        because,
        work: Work::Void { brand_no, receipts },
    };
    let mut connection = world.pool().acquire().await.unwrap();
    let fence = world.fence().await;
    let corrected = corrections::carry_out(&mut connection, fence, &correction).await.unwrap();
    assert_eq!(corrected.entry, entry + 1);
    assert_eq!(ends(&world).await.unwrap(), (entry + 1, entry + 1));
    assert_eq!(billed(&world).await, entry - 1);
    assert_audit_is_clean(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_of_a_new_zone_have_each_receipt_once() {
    let (world, _) = killed_in_a_backlog().await;
    let (entry, _) = ends(&world).await.unwrap();
    let (brand_no, brand, _) = last_receipt(&world).await;
    let ask = Ask::SetZone { brand, zone: "Pacific/Pago_Pago".into(), seen: None };
    let request_no = requests::ask(world.pool(), &ask, "auditor").await.unwrap();
    let mut connection = world.pool().acquire().await.unwrap();
    let (fence, zone) = (world.fence().await, chrono_tz::Pacific::Pago_Pago);
    let moved = ledger::set_zone(&mut connection, fence, request_no, brand_no, zone).await.unwrap();
    assert!(moved.is_some_and(|moved| moved > 0), "no receipt has moved");
    assert_eq!(ends(&world).await.unwrap(), (entry, entry));
    assert_eq!(billed(&world).await, entry);
    assert_audit_is_clean(&world).await;
}
