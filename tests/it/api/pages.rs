//! Lists that are computed: their pages together are the whole list, and one page's work is that of its rows.

use serde_json::Value;

use super::client::Client;
use super::money::till;
use crate::documents::{APRIL, MARCH, VOLUME, done};

/// The rows of a list, page by page.
async fn walk(client: &Client, target: &str, limit: usize) -> Vec<Value> {
    let and = if target.contains('?') { '&' } else { '?' };
    let first = format!("{target}{and}limit={limit}");
    let (mut rows, mut next) = (Vec::new(), first.clone());
    loop {
        let page = client.get(&next).await.ok();
        let data = page["data"].as_array().unwrap();
        rows.extend(data.iter().cloned());
        let Some(after) = page["next"].as_str() else {
            assert_eq!(page["has_more"], false, "{next}");
            return rows;
        };
        assert_eq!((data.len(), page["has_more"].as_bool()), (limit, Some(true)), "{next}");
        next = format!("{first}&starting_after={after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_periods_are_the_list_and_look_at_no_further_brand() {
    let brands = ["a-1", "aB", "a_c", "ab", "b", "c", "z"];
    let march = brands.map(|brand| (brand, "2026-03-01"));
    let till = till(&[march.as_slice(), &[("c", "2026-04-02")]].concat()).await;
    for (brand, period, total) in [
        ("aB", MARCH, "36.89"),
        ("ab", MARCH, "36.89"),
        ("b", MARCH, "36.89"),
        ("b", APRIL, "35.70"),
    ] {
        till.finalize(brand, period, total);
    }
    // Late usage of what is invoiced is an adjustment, after the periods of its brand.
    till.count("late", &[("b", "2026-03-02")]).await;
    done(till.run("holds set a_c --because question"));
    let finance = till.client("finance").await;
    let key = |row: &Value| {
        (row["brand"].as_str().unwrap().to_owned(), row["period"].as_str().unwrap().to_owned())
    };
    for filter in [
        "",
        "?state=ready",
        "?state=blocked",
        "?state=invoiced",
        "?day=2026-04-15",
        "?reason=hold",
        "?brand=b",
        "?state=ready&day=2026-03-05",
    ] {
        let target = format!("/v1/periods{filter}");
        let whole = walk(&finance, &target, 200).await;
        assert!(!whole.is_empty(), "{target}");
        assert!(whole.is_sorted_by(|one, next| key(one) < key(next)), "{target}: {whole:?}");
        for limit in [1, 2, 3, 5] {
            assert_eq!(walk(&finance, &target, limit).await, whole, "{target} by {limit}");
        }
    }
    let whole = walk(&finance, "/v1/periods", 200).await;
    let of = |state: &str| whole.iter().filter(|row| row["state"] == state).count();
    assert_eq!((whole.len(), of("invoiced")), (15, 4), "{whole:?}");

    // What is wrong with a brand that is not on the page is not read for it.
    let broken = "update brand_profile set fields = '{\"no_field\": \"x\"}' \
                  where brand_no = (select brand_no from brand where brand_id = 'z')";
    till.by_force(broken).await;
    assert_eq!(finance.get("/v1/periods?limit=200").await.problem(), "internal");
    let page = finance.get("/v1/periods?limit=4").await.ok();
    assert_eq!(page["data"].as_array().unwrap().as_slice(), &whole[..4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_plans_are_the_list_in_the_order_of_their_bytes() {
    let till = till(&[("acme", "2026-03-01")]).await;
    for name in ["a-1", "aB", "a_c", "ab"] {
        let plan = VOLUME.replace("name = \"volume\"", &format!("name = \"{name}\""));
        let file = till.file(&format!("{name}.toml"), &plan);
        done(till.run(&format!("plans apply {file} --effective-from 2026-01-01")));
        let next = till.file(&format!("{name}.toml"), &plan.replace("30.00", "31.00"));
        done(till.run(&format!("plans apply {next} --effective-from 2028-01-01")));
    }
    done(till.run("plans withdraw ab --version 2 --because test"));
    done(till.run("plans withdraw ab --version 1 --because test"));
    let finance = till.client("finance").await;
    let whole = walk(&finance, "/v1/plans", 200).await;
    let row = |row: &Value| {
        (row["plan"].as_str().unwrap().to_owned(), row["in_force"].as_i64(), row["newest"].as_i64())
    };
    let rows: Vec<_> = whole.iter().map(row).collect();
    let named = |name: &str, in_force, newest| (name.to_owned(), in_force, newest);
    assert_eq!(
        rows,
        [
            named("a-1", Some(1), Some(2)),
            named("aB", Some(1), Some(2)),
            named("a_c", Some(1), Some(2)),
            named("ab", None, None),
            named("volume", Some(1), Some(1)),
        ]
    );
    for limit in [1, 2, 3, 5] {
        assert_eq!(walk(&finance, "/v1/plans", limit).await, whole, "by {limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_gaps_events_and_unpriced_usage_are_the_list() {
    let march = ["a-1", "aB", "ab", "b"].map(|brand| (brand, "2026-03-01"));
    let till = till(&march).await;
    let finance = till.client("finance").await;
    let gaps = "insert into gap (epoch, first, last, reason, detail, accepted_at, accepted_by, acceptance) \
        select 1, n, n, 'missing', 'test', now(), 'test', 'test' from generate_series(1000001, 1000007) n";
    till.by_force(gaps).await;
    till.finalize("b", MARCH, "36.89");
    let at = "/v1/invoices/INV-2026-000001";
    let sent = serde_json::json!({"note": "by mail"});
    finance.post(&format!("{at}/sent"), sent).await.ok();
    for no in 1..=5 {
        let (paid_on, reference) = (chrono::Utc::now().date_naive(), format!("B{no}"));
        let paid = serde_json::json!(
            {"amount": "1.00", "paid_on": paid_on.to_string(), "reference": reference});
        finance.post(&format!("{at}/payments"), paid).await.is(201);
    }
    // A plan that takes nothing of what was counted.
    let other = VOLUME.replace("name = \"volume\"", "name = \"other\"");
    let other = other.replace("CERT_VALID@V1", "OTHER@V1").replace("*@*", "OTHER@V1");
    let file = till.file("other.toml", &other);
    done(till.run(&format!("plans apply {file} --effective-from 2026-01-01")));
    for (target, count) in [
        ("/v1/gaps", 7),
        ("/v1/gaps?open=false", 7),
        (&*format!("{at}/events"), 6),
        ("/v1/unpriced?plan=other", 4),
    ] {
        let whole = walk(&finance, target, 200).await;
        assert_eq!(whole.len(), count, "{target}: {whole:?}");
        for limit in [1, 2, 3, 6] {
            assert_eq!(walk(&finance, target, limit).await, whole, "{target} by {limit}");
        }
        let and = if target.contains('?') { '&' } else { '?' };
        let wrong = finance.get(&format!("{target}{and}starting_after=x")).await;
        assert_eq!(wrong.problem(), "invalid-query", "{target}");
    }
}
