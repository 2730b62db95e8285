//! Lists and what they are narrowed to: over all brands in pages, by what is owed, and in which form.

use serde_json::{Value, json};

use super::Desk;
use super::client::Client;
use super::money::till;
use crate::documents::{APRIL, MARCH, PROFILE, done};

/// What each row of all pages of a list has in a field, and the brand's name before it.
async fn paged(client: &Client, target: &str, field: &str) -> Vec<String> {
    let mut next = format!("{target}limit=1");
    let mut found = Vec::new();
    loop {
        let answer = client.get(&next).await;
        let page = answer.ok();
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= 1, "{page}");
        found.extend(
            rows.iter().map(|row| format!("{} {}", row["brand"], row[field]).replace('"', "")),
        );
        let link = answer.headers.get("link");
        assert_eq!(link.is_some(), page["has_more"] == true, "{page}");
        let Some(link) = link else { return found };
        link.split(['<', '>']).nth(1).unwrap().clone_into(&mut next);
        assert!(found.len() < 20, "the pages never end: {found:?}");
    }
}

const PLAN: &str = "name = \"certificates\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n\n[[charge]]\n\
    name = \"Certificates\"\npredicate = \"CERT_VALID@V1\"\nmodel = \"per_unit\"\nunit_price = \"1.00\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assignments_waivers_and_coverage_are_listed_over_all_brands_in_pages() {
    let desk = Desk::new().await;
    // By the bytes of the ids `B` comes before `a`.
    desk.count(&[("r1", "a", "2026-01-10"), ("r2", "B", "2026-01-10"), ("r3", "c", "2026-03-02")])
        .await;
    let finance = desk.client("finance", None);
    let plan = json!({"source": PLAN, "effective_from": "2026-01-01"});
    finance.post("/v1/plans/certificates/versions", plan).await.is(201);
    for (brand, from, until) in [
        ("a", "2026-05-01", json!(null)),
        ("a", "2026-03-01", json!("2026-04-01")),
        ("B", "2026-03-01", json!(null)),
    ] {
        let body = json!({"brand": brand, "plan": "certificates", "from": from, "until": until});
        finance.post("/v1/assignments", body).await.is(201);
    }
    for (brand, from, until) in [
        ("c", "2026-02-01", "2026-02-02"),
        ("a", "2026-02-01", "2026-02-02"),
        ("a", "2026-01-01", "2026-01-02"),
    ] {
        let body = json!({"brand": brand, "from": from, "until": until, "because": "the pilot"});
        finance.post("/v1/waivers", body).await.is(201);
    }
    let assigned = ["B 2026-03-01", "a 2026-03-01", "a 2026-05-01"];
    assert_eq!(paged(&finance, "/v1/assignments?", "from").await, assigned);
    assert_eq!(paged(&finance, "/v1/assignments?brand=a&", "from").await, assigned[1..]);
    let waived = ["a 2026-01-01", "a 2026-02-01", "c 2026-02-01"];
    assert_eq!(paged(&finance, "/v1/waivers?", "from").await, waived);
    assert_eq!(paged(&finance, "/v1/waivers?brand=c&", "from").await, waived[2..]);
    let open = ["B 1", "a 1", "c 1"];
    assert_eq!(paged(&finance, "/v1/unassigned?", "unassigned").await, open);

    let own = desk.client("finance_read", Some("a"));
    assert_eq!(paged(&own, "/v1/assignments?", "from").await, assigned[1..]);
    assert_eq!(paged(&own, "/v1/waivers?", "from").await, waived[..2]);
    assert_eq!(paged(&own, "/v1/unassigned?", "unassigned").await, ["a 1"]);
    for list in ["assignments", "waivers", "unassigned"] {
        let foreign = own.get(&format!("/v1/{list}?brand=c")).await;
        assert_eq!(foreign.problem(), "not-found", "{list}");
        let none = finance.get(&format!("/v1/{list}?brand=nobody")).await;
        assert_eq!(none.problem(), "not-found", "{list}");
    }
    // A place in another brand's rows leads to one's own alone.
    let beyond = own.get("/v1/assignments?starting_after=B/2026-03-01/3").await.ok();
    assert!(!beyond.to_string().contains("\"B\""), "{beyond}");
    let wrong = finance.get("/v1/waivers?starting_after=a").await;
    assert_eq!(wrong.problem(), "invalid-query");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brand_that_is_none_is_not_found_in_filters() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let admin = desk.client("admin", None);
    for list in [
        "activity",
        "assignments",
        "conflicts",
        "credit_notes",
        "holds",
        "invoices",
        "invoices/due",
        "periods",
        "reports/ageing",
        "reports/unbilled",
        "unassigned",
        "usage",
        "waivers",
    ] {
        let known = admin.get(&format!("/v1/{list}?brand=acme")).await;
        assert_eq!(known.status, 200, "{list}: {}", known.text());
        for brand in ["nobody", "no%20id"] {
            let answer = admin.get(&format!("/v1/{list}?brand={brand}")).await;
            assert_eq!(answer.problem(), "not-found", "{list}");
        }
    }
    let settled = json!({"brand": "nobody", "because": "test"});
    assert_eq!(admin.post("/v1/conflicts/dismiss", settled).await.problem(), "not-found");
    // What was rejected names whom it likes: an id that is no brand's is one of the reasons.
    assert_eq!(admin.get("/v1/rejections?brand=nobody").await.ok()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_is_for_those_who_accept_it_and_its_texts_are_texts() {
    let desk = Desk::new().await;
    let event = |id: usize, product: &str| {
        format!(
            r#"{{"receiptId":"r{id}","predicateId":"CERT_VALID@V1","brandId":"acme","supplierId":"+1","productRef":"{product}","result":true,"verifiedAt":"2026-03-01T12:00:00Z"}}"#
        )
    };
    let products = ["-1e5", "=1+1", "@x", "hat"];
    let many = (0..1100).map(|number| format!("p{number:04}"));
    let products = products.into_iter().map(str::to_owned).chain(many);
    let events = products.enumerate().map(|(id, product)| event(id, &product));
    desk.world.publish_raw("proofs.verified", events).await;
    desk.world.wait_until_metered().await;

    let reader = desk.client("finance_read", None);
    let target = "/v1/usage?by=product,supplier";
    for (accept, is_csv) in
        [("text/csv", true), ("text/csv;q=0", false), ("application/json, text/csv;q=0.5", false)]
    {
        let answer = reader.send("GET", target, &[("accept", accept)], None).await;
        assert_eq!(answer.status, 200);
        let is = answer.headers["content-type"].starts_with("text/csv");
        assert_eq!(is, is_csv, "{accept}");
    }
    let csv = reader.get(&format!("{target}&format=csv")).await.text();
    for row in ["'-1e5,'+1,1\r\n", "'=1+1,'+1,1\r\n", "'@x,'+1,1\r\n", "hat,'+1,1\r\n"] {
        assert!(csv.contains(row), "{row:?} is not in {csv}");
    }
    // The command line writes the same rows, as many as there are.
    let shown = |output: &str| {
        let by = ["usage", "--by", "product,supplier", "--output", output];
        let shown = desk.world.prooftally(&by);
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8(shown.stdout).unwrap()
    };
    assert_eq!(shown("csv"), csv);
    let rows: Value = serde_json::from_str(&shown("json")).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1104);
    let first = "[\n  {\n    \"product\": \"-1e5\",\n    \"supplier\": \"+1\",\n    \"receipts\": 1\n  },\n";
    let text = shown("json");
    assert!(text.starts_with(first) && text.ends_with("\n  }\n]\n"), "{}", &text[..200]);
    // A table after a thousand rows begins anew.
    let table = shown("table");
    assert_eq!(table.lines().filter(|line| line.contains("supplier")).count(), 2);
    assert_eq!(table.lines().count(), 1104 + 2);
    let none = ["usage", "--from", "2027-01-01", "--output"];
    let empty = |output: &str| desk.world.prooftally(&[none.as_slice(), &[output]].concat()).stdout;
    assert_eq!(empty("json"), b"[]\n");
    assert_eq!(empty("csv"), b"brand,predicate,receipts,duplicates\r\n");
}

