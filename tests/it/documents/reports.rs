//! Reports over documents and usage, against numbers that were computed by hand.

use chrono::{Days, NaiveDate, Utc};
use prooftally::store::reports;
use serde_json::{Value, json};

use super::{APRIL, MARCH, PROFILE, Till, done, text};

/// 4 receipts of acme in March and 3 in April, 5 of zeta in March. A month is 30.00 and 1.00 a receipt, or
/// 0.50 each from the fifth on.
async fn till() -> Till {
    let march = [("acme", "2026-03-01"); 4];
    let april = [("acme", "2026-04-02"), ("acme", "2026-04-20"), ("acme", "2026-04-20")];
    let zeta = [("zeta", "2026-03-31"); 4];
    Till::with(&[march.as_slice(), &april, &[("zeta", "2026-03-01")], &zeta].concat()).await
}

fn row(brand: &str, ended: &str, late: &str, running: &str, total: &str) -> Value {
    json!({"brand": brand, "currency": "EUR", "ended": ended, "late": late, "running": running,
        "total": total, "unpriced_receipts": "0"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unbilled_revenue_is_what_was_counted_by_a_day_less_what_was_charged_by_it() {
    let till = till().await;
    let books = till.client("finance").await;
    let unbilled = async |query: &str| {
        let answer = books.get(&format!("/v1/reports/unbilled{query}")).await.ok();
        let total = answer["totals"][0]["total"].as_str().unwrap_or("none").to_owned();
        (answer["data"].clone(), total)
    };
    // 10 of 31 days of 30.00 are 9.68.
    let (rows, total) = unbilled("?as_of=2026-03-10").await;
    assert_eq!(
        rows,
        json!([
            row("acme", "0.00", "0.00", "13.68", "13.68"),
            row("zeta", "0.00", "0.00", "10.68", "10.68"),
        ])
    );
    assert_eq!(total, "24.36");
    let (rows, total) = unbilled("?as_of=2026-03-31").await;
    assert_eq!(rows[0], row("acme", "34.00", "0.00", "0.00", "34.00"));
    assert_eq!(rows[1], row("zeta", "32.50", "0.00", "0.00", "32.50"));
    assert_eq!(total, "66.50");
    // Half of April, with one of its three receipts.
    let (rows, total) = unbilled("?as_of=2026-04-15").await;
    assert_eq!(rows[0], row("acme", "34.00", "0.00", "16.00", "50.00"));
    assert_eq!(rows[1], row("zeta", "32.50", "0.00", "15.00", "47.50"));
    assert_eq!(total, "97.50");
    assert_eq!(unbilled("?as_of=2026-02-28").await, (json!([]), "none".to_owned()));

    let number = till.finalize("acme", MARCH, "40.46");
    assert_eq!(
        unbilled("?brand=acme").await.0,
        json!([row("acme", "33.00", "0.00", "0.00", "33.00")])
    );
    // The fifth receipt comes late and makes all five cheaper: 32.50 less 34.00.
    till.count("late", &[("acme", "2026-03-05")]).await;
    let late = row("acme", "33.00", "-1.50", "0.00", "31.50");
    let (rows, total) = unbilled("").await;
    assert_eq!(rows, json!([late, row("zeta", "62.50", "0.00", "0.00", "62.50")]));
    assert_eq!(total, "94.00");
    // What is unbilled is what the documents then charge.
    let periods = till.json("periods list --brand acme");
    assert!(periods.as_array().unwrap().iter().any(|one| one["net"] == "31.50"), "{periods}");
    // The invoice was issued after these days.
    assert_eq!(unbilled("?as_of=2026-03-31&brand=acme").await.1, "32.50");

    done(till.run(&format!("invoices cancel {number} --because wrong")));
    let (rows, _) = unbilled("?brand=acme").await;
    assert_eq!(rows, json!([row("acme", "65.50", "0.00", "0.00", "65.50")]));

    for (query, kind) in [
        ("?as_of=2999-01-01", "invalid-query"),
        ("?brand=none", "not-found"),
        ("?as_of=x", "invalid-query"),
    ] {
        let answer = books.get(&format!("/v1/reports/unbilled{query}")).await;
        assert_eq!(answer.problem(), kind, "{query}");
    }
    assert_eq!(
        till.client("operator").await.get("/v1/reports/unbilled").await.problem(),
        "forbidden"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_no_charge_takes_is_told_beside_the_amounts() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let other = crate::metering::receipt("other", "acme").replace("CERT_VALID", "MOON_VALID");
    till.world.publish_raw("proofs.verified", [other]).await;
    till.count("none", &[]).await;
    let books = till.client("finance").await;
    let answer = books.get("/v1/reports/unbilled?as_of=2026-03-31").await.ok();
    assert_eq!(answer["data"][0]["ended"], "31.00");
    assert_eq!(answer["data"][0]["unpriced_receipts"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_has_every_document_in_json_and_csv() {
    let till = till().await;
    let first = till.finalize("acme", MARCH, "40.46");
    let second = till.finalize("zeta", MARCH, "38.68");
    done(till.run(&format!("invoices void {second} --because wrong")));
    done(till.run(&format!("invoices sent {first}")));
    done(till.run(&format!("invoices cancel {first} --because wrong")));
    let books = till.client("finance_read").await;
    let register = books.get("/v1/reports/invoice_register").await.ok();
    let rows: Vec<Value> = register["data"].as_array().unwrap().clone();
    let short = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ["kind", "state", "brand", "net_total", "tax_total", "total"].map(text)
    };
    let shown: Vec<_> = rows.iter().map(short).collect();
    assert_eq!(
        shown,
        [
            ["invoice", "cancelled", "acme", "34.00", "6.46", "40.46"],
            // 32.50 x 19 % = 6.175.
            ["invoice", "voided", "zeta", "32.50", "6.18", "38.68"],
            ["credit_note", "finalized", "acme", "-34.00", "-6.46", "-40.46"],
        ]
    );
    assert_eq!(
        (&rows[0]["legal_name"], &rows[0]["vat_id"]),
        (&json!("Acme GmbH"), &json!("DE987654321"))
    );
    assert_eq!(
        (&rows[0]["number"], &rows[0]["period_start"]),
        (&json!(first), &json!("2026-03-01"))
    );
    assert_eq!(rows[2]["due_date"], Value::Null);

    let csv = books.get("/v1/reports/invoice_register?format=csv").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let csv = csv.text();
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 4, "{csv}");
    let names: Vec<&str> = lines[0].split(',').collect();
    for (line, row) in lines[1..].iter().zip(&rows) {
        for (name, value) in names.iter().zip(line.split(',')) {
            let shown = match &row[name] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(value, shown, "{name}");
        }
    }
    let mut fields: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut sorted = names.clone();
    fields.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(fields, sorted);
    let today = rows[0]["issue_date"].as_str().unwrap();
    let before = books.get(&format!("/v1/reports/invoice_register?until={today}")).await.ok();
    assert_eq!(before["data"], json!([]));
    let problem = books.get("/v1/reports/invoice_register?format=xml").await.problem();
    assert_eq!(problem, "invalid-query");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_amounts_grow_old_and_are_paid() {
    let till = till().await;
    // acme pays in 14 days, zeta in 60.
    let slow = till.file("slow.toml", &PROFILE.replace("terms_days = 14", "terms_days = 60"));
    done(till.run(&format!("brands profile set zeta -f {slow}")));
    let books = till.client("finance").await;
    assert_eq!(books.get("/v1/reports/ageing").await.ok()["data"], json!([]));
    let march = till.finalize("acme", MARCH, "40.46");
    let zeta = till.finalize("zeta", MARCH, "38.68");
    let april = till.finalize("acme", APRIL, "39.27");
    let ageing = books.get("/v1/reports/ageing").await.ok();
    let row = |current: &str, documents: u32, owed: &str| {
        json!([{"currency": "EUR", "current": current, "days_1_30": "0.00", "days_31_60": "0.00",
            "days_61_90": "0.00", "days_over_90": "0.00", "total": current, "documents": documents,
            "owed_to_buyers": owed}])
    };
    // 40.46 + 38.68 + 39.27
    assert_eq!(ageing["data"], row("118.41", 3, "0.00"));

    let issued: NaiveDate = till.scalar("select max(issue_date) from document").await;
    let bands = async |days: u64| {
        let day = issued.checked_add_days(Days::new(days)).unwrap();
        let rows = reports::ageing(till.world.pool(), day, None).await.unwrap();
        let row = &rows[0];
        [row.current, row.days_1_30, row.days_31_60, row.days_61_90, row.days_over_90]
            .map(|amount| amount.to_string().trim_end_matches(".00").to_owned())
    };
    assert_eq!(bands(14).await, ["118.41", "0", "0", "0", "0"]);
    assert_eq!(bands(15).await, ["38.68", "79.73", "0", "0", "0"]);
    assert_eq!(bands(44).await, ["38.68", "79.73", "0", "0", "0"]);
    assert_eq!(bands(45).await, ["38.68", "0", "79.73", "0", "0"]);
    assert_eq!(bands(75).await, ["0", "38.68", "0", "79.73", "0"]);
    assert_eq!(bands(104).await, ["0", "0", "38.68", "79.73", "0"]);
    assert_eq!(bands(105).await, ["0", "0", "38.68", "0", "79.73"]);

    let today = Utc::now().date_naive();
    done(till.run(&format!("invoices pay {march} --amount 10.46 --on {today} --reference a")));
    // 10.00 of the fixed fee, with 1.90 of tax.
    done(till.run(&format!("credit-notes create {april} --line 1=10.00 --because delay")));
    let too_much = "--amount 40.00 --reference b --overpaid";
    done(till.run(&format!("invoices pay {zeta} {too_much} --on {today}")));
    // 30.00 + 27.37, and zeta has paid 1.32 too much.
    let ageing = books.get("/v1/reports/ageing").await.ok();
    assert_eq!(ageing["data"], row("57.37", 2, "1.32"));
    let own = books.get("/v1/reports/ageing?brand=zeta").await.ok();
    assert_eq!(own["data"], row("0.00", 0, "1.32"));
    done(till.run(&format!("invoices write-off {march} --because bankrupt")));
    assert_eq!(books.get("/v1/reports/ageing").await.ok()["data"], row("27.37", 1, "1.32"));
    let yesterday = issued.pred_opt().unwrap();
    let before = books.get(&format!("/v1/reports/ageing?as_of={yesterday}")).await.ok();
    assert_eq!(before["data"], json!([]));
    let operator = till.client("operator").await.get("/v1/reports/ageing").await;
    assert_eq!(operator.problem(), "forbidden", "{}", text(&operator.body));
}
