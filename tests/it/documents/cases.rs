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
    let run = till.run("invoices finalize --all --unapproved --output json");
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
    let metrics = crate::harness::world::metrics(&by_hand).await;
    for state in ["prooftally_documents_due{state=\"ready\"} 1\n", "{state=\"blocked\"} 1\n"] {
        assert!(metrics.contains(state), "{metrics}");
    }
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

/// Receipts that are late by 1, 2 and 13 months, across a change of price and one of tax, on one document.
#[tokio::test(flavor = "multi_thread")]
async fn age_does_not_matter() {
    let till = Till::with(&[("other", "2026-03-01")]).await;
    done(till.run("holds set other --because only-acme"));
    till.count("b", &[("acme", "2025-03-01")]).await;
    for (price, from) in [("1.00", "2025-01-01"), ("2.00", "2026-04-01")] {
        let plan = till.file("bounded.toml", &plan(price));
        done(till.run(&format!("plans apply {plan} --effective-from {from}")));
    }
    let profile = till.file("profile.toml", PROFILE);
    done(till.run(&format!("brands profile set acme -f {profile}")));
    for (from, rate) in [("2025-01-01", "19"), ("2026-04-01", "7")] {
        done(till.run(&format!("brands tax set acme --from {from} --category S --rate {rate}")));
    }
    till.assign("acme", "bounded", "2025-03-01 --until 2026-06-01");
    for month in ["2025-03", "2025-04", "2025-05", "2025-06", "2025-07", "2025-08"] {
        done(till.run(&format!("invoices finalize --all --unapproved --period {month}")));
    }
    for month in ["2025-09", "2025-10", "2025-11", "2025-12", "2026-01", "2026-02"] {
        done(till.run(&format!("invoices finalize --all --unapproved --period {month}")));
    }
    for month in ["--period 2026-03", "--period 2026-04"] {
        till.finalize("acme", month, if month.ends_with('3') { "3.57" } else { "3.21" });
    }
    let late = ["2025-03-01", "2026-03-01", "2026-04-01"];
    let late: Vec<(&str, &str)> = late.iter().flat_map(|day| [("acme", *day); 4]).collect();
    till.count("late", &late).await;
    // March 2025 has 5 at 1.00 instead of the minimum; March 2026 4 at 1.00; April 4 at 2.00, at most 5.00.
    let may = till.finalize("acme", "--period 2026-05", "8.92");
    assert_eq!(
        till.lines(&may),
        json!([
            ["2025-03-01", "charge:1", "4", "4.00"],
            ["2025-03-01", "minimum", "-1", "-2.00"],
            ["2026-03-01", "charge:1", "4", "4.00"],
            ["2026-03-01", "minimum", "-1", "-3.00"],
            ["2026-04-01", "charge:1", "4", "8.00"],
            ["2026-04-01", "minimum", "-1", "-3.00"],
            ["2026-04-01", "maximum", "1", "-3.00"],
            ["2026-05-01", "minimum", "1", "3.00"],
        ])
    );
    for (period, receipts, amount) in
        [("2025-03-01", 5, "5.00"), ("2026-03-01", 4, "4.00"), ("2026-04-01", 4, "5.00")]
    {
        assert_eq!(till.billed_of_acme(period).await, (receipts, amount.to_owned()), "{period}");
    }
}