async fn numbers(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/invoices?{query}")).await.ok();
    let rows = page["data"].as_array().unwrap();
    rows.iter().map(|row| row["number"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoices_are_found_by_what_is_owed_and_when_they_were_issued() {
    let till =
        till(&[("acme", "2026-03-01"), ("zeta", "2026-03-01"), ("zeta", "2026-04-01")]).await;
    let finance = till.client("finance").await;
    let acme = till.finalize("acme", MARCH, "36.89");
    let march = till.finalize("zeta", MARCH, "36.89");
    let april = till.finalize("zeta", APRIL, "36.89");
    let fourth = till.finalize("acme", APRIL, "35.70");
    let today = finance.get(&format!("/v1/invoices/{acme}")).await.ok()["issue_date"].clone();
    let pay = async |number: &str, amount: &str| {
        let body = json!({"amount": amount, "paid_on": today, "reference": amount});
        finance.post(&format!("/v1/invoices/{number}/payments"), body).await.is(201);
    };
    pay(&acme, "36.89").await;
    pay(&march, "6.89").await;
    let because = json!({"because": "gone"});
    finance.post(&format!("/v1/invoices/{fourth}/write_off"), because).await.ok();
    for (payment, expected) in [
        ("unpaid", vec![&april]),
        ("partly_paid", vec![&march]),
        ("paid", vec![&acme]),
        ("written_off", vec![&fourth]),
        ("open", vec![&april, &march]),
        ("overdue", vec![]),
    ] {
        let found = numbers(&finance, &format!("payment={payment}")).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{payment}");
    }
    let long_ago = "update document set issue_date = '2026-02-10', due_date = '2026-02-24' \
        from brand b where b.brand_no = document.brand_no and b.brand_id = 'zeta'";
    till.by_force(long_ago).await;
    assert_eq!(numbers(&finance, "payment=overdue").await, [april.clone(), march.clone()]);
    assert_eq!(numbers(&finance, "payment=overdue&brand=acme").await, Vec::<String>::new());
    // A credit note pays as well as money does, and what was taken back is owed by nobody.
    done(till.run(&format!("credit-notes create {march} --line 1=25.21 --because delay")));
    assert_eq!(numbers(&finance, "payment=paid").await, [march.clone(), acme.clone()]);
    finance.post(&format!("/v1/invoices/{april}/void"), json!({"because": "wrong"})).await.ok();
    assert_eq!(numbers(&finance, "payment=open").await, Vec::<String>::new());

    assert_eq!(numbers(&finance, "period_start=2026-03-01").await, [march.clone(), acme.clone()]);
    assert_eq!(numbers(&finance, "period_start=2026-03-02").await, Vec::<String>::new());
    assert_eq!(numbers(&finance, "currency=EUR&limit=2").await.len(), 2);
    assert_eq!(numbers(&finance, "currency=USD").await, Vec::<String>::new());
    till.by_force(&format!(
        "update document set issue_date = '2026-01-31' where number = '{acme}'"
    ))
    .await;
    assert_eq!(numbers(&finance, "issued_from=2026-01-31&issued_until=2026-02-01").await, [acme]);
    assert_eq!(numbers(&finance, "issued_until=2026-01-31").await, Vec::<String>::new());
    assert_eq!(numbers(&finance, "issued_from=2026-02-01").await.len(), 3);
    for wrong in [
        "payment=due",
        "currency=Euro",
        "period_start=March",
        "issued_from=2026-02-01&issued_until=2026-02-01",
    ] {
        let answer = finance.get(&format!("/v1/invoices?{wrong}")).await;
        assert_eq!(answer.problem(), "invalid-query", "{wrong}");
    }
    let notes = finance.get("/v1/credit_notes?payment=paid").await;
    assert_eq!(notes.problem(), "invalid-query");
    // Amounts have the digits of their currency, zero too.
    done(till.run("brands tax set acme --from 2026-05-01 --category Z --rate 0"));
    till.assign("acme", "volume", "2026-05-01");
    till.finalize("acme", "--period 2026-05", "30.00");
    let free = &finance.get("/v1/invoices?period_start=2026-05-01").await.ok()["data"][0];
    assert_eq!((&free["tax_total"], &free["total"]), (&json!("0.00"), &json!("30.00")));
    let taxes = finance.get("/v1/reports/tax_summary").await.ok();
    let zero = taxes["data"].as_array().unwrap().iter().find(|row| row["category"] == "Z");
    let zero = zero.unwrap();
    assert_eq!((&zero["tax"], &zero["rate_percent"]), (&json!("0.00"), &json!("0")));
    let register = finance.get("/v1/reports/invoice_register?format=csv").await.text();
    assert!(register.contains(",EUR,30.00,0.00,30.00\r\n"), "{register}");
}

/// Graduated prices by product; free receipts; and predicates that nothing takes.
const THREE: &str = r#"
name = "three"
currency = "EUR"
cadence = "monthly"
fixed_fee = "5.00"

[[charge]]
name = "Products"
predicate = "CERT_VALID@*"
meter = "distinct_products"
model = "graduated"
tiers = [{ up_to = 1, unit_price = "1.00" }, { unit_price = "0.50" }]

[[charge]]
name = "Free"
predicate = "CERT_VALID@*"
free_units = 100
model = "per_unit"
unit_price = "0.10"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn a_receipt_says_on_which_line_it_is_billed_or_why_on_none() {
    let till = till(&[("acme", "2026-03-01")]).await;
    let event = |id: &str, predicate: &str, product: &str, day: &str| {
        format!(
            r#"{{"receiptId":"{id}","predicateId":"{predicate}","brandId":"both"{product},"result":true,"verifiedAt":"2026-{day}T10:00:00Z"}}"#
        )
    };
    let shirt = r#","productRef":"shirt""#;
    let events = [
        event("p1", "CERT_VALID@V1", shirt, "03-01"),
        event("p2", "CERT_VALID@V1", r#","productRef":"hat""#, "03-02"),
        event("p3", "CERT_VALID@V1", shirt, "03-03"),
        event("f1", "CERT_VALID@V1", "", "03-01"),
        event("u1", "DUE_DILIGENCE_VALID@V1", shirt, "03-01"),
        event("a1", "CERT_VALID@V1", shirt, "04-01"),
        event("w1", "CERT_VALID@V1", shirt, "02-01"),
        event("n1", "CERT_VALID@V1", shirt, "01-15"),
    ];
    till.world.publish_raw("proofs.verified", events).await;
    till.count("none", &[]).await;
    let plan = till.file("three.toml", THREE);
    done(till.run(&format!("plans apply {plan} --effective-from 2026-01-01")));
    till.assign("both", "three", "2026-03-01 --until 2026-05-01");
    let profile = till.file("profile.toml", PROFILE);
    done(till.run(&format!("brands profile set both -f {profile}")));
    done(till.run("brands tax set both --from 2026-01-01 --category S --rate 19"));
    let finance = till.client("finance").await;
    let waiver =
        json!({"brand": "both", "from": "2026-02-01", "until": "2026-03-01", "because": "pilot"});
    finance.post("/v1/waivers", waiver).await.is(201);
    let own = till.client("finance_read --brand both").await;
    let of = async |id: &str| own.get(&format!("/v1/receipts/{id}")).await.ok();
    assert_eq!(of("p1").await["not_billed"][0]["because"], "not_invoiced");

    let draft = finance.get("/v1/brands/both/drafts/2026-03-01").await.ok();
    let approved = json!({"expected_total": draft["total"]});
    let admin = till.client("admin").await;
    for reason in draft["reasons"].as_array().unwrap() {
        let body = json!({"reason": reason["reason"], "because": "they are free"});
        let answer = admin.post("/v1/brands/both/drafts/2026-03-01/override", body).await;
        assert!(answer.status < 300, "{reason}: {}", answer.text());
    }
    let issued = finance.post("/v1/brands/both/drafts/2026-03-01/finalize", approved).await.is(201);
    let number = issued["number"].as_str().unwrap().to_owned();

    // Who issued it is the operator's to know, and what is billed is no operator's.
    let of_invoice = |row: Value| row["finalized_by"].clone();
    assert_eq!(of_invoice(own.get(&format!("/v1/invoices/{number}")).await.ok()), json!(null));
    assert_eq!(of_invoice(own.get("/v1/invoices").await.ok()["data"][0].clone()), json!(null));
    assert!(of_invoice(finance.get(&format!("/v1/invoices/{number}")).await.ok()).is_string());
    let operator = till.client("operator").await;
    let counted = operator.get("/v1/receipts/p1").await.ok();
    assert_eq!(counted["entries"][0]["receipt_id"], "p1");
    assert_eq!((&counted["documents"], &counted["not_billed"]), (&json!(null), &json!(null)));
    let proof = "/v1/brands/both/receipts/p1/proof";
    assert_eq!(operator.get(proof).await.problem(), "forbidden");
    own.get(proof).await.ok();

    let lines = till.json(&format!("invoices show {number}"))["document"]["lines"].clone();
    for (id, charge) in
        [("p1", "charge:1"), ("p2", "charge:1"), ("p3", "charge:1"), ("f1", "charge:2")]
    {
        let found = of(id).await;
        let on = &found["documents"][0];
        assert_eq!((&on["number"], &on["charge"]), (&json!(number), &json!(charge)), "{found}");
        assert_eq!(found["not_billed"], json!([]), "{found}");
        let place = lines.as_array().unwrap().iter().position(|line| line["key"] == charge);
        assert_eq!(on["line"].as_u64(), place.map(|place| place as u64 + 1), "{found}");
        if let Some(line) = on["line"].as_u64() {
            assert_eq!(on["label"], lines[line as usize - 1]["label"]);
            assert_eq!(on["no_line_because"], json!(null));
            let behind =
                own.get(&format!("/v1/invoices/{number}/lines/{line}/receipts")).await.ok();
            assert!(behind.to_string().contains(&format!("\"{id}\"")), "{behind}");
        } else {
            assert_eq!(on["no_line_because"], "nothing_charged", "{found}");
        }
    }
    let unpriced = of("u1").await;
    let on = &unpriced["documents"][0];
    assert_eq!((&on["line"], &on["no_line_because"]), (&json!(null), &json!("unpriced")));
    for (id, because) in [("a1", "not_invoiced"), ("w1", "waived"), ("n1", "no_plan")] {
        let found = of(id).await;
        assert_eq!(found["documents"], json!([]), "{id}");
        assert_eq!(found["not_billed"][0]["because"], because, "{id}");
    }
    // A document that was taken back bills nothing.
    finance.post(&format!("/v1/invoices/{number}/void"), json!({"because": "wrong"})).await.ok();
    let voided = of("p1").await;
    assert_eq!(voided["documents"][0]["state"], "voided");
    assert_eq!(voided["not_billed"][0]["because"], "not_invoiced");
}

/// A typing error in a filter is told, and is no empty page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_no_closed_list_is_refused_with_the_list() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let admin = desk.client("admin", None);
    for (path, kept, says) in [
        ("/v1/rejections?reason=", "unknown_brand", "reason is one of empty, too_large,"),
        ("/v1/rejections?state=", "open", "state is open, retried or dismissed"),
        (
            "/v1/conflicts?field=",
            "supplier",
            "field is one of predicate, supplier, product, result",
        ),
        ("/v1/conflicts?state=", "open", "state is open, resolved or dismissed"),
        ("/v1/activity?subject=", "payment", "subject is one of api_key, assignment,"),
        ("/v1/periods?reason=", "hold", "reason is one of gap, not_passed,"),
        ("/v1/periods?state=", "ready", "state is ready, blocked or invoiced"),
        ("/v1/invoices?state=", "voided", "state is finalized, voided or cancelled"),
        ("/v1/invoices?payment=", "open", "payment is unpaid, partly_paid,"),
        ("/v1/credit_notes?state=", "voided", "state is finalized, voided or cancelled"),
        ("/v1/usage?by=", "month", "by has values of brand, day,"),
    ] {
        admin.get(&format!("{path}{kept}")).await.ok();
        let refused = admin.get(&format!("{path}{kept}s")).await;
        assert_eq!((refused.status, refused.problem().as_str()), (400, "invalid-query"), "{path}");
        assert!(refused.text().contains(says), "{path}: {}", refused.text());
    }
    for (path, body, says) in [
        ("/v1/rejections/retry", json!({"reason": "unknown_brands"}), "reason is one of empty,"),
        (
            "/v1/rejections/dismiss",
            json!({"reason": "x", "because": "why"}),
            "reason is one of empty,",
        ),
        (
            "/v1/conflicts/dismiss",
            json!({"field": "suplier", "because": "why"}),
            "field is one of predicate,",
        ),
    ] {
        let refused = admin.post(path, body).await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "invalid-body"), "{path}");
        assert!(refused.text().contains(says), "{path}: {}", refused.text());
    }
    // What may be asked for in the log is what writes it.
    let writes: Vec<String> = sqlx::query_scalar(
        "select distinct event_object_table::text from information_schema.triggers \
         where trigger_name like 'activity_notes%' order by 1",
    )
    .fetch_all(desk.world.pool())
    .await
    .unwrap();
    assert_eq!(writes, prooftally::store::activity::SUBJECTS);
}
