//! An invoice of a million receipts, measured: `docs/performance.md` has the figures.

use std::time::Instant;

use billing::evidence::proof;
use billing::ids::BrandId;
use prooftally::store::{brands, proving};
use prooftally::workload::{Percent, Spec};

use super::*;

/// So that two segments are sealed and one is open.
const LARGE_SEGMENT: i64 = 400_000;

const PLAIN: &str = "name = \"plain\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n\n[[charge]]\n\
    name = \"Receipts\"\npredicate = \"*@*\"\nmodel = \"per_unit\"\nunit_price = \"0.05\"\n";

async fn large() -> (Books, String) {
    let world = World::new().await;
    let engine = world.engine_with(|config| config.segment_entries = LARGE_SEGMENT).await;
    let books = Books { world, engine: Some(engine), folder: tempfile::tempdir().unwrap() };
    books.file("config.toml", CONFIG);
    let none = Percent::ZERO;
    let spec = Spec {
        brands: 1,
        duplicate: none,
        reemitted: none,
        conflict: none,
        malformed: none,
        failed: none,
        ..Spec::default()
    };
    books.world.publish(&spec).await;
    books.count(std::iter::empty()).await;
    wait_for("two segments are sealed", async || {
        (sealing::sealed_count(books.world.pool()).await.ok()? == 2).then_some(())
    })
    .await;
    sqlx::raw_sql("analyze ledger").execute(books.world.pool()).await.unwrap();
    let (brand, first): (String, String) = sqlx::query_as(
        "select brand_id, min(usage_day)::text from brand join usage_day using (brand_no) group by 1",
    )
    .fetch_one(books.world.pool())
    .await
    .unwrap();
    let (plan, profile) = (books.file("plan.toml", PLAIN), books.file("profile.toml", PROFILE));
    books.done(&format!("plans apply {plan} --effective-from 2026-01-01"));
    let assign = format!("assignments create --brand {brand} --plan plain --from {first}");
    books.done(&format!("{assign} --until 2026-05-01"));
    books.done(&format!("brands profile set {brand} -f {profile}"));
    books.done(&format!("brands tax set {brand} --from 2026-01-01 --category S --rate 19"));
    (books, brand)
}

fn said(what: &str, started: Instant) {
    println!("{what}: {:.3} s", started.elapsed().as_secs_f64());
}

/// `cargo test --release --test it -- --ignored a_million_receipts --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "counts a million receipts: some 20 s in a release build"]
async fn a_million_receipts_on_one_invoice() {
    let (mut books, brand) = large().await;
    let started = Instant::now();
    books.issue().await;
    said("issued, with its evidence", started);
    let id = BrandId::new(&brand).unwrap();
    let brand = brands::find(books.world.pool(), &id).await.unwrap().unwrap();
    let (entry, receipt): (i64, String) =
        sqlx::query_as("select entry, receipt_id from ledger where entry = 654321")
            .fetch_one(books.world.pool())
            .await
            .unwrap();
    let mut connection = books.world.store.connect().await.unwrap();
    let started = Instant::now();
    let found = proving::prove(&mut connection, &brand, &receipt, None).await.unwrap().unwrap();
    said("one proof made", started);
    let text = found.proof.to_text().unwrap();
    println!(
        "a proof in a tree of {}: {} hashes, {} bytes",
        found.proof.size,
        found.proof.path.len(),
        text.len()
    );
    assert!(found.proof.size > 900_000 && text.len() < 4_000);
    let started = Instant::now();
    for _ in 0..1_000 {
        let proved = proof::check(&found.proof, &found.document).unwrap();
        assert_eq!(proved.leaf.entry, entry.unsigned_abs());
    }
    said("a thousand checks", started);
    let started = Instant::now();
    let report = books.verify().await;
    assert_eq!(report.differences, []);
    said(&format!("{} documents verified from {} rows", report.documents, report.leaves), started);
    for segment in [0, 1] {
        let started = Instant::now();
        digests::compute(&mut connection, segment).await.unwrap();
        said(&format!("the digest of segment {segment} of {LARGE_SEGMENT} rows"), started);
    }
    books.stop().await;
}