/// Each fact that speaks against an invoice is a reason of its own, and none of them is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn each_reason_blocks_until_it_is_gone() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let reasons = || till.json("periods list --brand acme --period 2026-03")[0]["reasons"].clone();
    assert_eq!(reasons(), "");
    let cases = [
        (
            "gap",
            "insert into gap (epoch, first, last, reason, detail) values (1, 900, 901, 'missing', 'x')",
            "update gap set accepted_at = now(), accepted_by = 'x', acceptance = 'x'",
        ),
        (
            "stream_unconfirmed",
            "insert into gap (epoch, first, reason, detail) values (1, 950, 'stream_changed', 'x')",
            "update gap set accepted_at = now(), accepted_by = 'x', acceptance = 'x'",
        ),
        (
            "rejections",
            "insert into rejection (epoch, sequence, stored_at, subject, reason, detail, brand_id, raw) \
             values (1, 900, now(), 's', 'x', 'x', 'acme', '')",
            "delete from rejection",
        ),
        (
            "parked",
            "insert into parked_event (epoch, sequence, brand_no, stored_at, raw) \
             select 1, 900, brand_no, now(), '' from brand",
            "delete from parked_event",
        ),
        (
            "uniqueness_failed",
            "insert into segment (segment, problem) values (0, 'x')",
            "delete from segment",
        ),
        (
            "audit_red",
            "insert into audit_run (began_at, run_by, entry, sequence, with_stream, violations, notes, \
                findings) values (now(), 'x', 0, 0, false, 1, 0, '[]')",
            "delete from audit_run",
        ),
        (
            "not_passed",
            "update caught_up set at = '2026-04-03 23:59:59Z'",
            "update caught_up set at = '2026-04-04 00:00:00Z'",
        ),
    ];
    // The engine would say when it had everything.
    till.engine.lock().await.take().unwrap().stop().await;
    for (reason, make, mend) in cases {
        sqlx::raw_sql(make).execute(till.world.pool()).await.unwrap();
        assert_eq!(reasons(), reason);
        let said = till.run("invoices finalize --brand acme --period 2026-03 --total 36.89");
        refused(&said, 5, reason);
        sqlx::raw_sql(mend).execute(till.world.pool()).await.unwrap();
        assert_eq!(reasons(), "", "{reason} is mended");
    }
    // Parties and tax: without them there is no document at all.
    done(till.run("brands profile set acme terms_days="));
    assert_eq!(reasons(), "buyer_incomplete");
    done(till.run("brands profile set acme terms_days=30"));
    let bare = till.world.prooftally(&["periods", "list", "--brand", "acme", "--output", "json"]);
    let bare: Value = serde_json::from_slice(&bare.stdout).unwrap();
    assert_eq!(
        (&bare[0]["reasons"], &bare[0]["total"]),
        (&"issuer_incomplete".into(), &Value::Null)
    );
    till.finalize("acme", MARCH, "36.89");
}

/// A favour changes nothing that late usage is compared with, and receipts are voided before and after an
/// adjustment: each document says only what is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_favour_before_late_usage_and_voids_around_adjustments() {
    let march = [("acme", "2026-03-01"); 4];
    let april = [("acme", "2026-04-02"); 3];
    let till = Till::with(&[march.as_slice(), &april].concat()).await;
    let first = till.finalize("acme", MARCH, "40.46");
    done(till.run(&format!("credit-notes create {first} --line 1=10.00 --because delay")));
    till.count("late", &[("acme", "2026-03-30"); 2]).await;
    let second = till.finalize("acme", APRIL, "38.08");
    assert_eq!(till.lines(&second)[0], json!(["2026-03-01", "charge:1", "2", "-1.00"]));
    assert_eq!(till.billed().await[0], row("2026-03-01", 6, "33.00"));

    // Five at 0.50: half a euro is given back, by a credit note of its own.
    done(till.run("receipts void acme r-0 --because test"));
    let note = till.finalize("acme", "--adjustment", "0.60");
    assert_eq!(note, "CN-2026-000002");
    assert_eq!(till.lines(&note), json!([["2026-03-01", "charge:1", "1", "0.50"]]));
    // One more comes late: six again.
    till.count("later", &[("acme", "2026-03-29")]).await;
    let third = till.finalize("acme", "--adjustment", "0.60");
    assert_eq!(till.lines(&third), json!([["2026-03-01", "charge:1", "1", "0.50"]]));
    // Two are voided after that, so the four that are left cost 1.00 each.
    done(till.run("receipts void acme r-1 late-0 --because test"));
    let fourth = till.finalize("acme", "--adjustment", "1.19");
    assert_eq!(till.lines(&fourth), json!([["2026-03-01", "charge:1", "-2", "1.00"]]));
    assert_eq!(till.billed().await[0], row("2026-03-01", 4, "34.00"));
    // The favour is on the first invoice's balance, and nowhere else.
    let shown = till.json("invoices list --brand acme");
    let of_first = shown.as_array().unwrap().iter().find(|row| row["number"] == first.as_str());
    assert_eq!(of_first.unwrap()["due"], "28.56");
    assert!(till.run("invoices verify --all").status.success());
}
