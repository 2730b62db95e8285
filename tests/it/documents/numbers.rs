//! Many finalize at once, some are killed, and receipts come late: each document is issued once, and
//! nothing is lost.

use std::process::{Command, Stdio};
use std::time::Duration;

use prooftally::engine::billing_terms;
use prooftally::store::billing_run::{self, Which};
use prooftally::store::{Store, due};

use super::*;
use crate::harness::engine_process::PROGRAM;

const BRANDS: usize = 12;

/// The issuer of `ISSUER` for runs in this process.
pub(super) fn terms() -> due::Terms {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, ISSUER).unwrap();
    let source =
        prooftally::config::Source { file: Some(file), environment_variables: std::iter::empty() };
    billing_terms(&prooftally::config::Config::load(source).unwrap().config)
}

async fn run(store: Store, terms: due::Terms) {
    let (which, now) = (Which::default(), chrono::Utc::now());
    billing_run::issue_all(&store, &terms, &which, now, "test", |_, _| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_runs_and_a_kill_issue_each_document_once() {
    let brands: Vec<String> = (0..BRANDS).map(|number| format!("brand-{number}")).collect();
    let days = ["2026-03-01", "2026-03-03", "2026-04-02"];
    let receipts: Vec<(&str, &str)> =
        brands.iter().flat_map(|brand| days.map(|day| (brand.as_str(), day))).collect();
    let till = Till::with(&receipts).await;

    let killed: Vec<_> = (0..4_u64)
        .map(|number| {
            let mut child = Command::new(PROGRAM)
                .args([
                    "invoices",
                    "finalize",
                    "--all",
                    "--unapproved",
                    "--period",
                    "2026-03",
                    "--config",
                ])
                .arg(till.folder.path().join("config.toml"))
                .envs(till.world.variables())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            tokio::task::spawn_blocking(move || {
                std::thread::sleep(Duration::from_millis(60 + 40 * number));
                let _ = child.kill();
                child.wait().unwrap();
            })
        })
        .collect();
    let (store, terms) = (&till.world.store, terms());
    let runs: Vec<_> = (0..16).map(|_| tokio::spawn(run(store.clone(), terms.clone()))).collect();
    let late = brands.iter().enumerate().map(|(number, brand)| {
        receipt(&format!("late-{number}"), brand).replace("2026-03-01", "2026-03-31")
    });
    till.world.publish_raw("proofs.verified", late).await;
    for task in runs {
        task.await.unwrap();
    }
    for task in killed {
        task.await.unwrap();
    }
    till.count("last", &[("brand-0", "2026-03-31")]).await;
    run(store.clone(), terms.clone()).await;

    assert_numbers(&till).await;
    assert_billed(&till).await;
    assert_chains(&till).await;
}

async fn assert_numbers(till: &Till) {
    let invoices: i64 = till.scalar("select count(*) from standing_invoice").await;
    assert_eq!(invoices, 2 * BRANDS as i64, "one for each brand and period");
    let taken_back: i64 = till.scalar("select count(*) from document_event").await;
    assert_eq!(taken_back, 0);
    for prefix in ["INV", "CN"] {
        let (count, last): (i64, i64) = sqlx::query_as(
            "select (select count(distinct number) from document where number like $1 || '-%'), \
                (select last from series where prefix = $1)",
        )
        .bind(prefix)
        .fetch_one(till.world.pool())
        .await
        .unwrap();
        assert_eq!(count, last, "{prefix}: numbers 1 to N without a hole");
    }
}

async fn assert_billed(till: &Till) {
    // Counted is billed, to the receipt, for each brand and period, and at the price of one document.
    let differences: Vec<(i32, String, i64, i64, String)> = sqlx::query_as(
        "select s.brand_no, s.period_start::text, u.receipts::bigint, b.receipts::bigint, \
            b.amount::text from standing_invoice s \
         cross join lateral (select sum(receipts - voided) as receipts from usage_day u \
            where u.brand_no = s.brand_no and u.usage_day >= s.period_start \
                and u.usage_day < s.period_end) u \
         cross join lateral (select sum(receipts) as receipts, sum(amount) as amount from billed b \
            where b.brand_no = s.brand_no and b.period_start = s.period_start) b \
         where u.receipts <> b.receipts or b.amount <> 30 + u.receipts",
    )
    .fetch_all(till.world.pool())
    .await
    .unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}

async fn assert_chains(till: &Till) {
    type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);
    // Every document is the one after the brand's last, and what its bytes say.
    let bodies: Vec<Row> =
        sqlx::query_as("select body, hash, previous_hash from document order by brand_no, chain")
            .fetch_all(till.world.pool())
            .await
            .unwrap();
    for (body, hash, previous) in bodies {
        let document = billing::document::Document::read(&body).unwrap();
        billing::document::check(&document).unwrap();
        assert_eq!(document.hash().unwrap().as_bytes().as_slice(), hash);
        let named = document.previous.map(|previous| previous.as_bytes().to_vec());
        assert_eq!(named, previous);
    }
}

/// Lets a statement of a run wait for the test's lock: within the transaction, or when it ends.
const GATES: [(&str, &str); 2] = [
    (
        "within the transaction",
        "create trigger zz_gate after insert on document for each statement execute function gate()",
    ),
    (
        "at its commit",
        "create constraint trigger zz_gate after insert on document deferrable initially deferred \
            for each row execute function gate()",
    ),
];

/// SIGKILL at a known place of a transaction with many documents. Before its commit nothing of it is left, not
/// even a number; once the commit was asked for it is done, and nothing is issued a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_in_its_transaction_leaves_nothing_or_all() {
    let brands: Vec<String> = (0..BRANDS).map(|number| format!("brand-{number}")).collect();
    let receipts: Vec<(&str, &str)> =
        brands.iter().map(|brand| (brand.as_str(), "2026-03-01")).collect();
    for (place, gate) in GATES {
        let till = Till::with(&receipts).await;
        sqlx::raw_sql(
            "create function gate() returns trigger language plpgsql security definer as \
             $$ begin perform pg_advisory_xact_lock(4711); return null; end $$",
        )
        .execute(till.world.pool())
        .await
        .unwrap();
        sqlx::raw_sql(gate).execute(till.world.pool()).await.unwrap();
        let mut holder = till.world.store.connect().await.unwrap();
        sqlx::raw_sql("select pg_advisory_lock(4711)").execute(&mut holder).await.unwrap();
        let mut child = Command::new(PROGRAM)
            .args([
                "invoices",
                "finalize",
                "--all",
                "--unapproved",
                "--period",
                "2026-03",
                "--config",
            ])
            .arg(till.folder.path().join("config.toml"))
            .envs(till.world.variables())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let waits = "select min(pid) from pg_stat_activity where datname = current_database() \
            and wait_event_type = 'Lock' and wait_event = 'advisory'";
        let pid: i32 = wait_for("the run waits in its transaction", async || {
            till.scalar::<Option<i32>>(waits).await
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(till.scalar::<i64>("select count(*) from document").await, 0, "{place}");
        sqlx::raw_sql("select pg_advisory_unlock(4711)").execute(&mut holder).await.unwrap();
        wait_for("the session of what was killed has ended", async || {
            let gone: bool = sqlx::query_scalar(
                "select not exists (select from pg_stat_activity where pid = $1)",
            )
            .bind(pid)
            .fetch_one(till.world.pool())
            .await
            .unwrap();
            gone.then_some(())
        })
        .await;
        let done = if place == "at its commit" { BRANDS as i64 } else { 0 };
        let state =
            "select count(*) * 1000 + (select last from series where prefix = 'INV') from document";
        assert_eq!(till.scalar::<i64>(state).await, done * 1_001, "{place}");
        sqlx::raw_sql("drop trigger zz_gate on document").execute(till.world.pool()).await.unwrap();
        run(till.world.store.clone(), terms()).await;
        run(till.world.store.clone(), terms()).await;
        let march = "select count(*) from standing_invoice where period_start = '2026-03-01'";
        assert_eq!(till.scalar::<i64>(march).await, BRANDS as i64, "{place}");
        assert_numbers(&till).await;
        assert_billed(&till).await;
        assert_chains(&till).await;
    }
}
