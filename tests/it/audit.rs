//! The audit sees what was tampered with, and nothing where nothing was.

use prooftally::store::audit;
use prooftally::workload::Spec;

use crate::harness::World;

/// A metered world, and what the audit finds after `tampering` with it.
async fn findings_after(tampering: &'static str) -> Vec<String> {
    let world = World::new().await;
    let engine = world.engine().await;
    world.publish(&Spec { count: 2_000, ..Spec::default() }).await;
    world.wait_until_metered().await;
    engine.stop().await;
    sqlx::raw_sql(tampering).execute(world.pool()).await.unwrap();
    let findings = audit::run(world.pool(), |_| ()).await.unwrap().findings;
    findings.into_iter().map(|finding| format!("{}: {}", finding.check, finding.what)).collect()
}

fn assert_found(findings: &[String], check: &str, text: &str) {
    let found = findings.iter().any(|found| found.starts_with(check) && found.contains(text));
    assert!(found, "{check} with {text:?} is not among:\n{}", findings.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_nothing_was_done() {
    assert_eq!(findings_after("select 1").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_double_is_named() {
    let found = findings_after(
        "update ledger set receipt_key = (select receipt_key from ledger where entry = 1), \
            brand_no = (select brand_no from ledger where entry = 1) where entry = 2",
    )
    .await;
    assert_found(&found, "uniqueness", "is counted 2 times: entries [1, 2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_gone_is_missed() {
    let found = findings_after("delete from ledger where entry = 7").await;
    assert_found(&found, "tiling", "has no disposition");
    assert_found(&found, "entries", "and the cursor says 1 to");
    assert_found(&found, "usage", "and the ledger has");
    assert_found(&found, "conservation", "dispositions");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_was_raised_is_named() {
    let found = findings_after(
        "update usage_day set receipts = receipts + 1 where last_entry = \
            (select min(last_entry) from usage_day where receipts > 0)",
    )
    .await;
    assert_found(&found, "usage", "and the ledger has");
}

/// `usage_day` has no foreign keys, so the audit looks.
#[tokio::test(flavor = "multi_thread")]
async fn usage_of_nobody_is_named() {
    let found = findings_after(
        "update usage_day set brand_no = 4711 where (brand_no, predicate_no, usage_day, result) = \
            (select brand_no, predicate_no, usage_day, result from usage_day limit 1)",
    )
    .await;
    assert_found(&found, "usage", "usage of a brand without a row, 4711");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_without_its_event_is_named() {
    let found = findings_after("delete from rejection where rejection_no = 1").await;
    assert_found(&found, "evidence_of_rejection", "is rejected and its event is not kept");
}

/// The command says it by its exit code.
#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_is_exit_code_10() {
    let world = World::new().await;
    let engine = world.engine().await;
    world.publish(&Spec { count: 500, ..Spec::default() }).await;
    world.wait_until_metered().await;
    engine.stop().await;
    assert_eq!(world.prooftally(&["audit"]).status.code(), Some(0));
    sqlx::raw_sql("delete from ledger where entry = 7").execute(world.pool()).await.unwrap();
    assert_eq!(world.prooftally(&["audit"]).status.code(), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_says_something_else_than_its_hashes_is_named() {
    let found = findings_after(
        "update ledger set receipt_id = 'another' where entry = 3; \
         update ledger set supplier = 'somebody' where entry = 5",
    )
    .await;
    assert_found(&found, "contents", "entry 3 has the key of another receipt than another");
    assert_found(&found, "contents", "entry 5 has another digest than its content");
    assert_eq!(found.iter().filter(|found| found.starts_with("contents")).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_the_ledger_does_not_bear_out_is_named() {
    let found = findings_after(
        "update rejection set state = 'retried', settled_at = now(), settlement = 'counted', entry = 1 \
         where rejection_no = (select min(rejection_no) from rejection)",
    )
    .await;
    assert_found(&found, "counted_later", "the rejection tells another story than the rest");
}
