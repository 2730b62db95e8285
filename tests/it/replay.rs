//! The stream read again and compared with the ledger.

use prooftally::bus::compare::{Difference, Report};
use prooftally::bus::reread::{self, From, Request};
use prooftally::engine;
use prooftally::workload::Spec;

use crate::harness::World;
use crate::metering::receipt;

/// A world whose stream has everything in it, all of it metered.
async fn metered(count: u64) -> World {
    let world = World::new().await;
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 700).await;
    world.publish(&Spec { count, ..Spec::default() }).await;
    world.publish_raw("proofs.other", ["{}".to_owned()]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    world
}

async fn replayed(world: &World, request: Request) -> Report {
    let config = engine::Config::of(&world.config);
    let reading = reread::Config { pull: config.intake.pull, sorter: config.sorter };
    let compared = reread::compare(&world.bus, &world.store, &reading, request, |_, _| ());
    compared.await.unwrap()
}

async fn tampered(world: &World, statement: &'static str) -> Vec<(Difference, u64)> {
    let mut before = replayed(world, Request::default()).await;
    assert_eq!(before.differing(), 0, "{:?}", before.findings.pop());
    let done = sqlx::raw_sql(statement).execute(world.pool()).await.unwrap();
    assert!(done.rows_affected() > 0, "nothing was tampered with");
    let report = replayed(world, Request::default()).await;
    report.differences.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_metered_agrees_position_by_position() {
    let world = metered(5_000).await;
    let cursor = prooftally::store::cursor::read(world.pool()).await.unwrap();
    let report = replayed(&world, Request::default()).await;
    assert_eq!(report.findings, []);
    assert_eq!(report.compared(), u64::try_from(cursor.sequence).unwrap());
    let of = |kind: &str| report.agree.get(kind).copied().unwrap_or(0);
    let totals = cursor.totals;
    let expected =
        [totals.counted, totals.duplicate, totals.conflict, totals.rejected, totals.ignored];
    let found = ["counted", "duplicate", "conflict", "rejected", "ignored"].map(of);
    assert_eq!(found.map(|n| i64::try_from(n).unwrap()), expected);
    assert!(expected.iter().all(|n| *n > 0), "the stream does not have everything: {expected:?}");
    // A part of it, and what is not metered yet.
    let part = Request { from: From::Sequence(1_001), to: Some(1_100) };
    assert_eq!(replayed(&world, part).await.compared(), 100);
    world.publish_raw("proofs.verified", [receipt("r-late", "acme")]).await;
    let behind = replayed(&world, Request::default()).await;
    assert_eq!((behind.differing(), behind.not_metered), (0, 1));
    let since = From::Time(chrono::Utc::now() + chrono::TimeDelta::hours(1));
    assert_eq!(replayed(&world, Request { from: since, to: None }).await.compared(), 0);
    let since = From::Time(cursor.stored_at.unwrap());
    assert!(
        (1..100).contains(&replayed(&world, Request { from: since, to: None }).await.compared())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_found_under_its_name() {
    let world = metered(3_000).await;
    let missing = tampered(&world, "delete from ledger where entry = 7").await;
    assert_eq!(missing, [(Difference::Missing, 1)]);
    for (statement, mend, difference) in [
        (
            "update ledger set digest = digest + 1 where entry = 8",
            "update ledger set digest = digest - 1 where entry = 8",
            Difference::OtherContent,
        ),
        (
            "update ledger set brand_no = brand_no + 1 where entry = 8",
            "update ledger set brand_no = brand_no - 1 where entry = 8",
            Difference::OtherReceipt,
        ),
        (
            "update ledger set verified_at = verified_at + interval '1 microsecond' where entry = 8",
            "update ledger set verified_at = verified_at - interval '1 microsecond' where entry = 8",
            Difference::OtherTime,
        ),
        (
            "update ledger set usage_day = usage_day + 1 where entry = 8",
            "update ledger set usage_day = usage_day - 1 where entry = 8",
            Difference::OtherDay,
        ),
        (
            "update disposition set receipt_key = gen_random_uuid() \
             where first = (select min(first) from disposition where kind = 'duplicate')",
            "select 1",
            Difference::OtherReceipt,
        ),
        (
            "update rejection set reason = 'nul' where rejection_no = 1 and reason <> 'nul' \
                or rejection_no = 2 and reason <> 'nul'",
            "select 1",
            Difference::OtherReason,
        ),
        (
            "insert into disposition (epoch, first, last, kind) \
             select epoch, sequence, sequence, 'ignored' from ledger where entry = 9",
            "select 1",
            Difference::Twice,
        ),
    ] {
        let before = replayed(&world, Request::default()).await;
        sqlx::raw_sql(statement).execute(world.pool()).await.unwrap();
        let after = replayed(&world, Request::default()).await;
        let of = |report: &Report| report.differences.get(&difference).copied().unwrap_or(0);
        assert!(of(&after) > of(&before), "{statement}: {:?}", after.differences);
        sqlx::raw_sql(mend).execute(world.pool()).await.unwrap();
    }
}

/// The command says it by its exit code, and what the stream has lost is no difference.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_ends_with_10_on_a_difference() {
    let world = metered(500).await;
    let stream = world.jetstream().get_stream("PROOFS").await.unwrap();
    stream.delete_message(3).await.unwrap();
    let good = world.prooftally(&["replay"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let told = String::from_utf8_lossy(&good.stderr);
    assert!(told.contains("gone: 1 positions"), "{told}");
    assert_eq!(world.prooftally(&["audit", "--stream"]).status.code(), Some(0));
    let consumers = stream.get_info().await.unwrap().state.consumer_count;
    assert!(consumers >= 1, "the engine's consumer is still there");
    sqlx::raw_sql("delete from ledger where entry = 5").execute(world.pool()).await.unwrap();
    let bad = world.prooftally(&["replay", "--output", "json"]);
    assert_eq!(bad.status.code(), Some(10), "{bad:?}");
    let listed: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(listed[0]["difference"], "missing");
    assert_eq!(listed.as_array().unwrap().len(), 1);
}
