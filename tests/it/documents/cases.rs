//! Cases of lateness and correction, each with its numbers.

use super::*;

/// 13 receipts a month at most cost more: a minimum, a maximum, and a price that changes in April.
fn plan(price: &str) -> String {
    format!(
        r#"
name = "bounded"
currency = "EUR"
cadence = "monthly"
minimum = "3.00"
maximum = "5.00"

[[charge]]
name = "Certificates"
predicate = "CERT_VALID@V1"
model = "per_unit"
unit_price = "{price}"
"#
    )
}

impl Till {
    /// A brand with receipts in March by `bounded`, at 1.00 and from April on at 2.00, taxed at 19 % and
    /// from April on at 7 %, until the day.
    async fn bounded(receipts: &[(&str, &str)], until: &str) -> Self {
        let till = Self::with(&[("other", "2026-03-01")]).await;
        till.count("b", receipts).await;
        for (price, from) in [("1.00", "2026-01-01"), ("2.00", "2026-04-01")] {
            let plan = till.file("bounded.toml", &plan(price));
            done(till.run(&format!("plans apply {plan} --effective-from {from}")));
        }
        let profile = till.file("profile.toml", PROFILE);
        done(till.run(&format!("brands profile set acme -f {profile}")));
        for (from, rate) in [("2026-01-01", "19"), ("2026-04-01", "7")] {
            done(
                till.run(&format!("brands tax set acme --from {from} --category S --rate {rate}")),
            );
        }
        till.assign("acme", "bounded", &format!("2026-03-01 --until {until}"));
        till
    }

    async fn billed_of_acme(&self, period: &str) -> (i64, String) {
        sqlx::query_as(
            "select sum(receipts)::bigint, sum(amount)::text from billed join brand using (brand_no) \
             where brand_id = 'acme' and period_start = $1::date",
        )
        .bind(period)
        .fetch_one(self.world.pool())
        .await
        .unwrap()
    }
}

/// Late usage fills the minimum, then hits the maximum, months after price and tax have changed: it is
/// charged at March's price and tax, and March's documents sum to what one would have been.
#[tokio::test(flavor = "multi_thread")]
async fn late_usage_meets_minimum_and_maximum_at_the_old_price_and_tax() {
    let till = Till::bounded(&[("acme", "2026-03-01"), ("acme", "2026-04-01")], "2026-06-01").await;
    let march = till.finalize("acme", MARCH, "3.57");
    assert_eq!(
        till.lines(&march),
        json!([["2026-03-01", "charge:1", "1", "1.00"], ["2026-03-01", "minimum", "1", "2.00"]])
    );
    // One more: still the minimum, so the amounts cancel out.
    till.count("l1", &[("acme", "2026-03-31")]).await;
    let april = till.finalize("acme", APRIL, "3.21");
    assert_eq!(
        till.lines(&april),
        json!([
            ["2026-03-01", "charge:1", "1", "1.00"],
            ["2026-03-01", "minimum", "0", "-1.00"],
            ["2026-04-01", "charge:1", "1", "2.00"],
            ["2026-04-01", "minimum", "1", "1.00"],
        ])
    );
    // Five more reach the maximum of 5.00. May has no usage: 3.00 at 7 %, and 2.00 of March at 19 %.
    till.count("l2", &[("acme", "2026-03-30"); 5]).await;
    let may = till.finalize("acme", "--period 2026-05", "5.59");
    assert_eq!(
        till.lines(&may),
        json!([
            ["2026-03-01", "charge:1", "5", "5.00"],
            ["2026-03-01", "minimum", "-1", "-1.00"],
            ["2026-03-01", "maximum", "1", "-2.00"],
            ["2026-05-01", "minimum", "1", "3.00"],
        ])
    );
    assert_eq!(till.billed_of_acme("2026-03-01").await, (7, "5.00".to_owned()));
    let groups = &till.json(&format!("invoices show {may}"))["document"]["tax_groups"];
    let groups: Value = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| json!([group["rate_percent"], group["taxable"], group["tax"]]))
        .collect();
    assert_eq!(groups, json!([["7", "3.00", "0.21"], ["19", "2.00", "0.38"]]));

    // More of March, beyond the maximum, and the brand has left: 0.00, without a number.
    till.count("l3", &[("acme", "2026-03-29")]).await;
    assert_eq!(till.finalize("acme", "--adjustment", "0.00"), "");
    assert_eq!(till.billed_of_acme("2026-03-01").await, (8, "5.00".to_owned()));
    let due = till.json("periods list --brand acme");
    let open: Vec<&Value> =
        due.as_array().unwrap().iter().filter(|row| row["state"] != "invoiced").collect();
    assert!(open.is_empty(), "{open:?}");
    let listed = till.json("invoices list --brand acme");
    assert_eq!((&listed[0]["kind"], &listed[0]["payment"]), (&"adjustment".into(), &"paid".into()));
}

/// An assignment that is back-dated over four months: each month has its own invoice, oldest first.
#[tokio::test(flavor = "multi_thread")]
async fn a_back_dated_assignment_makes_an_invoice_a_month() {
    let days = ["2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"];
    let receipts: Vec<(&str, &str)> = days.iter().map(|day| ("acme", *day)).collect();
    let till = Till::bounded(&receipts, "2026-07-01").await;
    done(till.run("holds set other --because only-acme"));
    let run = till.run("invoices finalize --all --output json");
    refused(&run, 5, "4 issued, 2 refused");
    let issued: Value = serde_json::from_slice(&run.stdout).unwrap();
    let totals: Vec<&Value> = issued.as_array().unwrap().iter().map(|row| &row["total"]).collect();
    // At 1.00 in March and 2.00 later, and the minimum of 3.00; 19 % and then 7 %.
    assert_eq!(totals, ["3.57", "3.21", "3.21", "3.21"]);
    let dates = till.json("invoices list --brand acme");
    let periods: Vec<&Value> = dates.as_array().unwrap().iter().map(|row| &row["period"]).collect();
    assert_eq!(periods, ["2026-06-01", "2026-05-01", "2026-04-01", "2026-03-01"]);
}

/// The engine keeps drafts, and issues them if it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_drafts_and_issues_them_if_told_to() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    till.count("more", &[("acme", "2026-04-01")]).await;
    let engine = |finalizes: bool| {
        let terms = super::numbers::terms();
        till.world.engine_with(move |engine| {
            engine.billing.terms = terms;
            engine.billing.finalizes = finalizes;
            engine.billing.every = std::time::Duration::from_millis(100);
        })
    };
    till.engine.lock().await.take().unwrap().stop().await;
    let by_hand = engine(false).await;
    wait_for("the drafts are there", async || {
        let drafts = till.json("invoices list --state draft");
        let totals: Vec<Value> =
            drafts.as_array()?.iter().map(|row| row["total"].clone()).collect();
        (totals == ["36.89", "36.89"]).then_some(())
    })
    .await;
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 0);
    by_hand.stop().await;
    let automatic = engine(true).await;
    wait_for("both invoices are issued", async || {
        (till.scalar::<i64>("select count(*) from standing_invoice").await == 2).then_some(())
    })
    .await;
    wait_for("the drafts are gone", async || {
        (till.scalar::<i64>("select count(*) from draft").await == 0).then_some(())
    })
    .await;
    automatic.stop().await;
}
