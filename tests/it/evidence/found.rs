//! Receipts are found by their ids, and page by page behind documents, wherever in the ledger they are.

use prooftally::store::sealing;
use serde_json::Value;

use super::{Books, SEGMENT_ENTRIES, event};
use crate::api::client::Client;
use crate::harness::wait_for;
use crate::metering::receipt;

impl Books {
    /// A client of an engine's API with a new key.
    fn client(&self, address: Option<std::net::SocketAddr>, role: &str) -> Client {
        let made = self.run(&format!("keys create --name test --role {role}"));
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).expect("a key");
        Client::new(address.expect("the API is on"), key.trim())
    }
}

/// Entries of what is listed.
fn entries(rows: &Value) -> Vec<i64> {
    rows.as_array().unwrap().iter().map(|row| row["entry"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_found_by_its_id_with_and_without_the_engines_memory() {
    let books = Books::with_documents().await;
    // The same id for another brand, as late as can be.
    books.count([receipt("m-3", "zeta")].into_iter()).await;
    books.sealed().await;
    let engine = books.engine.as_ref().unwrap();
    let reader = books.client(engine.api, "finance_read");
    let own = books.client(engine.api, "finance_read --brand zeta");
    // It stands by, so it has nothing in memory that it could lend.
    let standby = books.world.engine().await;
    let from_tables = books.client(standby.api, "finance_read");
    let receipts: Vec<(String, Vec<i64>)> = sqlx::query_as(
        "select receipt_id, array_agg(entry order by entry) from ledger \
         group by 1 order by receipt_id = 'm-3' desc, max(source) desc, max(entry) desc",
    )
    .fetch_all(books.world.pool())
    .await
    .unwrap();
    assert_eq!((receipts[0].0.as_str(), receipts[0].1.len()), ("m-3", 3), "a void, and two brands");
    // The others that have a void, some of the open segment, and some of each other one.
    let some = receipts[..10].iter().chain(receipts[10..].iter().step_by(7));
    for (receipt_id, expected) in some {
        for reader in [&reader, &from_tables] {
            let found = reader.get(&format!("/v1/receipts/{receipt_id}")).await.ok();
            assert_eq!(entries(&found["entries"]), *expected, "{receipt_id}");
        }
        let shown = books.run(&format!("receipts show {receipt_id} --output csv"));
        let rows = String::from_utf8(shown.stdout).unwrap().lines().count() - 1;
        assert!(rows >= expected.len(), "{receipt_id}: {rows} rows");
    }
    let found = own.get("/v1/receipts/m-3").await.ok();
    assert_eq!(entries(&found["entries"]), receipts[0].1[2..]);
    assert_eq!(own.get("/v1/receipts/m-4").await.problem(), "not-found");
    assert_eq!(reader.get("/v1/receipts/m-999").await.problem(), "not-found");
    // What is committed is found at once.
    for number in 0..20 {
        let receipt_id = format!("new-{number}");
        books.world.publish_raw("proofs.verified", [receipt(&receipt_id, "acme")]).await;
        wait_for("it is committed", async || {
            let query = "select 1 from ledger where receipt_id = $1";
            let row: Option<i32> = sqlx::query_scalar(query)
                .bind(&receipt_id)
                .fetch_optional(books.world.pool())
                .await
                .unwrap();
            row
        })
        .await;
        reader.get(&format!("/v1/receipts/{receipt_id}")).await.ok();
    }
    standby.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipts_behind_a_document_come_in_pages_without_gap_or_repetition() {
    let books = Books::with_documents().await;
    // Few of many are acme's, so that they are looked up; where many are, what is between them is gone through.
    let whose = |number: u32| if number % 6 == 1 { "acme" } else { "bolt" };
    books.count((0..20).map(|number| event("later", number, whose(number), "04"))).await;
    books.done("receipts void acme later-7 a-6 --because test");
    books.issue().await;
    // What comes after the documents is behind none of them.
    books.count((0..9).map(|number| event("last", number, "acme", "04"))).await;
    books.sealed().await;
    let engine = books.engine.as_ref().unwrap();
    let documents: Vec<(String, Vec<i64>)> = sqlx::query_as(
        "select d.document_no::text, array_agg(l.entry order by l.entry) \
         from document d join document_period p using (document_no) \
         join ledger l on l.brand_no = p.brand_no and l.usage_day >= p.period_start \
            and l.usage_day < p.period_end and l.entry > p.after and l.entry <= p.cutoff \
         group by d.document_no order by count(distinct p.period_start) desc, d.document_no",
    )
    .fetch_all(books.world.pool())
    .await
    .unwrap();
    assert!(documents.len() >= 4, "{documents:?}");
    let open = sealing::sealed_count(books.world.pool()).await.unwrap() * SEGMENT_ENTRIES;
    let counts = "select count(*) filter (where source = 0), count(*) filter (where source = 4) \
        from ledger join brand using (brand_no) \
        where brand_id = 'acme' and entry >= $1 and entry = any($2)";
    let (receipts, voids): (i64, i64) = sqlx::query_as(counts)
        .bind(open)
        .bind(documents.iter().flat_map(|(_, entries)| entries).copied().collect::<Vec<i64>>())
        .fetch_one(books.world.pool())
        .await
        .unwrap();
    assert!(receipts > 0 && voids > 0, "{receipts} and {voids} of documents in the open segment");
    // It stands by, so it has nothing in memory that it could lend.
    let standby = books.world.engine().await;
    let readers = [engine.api, standby.api].map(|api| books.client(api, "finance_read"));
    for (document_no, expected) in documents {
        let (name, lines): (String, Vec<i32>) = sqlx::query_as(
            "select coalesce(number, document_no::text), array_agg(line order by line) \
             from document join document_line using (document_no) \
             where document_no::text = $1 group by document_no",
        )
        .bind(&document_no)
        .fetch_one(books.world.pool())
        .await
        .unwrap();
        let target = format!("/v1/invoices/{name}/receipts");
        for reader in &readers {
            assert_eq!(all_pages(reader, &target).await, expected, "{name}");
        }
        let mut of_lines = Vec::new();
        for line in lines {
            let target = format!("/v1/invoices/{name}/lines/{line}/receipts");
            let found = all_pages(&readers[0], &target).await;
            assert_eq!(all_pages(&readers[1], &target).await, found, "{name} line {line}");
            of_lines.extend(found);
        }
        of_lines.sort_unstable();
        of_lines.dedup();
        assert_eq!(of_lines, expected, "{name}: each receipt is behind a line");
    }
    standby.stop().await;
}

/// The entries of all pages.
async fn all_pages(reader: &Client, target: &str) -> Vec<i64> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = reader.get(&format!("{target}?limit=7&starting_after={after}")).await.ok();
        found.extend(entries(&page["data"]));
        let Some(next) = page["next"].as_str() else { return found };
        after = next.parse().unwrap();
    }
}
