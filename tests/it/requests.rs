//! What operators ask of the engine by request rows.

use prooftally::store::cursor;
use prooftally::workload::{Generator, Spec};

use crate::harness::World;
use crate::metering::receipt;

/// Two of three brands were beyond the limit; it is raised, and their events are counted on retry.
/// One of them has come again meanwhile and is a duplicate then.
#[tokio::test(flavor = "multi_thread")]
async fn rejections_are_counted_on_retry_and_never_twice() {
    let world = World::new().await;
    let first = ["acme", "zeta", "yota"].map(|brand| receipt(&format!("r-{brand}"), brand));
    world.publish_raw("proofs.verified", first).await;
    let engine = world
        .engine_with(|config| {
            config.sorter.brands_max = 1;
            config.intake.chunk_messages_max = 1;
        })
        .await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.rejected), (1, 2));

    let engine = world.engine().await;
    world.publish_raw("proofs.verified", [receipt("r-zeta", "zeta")]).await;
    world.wait_until_metered().await;
    let asked = world.prooftally(&["events", "rejected", "retry", "--reason", "unknown_brand"]);
    let answer = String::from_utf8_lossy(&asked.stdout);
    assert!(answer.contains("1 counted, 1 duplicates, 0 conflicts, 0 still rejected"), "{asked:?}");
    let again = world.prooftally(&["events", "rejected", "retry", "--all"]);
    assert_eq!(again.status.code(), Some(4), "nothing is open any more: {again:?}");
    // The next chunk of the stream follows on the retry's entries.
    world.publish_raw("proofs.verified", [receipt("r-new", "yota")]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.counted_later, totals.rejected), (3, 1, 2));
    world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_in_vain_leaves_the_rejection_open() {
    let world = World::new().await;
    world.publish_raw("proofs.verified", ["{".to_owned()]).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    let asked = world.prooftally(&["events", "rejected", "retry", "--all"]);
    let answer = String::from_utf8_lossy(&asked.stdout);
    assert!(answer.contains("0 counted, 0 duplicates, 0 conflicts, 1 still rejected"), "{asked:?}");
    let dismissed =
        world.prooftally(&["events", "rejected", "dismiss", "1", "--because", "a test of the bus"]);
    assert!(dismissed.status.success(), "{dismissed:?}");
    engine.stop().await;
    let listed =
        world.prooftally(&["events", "rejected", "list", "--state", "any", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["state"], "dismissed");
    assert_eq!(listed[0]["settlement"], "a test of the bus");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_kept_once_and_counted_as_often_as_it_comes() {
    let world = World::new().await;
    let other = receipt("r-1", "acme").replace("mill", "loom");
    let absent = receipt("r-1", "acme").replace(r#""supplierId":"mill","#, "");
    let events = [receipt("r-1", "acme"), other.clone(), absent, other.clone()];
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    // Once more, against a receipt that is committed.
    world.publish_raw("proofs.verified", [other]).await;
    world.wait_until_metered().await;
    engine.stop().await;
    let totals = cursor::read(world.pool()).await.unwrap().totals;
    assert_eq!((totals.counted, totals.duplicate, totals.conflict), (1, 1, 3));
    let conflicts: Vec<(Vec<String>, i64, i64, i64)> =
        sqlx::query_as("select fields, seen, sequence, last_sequence from conflict")
            .fetch_all(world.pool())
            .await
            .unwrap();
    assert_eq!(conflicts, [(vec!["supplier".to_owned()], 3, 2, 5)]);
    world.assert_conserved().await;
}

/// A change of zone while events come in: usage is what it would have been in that zone from the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_brands_zone_is_changed_and_its_usage_rebuilt() {
    let world = World::new().await;
    let spec = Spec { count: 20_000, brands: 3, ..Spec::default() };
    let engine = world.engine_with(|config| config.intake.chunk_messages_max = 200).await;
    let brand = "acme-textiles";
    let (_, set) = tokio::join!(world.publish(&spec), async {
        world.wait_for_position(3_000).await;
        world.prooftally(&[
            "brands",
            "set",
            brand,
            "--zone",
            "Pacific/Kiritimati",
            "--name",
            "Acme",
        ])
    });
    assert!(set.status.success(), "{set:?}");
    world.wait_until_metered().await;
    engine.stop().await;
    world.assert_conserved().await;
    let rows = |zone| {
        let mut generator = Generator::new(&Spec { zone, ..spec.clone() }).unwrap();
        while generator.next_event().is_some() {}
        generator.truth().usage
    };
    let expected: Vec<_> = rows(chrono_tz::Tz::Pacific__Kiritimati)
        .into_iter()
        .filter(|row| row.brand == brand)
        .chain(rows(chrono_tz::Tz::UTC).into_iter().filter(|row| row.brand != brand))
        .collect();
    let mut found = world.usage().await;
    found.retain(|row| row.receipts + row.duplicates > 0);
    found.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(found, expected);
    let shown = world.prooftally(&["brands", "show", brand, "--output", "csv"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("acme-textiles,Acme,Pacific/Kiritimati,"), "{shown}");
}
