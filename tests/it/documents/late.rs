//! What is counted only after its invoice: rejections that are retried, brands that are unparked.

use prooftally::store::cursor;

use super::*;

impl Till {
    /// Starts an engine in the place of the one that runs.
    async fn restart(&self, change: impl FnOnce(&mut prooftally::engine::Config)) {
        let mut engine = self.engine.lock().await;
        if let Some(engine) = engine.take() {
            engine.stop().await;
        }
        *engine = Some(self.world.engine_with(change).await);
    }

    /// A price and a tax that hold from April on.
    fn april_costs_more(&self, brand: &str) {
        let plan = self.file("april.toml", &VOLUME.replace("\"1.00\"", "\"2.00\""));
        done(self.run(&format!("plans apply {plan} --effective-from 2026-04-01")));
        done(self.run(&format!("brands tax set {brand} --from 2026-04-01 --category S --rate 7")));
    }

    fn raw(&self, number: &str) -> Vec<u8> {
        let shown = self.run(&format!("invoices show {number} --raw"));
        assert!(shown.status.success(), "{shown:?}");
        shown.stdout
    }

    fn override_reason(&self, brand: &str, reason: &str) {
        let over = format!("periods override {brand} {MARCH} --because known --reason {reason}");
        done(self.run(&over));
    }
}

/// Two receipts of March are rejected, since they are longer than the limit; their brand's invoices are
/// issued all the same, since somebody answers for that. Later they are counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_is_retried_after_its_invoice_is_charged_at_the_old_price() {
    let till = Till::with(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    till.april_costs_more("acme");
    let bytes_max = receipt("late-00", "acme").len() + 20;
    till.restart(|config| config.sorter.limits.payload_bytes_max = bytes_max).await;
    let long = |id: &str| {
        receipt(&format!("{id}-{}", "0".repeat(50)), "acme").replace("2026-03-01", "2026-03-31")
    };
    till.world.publish_raw("proofs.verified", [long("a"), long("b")]).await;
    till.count("none", &[]).await;
    assert_eq!(cursor::read(till.world.pool()).await.unwrap().totals.rejected, 2);
    // What is not read names no brand, so it keeps nobody's invoice back.
    let march = till.finalize("acme", MARCH, "36.89");
    let frozen = till.raw(&march);

    till.restart(|_| ()).await;
    let retried = till.run("events rejected retry --all");
    assert!(text(&retried.stdout).contains("2 counted"), "{retried:?}");
    till.count("none", &[]).await;
    assert_eq!(cursor::read(till.world.pool()).await.unwrap().totals.counted_later, 2);

    // Two of March at 1.00 and 19 %, one of April at 2.00 and 7 %: 2.38 + 34.24.
    let april = till.finalize("acme", APRIL, "36.62");
    assert_eq!(
        till.lines(&april),
        json!([
            ["2026-03-01", "charge:1", "2", "2.00"],
            ["2026-04-01", "fixed_fee", "1", "30.00"],
            ["2026-04-01", "charge:1", "1", "2.00"],
        ])
    );
    assert_eq!(till.billed().await, [row("2026-03-01", 3, "33.00"), row("2026-04-01", 1, "32.00")]);
    assert_eq!(till.raw(&march), frozen);
    assert!(till.run("invoices verify --all").status.success());
}

/// A rejection that names its brand blocks until somebody answers for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_that_names_its_brand_is_answered_for_and_counted_later() {
    let till = Till::with(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    till.april_costs_more("acme");
    sqlx::raw_sql(
        "alter table ledger add constraint no_evil check (receipt_id not like 'evil-%') not valid",
    )
    .execute(till.world.pool())
    .await
    .unwrap();
    let evil = receipt("evil-1", "acme").replace("2026-03-01", "2026-03-31");
    till.world.publish_raw("proofs.verified", [evil]).await;
    till.count("none", &[]).await;
    refused(
        &till.run("invoices finalize --brand acme --period 2026-03 --total 36.89"),
        5,
        "rejections",
    );
    till.override_reason("acme", "rejections");
    let march = till.finalize("acme", MARCH, "36.89");
    let frozen = till.raw(&march);
    sqlx::raw_sql("alter table ledger drop constraint no_evil")
        .execute(till.world.pool())
        .await
        .unwrap();
    let retried = till.run("events rejected retry --all");
    assert!(text(&retried.stdout).contains("1 counted"), "{retried:?}");
    till.count("none", &[]).await;
    let april = till.finalize("acme", APRIL, "35.43");
    assert_eq!(till.lines(&april)[0], json!(["2026-03-01", "charge:1", "1", "1.00"]));
    assert_eq!(till.raw(&march), frozen);
    assert!(till.run("invoices verify --all").status.success());
}

/// A brand is parked with three receipts, invoiced without them, and unparked. No other test has this brand.
#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_is_unparked_after_its_invoice_is_charged_at_the_old_price() {
    let _alone = crate::faults::ONE_AT_A_TIME.lock().await;
    let scenario = fail::FailScenario::setup();
    let till = Till::with(&[("herring", "2026-03-01"), ("herring", "2026-04-02")]).await;
    till.april_costs_more("herring");
    fail::cfg("meter herring", "panic(poison)").unwrap();
    till.count("p", &[("herring", "2026-03-30"); 3]).await;
    assert_eq!(cursor::read(till.world.pool()).await.unwrap().totals.parked, 3);
    fail::remove("meter herring");
    refused(
        &till.run("invoices finalize --brand herring --period 2026-03 --total 36.89"),
        5,
        "parked",
    );
    till.override_reason("herring", "parked");
    let march = till.finalize("herring", MARCH, "36.89");
    let frozen = till.raw(&march);
    let unparked = till.run("brands unpark herring");
    assert!(unparked.status.success(), "{unparked:?}");
    till.count("none", &[]).await;
    scenario.teardown();

    // Four of March at 1.00, three of them on April's invoice: 3.57 + 34.24.
    let april = till.finalize("herring", APRIL, "37.81");
    assert_eq!(
        till.lines(&april),
        json!([
            ["2026-03-01", "charge:1", "3", "3.00"],
            ["2026-04-01", "fixed_fee", "1", "30.00"],
            ["2026-04-01", "charge:1", "1", "2.00"],
        ])
    );
    assert_eq!(till.billed().await, [row("2026-03-01", 4, "34.00"), row("2026-04-01", 1, "32.00")]);
    assert_eq!(till.raw(&march), frozen);
    assert!(till.run("invoices verify --all").status.success());
}
