//! A run over all brands: what was approved is what is issued, brands without a plan are told, and nothing
//! is issued while it is not proved that no receipt is counted twice.

use super::*;

/// What `--dry-run` says of the run: its etag.
fn etag_of(run: &Output) -> String {
    let said = text(&run.stderr);
    let (_, etag) = said.trim_end().rsplit_once("etag ").unwrap_or_else(|| panic!("{said}"));
    etag.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_of_a_run_is_what_is_issued() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    let all = "invoices finalize --all --period 2026-03";
    refused(&till.run(all), 5, "say what was approved");
    let seen = till.run(&format!("{all} --dry-run"));
    assert!(text(&seen.stderr).contains("due: 2 documents of 73.78 EUR, etag "), "{seen:?}");
    let etag = etag_of(&seen);
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 0);
    for wrong in ["--count 3", "--total 73.79", "--count 2 --total 36.89"] {
        refused(
            &till.run(&format!("{all} {wrong}")),
            5,
            "what was approved has changed: due are now 2",
        );
    }
    // One draft changes, and the run is another one; the total that was seen is too.
    till.count("late", &[("bolt", "2026-03-30")]).await;
    for old in [format!("--etag {etag}"), "--count 2 --total 73.78".to_owned()] {
        let says = "what was approved has changed: due are now 2 documents of 74.97 EUR";
        refused(&till.run(&format!("{all} {old}")), 5, says);
    }
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 0);
    let etag = etag_of(&till.run(&format!("{all} --dry-run")));
    let run = till.run(&format!("{all} --etag {etag} --count 2 --total 74.97"));
    assert!(done(run).contains("2 issued, 0 refused"));
    // What was approved is what is issued, and nothing that is due afterwards.
    let rest = till.run("invoices finalize --all --count 2 --total 71.40");
    assert!(done(rest).contains("2 issued, 0 refused"));
    assert_eq!(till.scalar::<i64>("select count(*) from standing_invoice").await, 4);
}

/// Usage of a brand without a plan, and of one after it has left, is told and blocks nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn brands_without_a_plan_are_told() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    till.count("n", &[("nobody", "2026-03-05"), ("nobody", "2026-03-07"), ("acme", "2026-05-03")])
        .await;
    let listed = till.json("periods list");
    let rows: Value = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            json!([row["brand"], row["first_day"], row["end"], row["state"], row["reasons"]])
        })
        .collect();
    assert_eq!(
        rows,
        json!([
            ["acme", "2026-03-01", "2026-04-01", "ready", ""],
            ["acme", "2026-04-01", "2026-05-01", "blocked", "earlier_period"],
            ["acme", "2026-05-03", "2026-05-04", "blocked", "unassigned no_plan"],
            ["nobody", "2026-03-05", "2026-03-08", "blocked", "unassigned no_plan"],
        ])
    );
    let shown = till.json("periods show nobody --period 2026-03-06");
    assert_eq!(shown[1]["reason"], "no_plan");
    assert_eq!(shown[1]["can_be_overridden"], false);
    let run = till.run("invoices finalize --all --unapproved");
    refused(&run, 5, "2 issued, 2 refused");
    let said = text(&run.stderr);
    assert!(
        said.contains("nobody: the period is not complete: unassigned: nobody has 2"),
        "{said}"
    );
    done(till.run(
        "assignments waive --brand nobody --from 2026-03-05 --until 2026-03-08 --because trial",
    ));
    let told = till.json("periods list --brand nobody");
    assert!(told.as_array().unwrap().is_empty(), "{told}");
}

/// A receipt that is in a sealed segment is counted again in the open one: no run lets that pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_counted_twice_across_segments_stops_a_run() {
    let till = Till::sealed().await;
    let approved = "invoices finalize --brand acme --period 2026-03 --total 50.58";
    let reasons = || till.json("periods list --brand acme --period 2026-03")[0]["reasons"].clone();
    assert_eq!(reasons(), "");
    till.engine.lock().await.take().unwrap().stop().await;
    // The last row takes the receipt of the fifth, which is sealed, and is put back afterwards.
    let planted = "create table saved as select * from ledger where entry = 25; \
        update ledger l set receipt_key = s.receipt_key, receipt_id = s.receipt_id \
            from ledger s where s.entry = 5 and l.entry = 25";
    till.tamper(planted).await;
    refused(&till.run(approved), 5, "uniqueness_failed: 1 receipts were counted twice");
    till.tamper("delete from ledger where entry = 25; insert into ledger select * from saved")
        .await;

    // The proof of a sealed segment is gone: nothing says that there is no double in it.
    sqlx::raw_sql("drop index ledger_000001_receipt").execute(till.world.pool()).await.unwrap();
    assert_eq!(reasons(), "uniqueness_unproved");
    refused(&till.run(approved), 5, "uniqueness_unproved");
    // A damaged filter lets nothing be looked for in its segment.
    sqlx::raw_sql(
        "create unique index ledger_000001_receipt on ledger_000001 (brand_no, receipt_key) \
         where source < 3",
    )
    .execute(till.world.pool())
    .await
    .unwrap();
    till.tamper(
        "update segment set filter = set_byte(filter, 9, 255 - get_byte(filter, 9)) \
        where segment = 0",
    )
    .await;
    refused(&till.run(approved), 5, "uniqueness_unproved");
    done(till.run(
        "periods override acme --period 2026-03 --because audited --reason uniqueness_unproved",
    ));
    let number = till.finalize("acme", MARCH, "50.58");
    let over = &till.json(&format!("invoices show {number}"))["document"]["overrides"][0];
    assert_eq!(
        (&over["reason"], &over["because"]),
        (&"uniqueness_unproved".into(), &"audited".into())
    );
}

impl Till {
    /// 25 receipts of March in segments of ten entries, two of them sealed.
    async fn sealed() -> Self {
        let till = Self::with_engine(&[("acme", "2026-03-01"); 15], |config| {
            config.segment_entries = 10;
        })
        .await;
        till.count("s", &[("acme", "2026-03-02"); 10]).await;
        wait_for("two segments are sealed", async || {
            let sealed = "select count(*) from segment where sealed_at is not null";
            (till.scalar::<i64>(sealed).await == 2).then_some(())
        })
        .await;
        till
    }

    /// Runs statements as somebody whom no rule stops.
    async fn tamper(&self, statements: &'static str) {
        let mut connection = self.world.store.connect().await.unwrap();
        sqlx::raw_sql("set session_replication_role = replica")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    }
}
