//! Master data through the API: profiles, taxes, zones, assignments, waivers, plans and the issuer, with
//! their refusals, and a record of each change in the activity log.

use prooftally::config::Issuer;
use serde_json::{Value, json};

use super::Desk;
use super::client::Client;
use crate::harness::World;

const PLAN: &str = r#"name = "certificates"
currency = "EUR"
cadence = "monthly"
fixed_fee = "99.00"

[[charge]]
name = "Certificates"
predicate = "CERT_VALID@V1"
model = "graduated"
tiers = [{ up_to = 10, unit_price = "0.03" }, { unit_price = "0.02", flat_fee = "1" }]

[[discount]]
name = "Partner"
percent = "10"
"#;

/// The newest change of a subject.
async fn last(desk: &Desk, subject: &str) -> Value {
    let admin = desk.client("admin", None);
    admin.get(&format!("/v1/activity?subject={subject}&limit=1")).await.ok()["data"][0].clone()
}

async fn name(client: &Client) -> Value {
    client.get("/v1/me").await.ok()["name"].clone()
}

/// Applies the plan.
async fn apply(finance: &Client, from: &str) -> Value {
    let body = json!({"source": PLAN, "effective_from": from});
    finance.post("/v1/plans/certificates/versions", body).await.is(201)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_put_on_the_version_that_was_seen() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let finance = desk.client("finance", None);
    let path = "/v1/brands/acme/profile";
    let none = finance.get(path).await;
    assert_eq!((&none.ok()["version"], none.headers["etag"].as_str()), (&json!(0), "\"0\""));
    let body = json!({"fields": {"legal_name": "Acme GmbH", "country": "DE", "city": "Köln"}});
    let blind = finance.send("PUT", path, &[], Some(body.to_string())).await;
    assert_eq!(blind.problem(), "if-match-required");
    for tag in ["*", "0", "W/\"0\"", "\"0\", \"1\""] {
        assert_eq!(finance.put(path, tag, body.clone()).await.problem(), "invalid-header", "{tag}");
    }
    assert_eq!(finance.put(path, "\"1\"", body.clone()).await.problem(), "changed-meanwhile");
    let wrong = json!({"fields": {"legal_name": "Acme", "country": "Germany", "colour": "red"}});
    let wrong = finance.put(path, "\"0\"", wrong).await;
    assert_eq!(wrong.problem(), "invalid-body");
    let codes: Vec<Value> =
        wrong.json()["errors"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
    assert_eq!(codes, ["unknown_field", "country_unknown"]);
    let nobody = finance.put("/v1/brands/zeta/profile", "\"0\"", body.clone()).await;
    assert_eq!(nobody.problem(), "not-found");

    let first = finance.put(path, "\"0\"", body.clone()).await;
    assert_eq!((&first.ok()["version"], first.headers["etag"].as_str()), (&json!(1), "\"1\""));
    assert_eq!(finance.put(path, "\"0\"", body.clone()).await.problem(), "changed-meanwhile");
    assert_eq!(finance.put(path, "\"1\"", body).await.ok()["version"], 1, "nothing is new");
    let moved = json!({"fields": {"legal_name": "Acme GmbH", "country": "DE", "city": "Bonn"}});
    let second = finance.put(path, "\"1\"", moved).await.ok();
    assert_eq!((&second["version"], &second["fields"]["city"]), (&json!(2), &json!("Bonn")));
    assert_eq!(second["made_by"], name(&finance).await);
    assert_eq!(finance.get(path).await.ok(), second);
    let noted = last(&desk, "brand_profile").await;
    assert_eq!((&noted["made_by"], &noted["brand"]), (&name(&finance).await, &json!("acme")));
    assert_eq!(
        (&noted["before"]["city"], &noted["after"]["fields"]["city"]),
        (&json!("Köln"), &json!("Bonn"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taxes_are_put_by_day() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let finance = desk.client("finance", None);
    let path = "/v1/brands/acme/taxes/2026-03-01";
    let none = finance.get("/v1/brands/acme/taxes").await;
    assert_eq!((none.ok(), none.headers["etag"].as_str()), (json!({"data": []}), "\"0\""));
    for wrong in [
        json!({"category": "X"}),
        json!({"category": "S"}),
        json!({"category": "S", "rate_percent": 19}),
        json!({"category": "S", "rate_percent": "1e1"}),
        json!({"category": "AE"}),
        json!({"category": "E", "exemption": "x".repeat(1_001)}),
    ] {
        let answer = finance.put(path, "\"0\"", wrong.clone()).await;
        assert_eq!(answer.problem(), "invalid-body", "{wrong}");
    }
    let standard = json!({"category": "S", "rate_percent": "16"});
    let first = finance.put(path, "\"0\"", standard.clone()).await;
    assert_eq!(first.ok()["data"][0]["rate_percent"], "16");
    assert_eq!(finance.put(path, "\"0\"", standard.clone()).await.problem(), "changed-meanwhile");
    assert_eq!(finance.put(path, "\"x\"", standard).await.problem(), "changed-meanwhile");
    let corrected = json!({"category": "S", "rate_percent": "19.0"});
    let second = finance.put(path, &first.headers["etag"], corrected).await.ok();
    let row = |at: usize| {
        (second["data"][at]["rate_percent"].clone(), second["data"][at]["holds"].clone())
    };
    assert_eq!((row(0), row(1)), ((json!("16"), json!(false)), (json!("19"), json!(true))));
    let day =
        finance.put("/v1/brands/acme/taxes/tomorrow", "\"0\"", json!({"category": "Z"})).await;
    assert_eq!(day.problem(), "not-found");
    let noted = last(&desk, "brand_tax").await;
    assert_eq!(noted["made_by"], name(&finance).await);
    assert!(
        noted["before"]["rate_percent"] == 16.0 && noted["after"]["rate_percent"] == 19.0,
        "{noted}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_and_a_name_are_put_on_what_was_seen() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01"), ("r2", "acme", "2026-03-02")]).await;
    let finance = desk.client("finance", None);
    let path = "/v1/brands/acme/zone";
    let utc = finance.get(path).await;
    assert_eq!((utc.ok(), utc.headers["etag"].as_str()), (json!({"zone": "UTC"}), "\"UTC\""));
    let far = json!({"zone": "Pacific/Kiritimati"});
    assert_eq!(finance.put(path, "\"CET\"", far.clone()).await.problem(), "changed-meanwhile");
    let moon = finance.put(path, "\"UTC\"", json!({"zone": "Moon/Base"})).await;
    assert_eq!(moon.problem(), "invalid-body");
    let request = finance.put(path, "\"UTC\"", far).await.ok();
    assert_eq!(request["answer"], "2 receipts have another usage day");
    assert_eq!(finance.get(path).await.headers["etag"], "\"Pacific/Kiritimati\"");
    let noted = last(&desk, "brand").await;
    assert_eq!(noted["made_by"], name(&finance).await);
    assert_eq!(
        (&noted["before"]["zone"], &noted["after"]["zone"]),
        (&json!("UTC"), &json!("Pacific/Kiritimati"))
    );

    let path = "/v1/brands/acme/name";
    let none = finance.get(path).await;
    assert_eq!(none.ok()["name"], json!(null));
    let tag = none.headers["etag"].clone();
    assert_eq!(finance.put(path, &tag, json!({"name": ""})).await.problem(), "invalid-body");
    let named = finance.put(path, &tag, json!({"name": "Acme Fashion"})).await;
    assert_eq!(named.ok()["name"], "Acme Fashion");
    assert_eq!(
        finance.put(path, &tag, json!({"name": "Acme"})).await.problem(),
        "changed-meanwhile"
    );
    assert_eq!(finance.get(path).await.headers["etag"], named.headers["etag"]);
    assert_eq!(finance.get("/v1/brands/acme").await.ok()["name"], "Acme Fashion");
    let noted = last(&desk, "brand").await;
    assert_eq!(
        (&noted["made_by"], &noted["after"]["display_name"]),
        (&name(&finance).await, &json!("Acme Fashion"))
    );
    let own = desk.client("finance_read", Some("acme"));
    assert_eq!(own.get(path).await.ok()["name"], "Acme Fashion");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assignments_are_made_ended_and_withdrawn() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01"), ("r2", "acme", "2026-04-02")]).await;
    let finance = desk.client("finance", None);
    let new = |from: &str| json!({"brand": "acme", "plan": "certificates", "from": from});
    let create = async |body: Value| finance.post("/v1/assignments", body).await;
    assert_eq!(create(new("2026-03-01")).await.fault(), "plan_unknown");
    apply(&finance, "2026-01-01").await;
    assert_eq!(create(new("2026-02-01")).await.fault(), "before_first_usage");
    assert_eq!(create(new("12026-02-01")).await.problem(), "invalid-body");
    let mut odd = new("2026-03-01");
    odd["anchor"] = json!("moon");
    assert_eq!(create(odd).await.problem(), "invalid-body");
    let mut nobody = new("2026-03-01");
    nobody["brand"] = json!("zeta");
    assert_eq!(create(nobody).await.problem(), "not-found");

    let first = create(new("2026-03-01")).await.is(201);
    assert_eq!((&first["assignment_no"], &first["priced_from"]), (&json!(1), &json!("2026-03-01")));
    // It waits for the end of the period, or ends it.
    let waits = create(new("2026-03-15")).await.is(201);
    assert_eq!((&waits["replaced"], &waits["priced_from"]), (&json!(1), &json!("2026-04-01")));
    let withdrawn =
        finance.post("/v1/assignments/2/withdraw", json!({"because": "wrong day"})).await.ok();
    assert_eq!(
        (&withdrawn["is_withdrawn"], &withdrawn["restored"]["assignment_no"]),
        (&json!(true), &json!(1))
    );
    let mut splits = new("2026-03-15");
    splits["split"] = json!(true);
    splits["because"] = json!("a new contract");
    let key = [("idempotency-key", "split")];
    let body = Some(splits.to_string());
    let made = finance.send("POST", "/v1/assignments", &key, body.clone()).await;
    assert_eq!(made.is(201)["priced_from"], "2026-03-15");
    let again = finance.send("POST", "/v1/assignments", &key, body).await;
    assert_eq!(again.is(201), made.json(), "it is made once");
    let noted = last(&desk, "assignment").await;
    assert_eq!(
        (&noted["made_by"], &noted["after"]["because"]),
        (&name(&finance).await, &json!("a new contract"))
    );

    let end = async |no: i64, on: &str| {
        finance
            .post(&format!("/v1/assignments/{no}/end"), json!({"on": on, "because": "it ends"}))
            .await
    };
    assert_eq!(end(99, "2026-06-01").await.problem(), "not-found");
    assert_eq!(end(3, "2026-03-01").await.fault(), "ends_before_it_begins");
    let ended = end(3, "2026-06-01").await.ok();
    assert_eq!((&ended["is_withdrawn"], &ended["is_without"]), (&json!(false), &json!(true)));
    assert_eq!(end(3, "2026-06-01").await.fault(), "unchanged");
    let noted = last(&desk, "assignment_end").await;
    assert_eq!((&noted["made_by"], &noted["brand"]), (&name(&finance).await, &json!("acme")));
    assert_eq!(
        (&noted["before"]["assignment_no"], &noted["after"]["until_day"]),
        (&json!(3), &json!("2026-06-01"))
    );
    let listed = finance.get("/v1/assignments?brand=acme").await.ok();
    assert_eq!(listed["data"][1]["until"], "2026-03-15", "the withdrawn one ends on its first day");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_without_an_assignment_is_waived() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-01-10"), ("r2", "acme", "2026-03-02")]).await;
    let finance = desk.client("finance", None);
    apply(&finance, "2026-01-01").await;
    let plan = json!({"brand": "acme", "plan": "certificates", "from": "2026-03-01"});
    finance.post("/v1/assignments", plan).await.is(201);
    let waive = async |from: &str, until: &str| {
        let body = json!({"brand": "acme", "from": from, "until": until, "because": "the pilot"});
        finance.post("/v1/waivers", body).await
    };
    assert_eq!(waive("2026-02-01", "2026-02-01").await.fault(), "empty");
    assert_eq!(waive("2026-02-01", "2026-03-02").await.fault(), "assigned");
    let silent =
        json!({"brand": "acme", "from": "2026-01-01", "until": "2026-03-01", "because": " "});
    assert_eq!(finance.post("/v1/waivers", silent).await.problem(), "invalid-body");
    let waived = waive("2026-01-01", "2026-03-01").await.is(201);
    assert_eq!((&waived["waiver_no"], &waived["made_by"]), (&json!(1), &name(&finance).await));
    assert_eq!(waive("2026-01-01", "2026-02-01").await.fault(), "waived");
    let coverage = &finance.get("/v1/unassigned?brand=acme").await.ok()["data"][0];
    assert_eq!((&coverage["waived"], &coverage["assigned"]), (&json!("1"), &json!("1")));
    let own = desk.client("finance_read", Some("acme"));
    assert_eq!(own.get("/v1/waivers").await.ok()["data"][0]["because"], "the pilot");

    let embedded =
        async || finance.get("/v1/unassigned?brand=acme").await.ok()["data"][0]["waivers"].clone();
    assert_eq!(embedded().await[0]["waiver_no"], 1);
    for path in ["/v1/waivers", "/v1/assignments"] {
        let row = own.get(path).await.ok()["data"][0].clone();
        assert_eq!(row["made_by"], json!(null), "{path}");
        let row = finance.get(path).await.ok()["data"][0].clone();
        assert_eq!(row["made_by"], name(&finance).await, "{path}");
    }

    let because = json!({"because": "they pay after all"});
    let withdrawn = finance.post("/v1/waivers/1/withdraw", because.clone()).await.ok();
    assert!(withdrawn["withdrawn_at"].is_string());
    assert_eq!(embedded().await, json!([]));
    let known = own.get("/v1/waivers").await.ok()["data"][0].clone();
    assert!(known["withdrawn_at"].is_string() && known["withdrawn_by"].is_null(), "{known}");
    assert_eq!(finance.post("/v1/waivers/1/withdraw", because.clone()).await.problem(), "refused");
    assert_eq!(finance.post("/v1/waivers/9/withdraw", because).await.problem(), "not-found");
    assert_eq!(finance.get("/v1/unassigned?brand=acme").await.ok()["data"][0]["unassigned"], "1");
    assert_eq!(last(&desk, "waiver").await["after"]["because"], "the pilot");
    let noted = last(&desk, "waiver_withdrawal").await;
    assert_eq!(
        (&noted["before"]["because"], &noted["after"]["because"]),
        (&json!("the pilot"), &json!("they pay after all"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_tried_applied_shown_and_withdrawn() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let finance = desk.client("finance", None);
    let path = "/v1/plans/certificates/versions";
    let body = |source: &str, from: &str| json!({"source": source, "effective_from": from});
    let post = async |query: &str, body: Value| finance.post(&format!("{path}{query}"), body).await;
    assert_eq!(post("", json!({"source": PLAN})).await.fault(), "first_version_undated");
    assert_eq!(post("", body(PLAN, "9999-12-31")).await.fault(), "too_far_ahead");
    assert_eq!(post("", body("name = 1", "2026-01-01")).await.fault(), "plan_unreadable");
    let other = finance.post("/v1/plans/other/versions", body(PLAN, "2026-01-01")).await;
    assert_eq!(other.fault(), "other_plan");
    let dry = post("?dry_run=true", body(PLAN, "2026-01-01")).await.is(200);
    assert_eq!((&dry["outcome"], &dry["version"]), (&json!("dry_run"), &json!(1)));
    assert_eq!(finance.get("/v1/plans").await.ok()["data"], json!([]));
    let first = apply(&finance, "2026-01-01").await;
    assert_eq!(first["changes"], dry["changes"]);
    assert_eq!(post("", body(PLAN, "2026-01-01")).await.is(200)["outcome"], "same");
    assert_eq!(post("", body(PLAN, "2026-02-01")).await.fault(), "same_text");
    let dearer = PLAN.replace("99.00", "120.00");
    assert_eq!(post("", body(&dearer, "2026-01-01")).await.fault(), "not_later");
    let second = post("", body(&dearer, "2026-03-01")).await.is(201);
    let change = json!({"change": "changed", "what": "fixed fee", "before": "99", "after": "120"});
    assert_eq!(second["changes"], json!([change]));
    let noted = last(&desk, "plan_version").await;
    assert_eq!((&noted["made_by"], &noted["after"]["version"]), (&name(&finance).await, &json!(2)));

    let listed = finance.get("/v1/plans").await.ok();
    assert_eq!(listed["data"], json!([{"plan": "certificates", "in_force": 2, "newest": 2}]));
    assert_eq!(finance.get("/v1/plans?starting_after=certificates").await.ok()["data"], json!([]));
    let shown = finance.get("/v1/plans/certificates/versions/1").await.ok();
    assert_eq!((&shown["source"], &shown["in_force"]), (&json!(PLAN), &json!(false)));
    let terms = &shown["terms"];
    assert_eq!((&terms["fixed_fee"], &terms["cadence"]), (&json!("99.00"), &json!("monthly")));
    assert_eq!(terms["charges"][0]["predicate"], "CERT_VALID@V1");
    assert_eq!(
        terms["charges"][0]["tiers"][1],
        json!({"up_to": null, "unit_price": "0.02", "flat_fee": "1.00"})
    );
    assert_eq!(terms["discounts"][0], json!({"name": "Partner", "percent": "10", "amount": null}));
    for missing in ["/v1/plans/none", "/v1/plans/a%00b", "/v1/plans/certificates/versions/9"] {
        assert_eq!(finance.get(missing).await.problem(), "not-found", "{missing}");
    }

    let because = json!({"because": "wrong price"});
    let withdraw =
        async |no: i32| finance.post(&format!("{path}/{no}/withdraw"), because.clone()).await;
    assert_eq!(withdraw(9).await.problem(), "not-found");
    assert_eq!(withdraw(1).await.problem(), "refused", "it is not the newest");
    let left = withdraw(2).await.ok();
    assert_eq!(left["data"][1]["withdrawn"]["because"], "wrong price");
    assert_eq!(left["data"][0]["in_force"], true);
    let noted = last(&desk, "plan_withdrawal").await;
    assert_eq!(noted["made_by"], name(&finance).await);
    assert_eq!(
        (&noted["before"]["version"], &noted["after"]["because"]),
        (&json!(2), &json!("wrong price"))
    );
    let plan = json!({"brand": "acme", "plan": "certificates", "from": "2026-03-01"});
    finance.post("/v1/assignments", plan).await.is(201);
    assert_eq!(withdraw(1).await.problem(), "refused", "an assignment has it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_price_is_listed_and_cases_are_tried() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let odd = super::receipt("r2", "acme", "2026-03-02").replace("CERT_VALID@V1", "CERT_VALID@V2");
    desk.world.publish_raw("proofs.verified", [odd]).await;
    desk.world.wait_until_metered().await;
    let finance = desk.client("finance", None);
    let unpriced = finance.get("/v1/unpriced").await.ok();
    let row = json!({"brand": "acme", "predicate": "CERT_VALID@V2", "result": true, "receipts": "1",
        "first_day": "2026-03-02", "last_day": "2026-03-02"});
    assert_eq!(unpriced["data"], json!([row]), "by the network's price list, which is built in");
    assert_eq!(finance.get("/v1/unpriced?plan=none").await.problem(), "not-found");
    let all = PLAN.replace("CERT_VALID@V1", "CERT_VALID@*");
    let body = json!({"source": all, "effective_from": "2026-01-01"});
    finance.post("/v1/plans/certificates/versions", body).await.is(201);
    assert_eq!(finance.get("/v1/unpriced?plan=certificates").await.ok()["data"], json!([]));

    let cases = |quantity: u32| {
        format!(
            "plan = \"p.toml\"\n[[price]]\ncase = \"one\"\nfirst_day = 2026-03-01\n\
             usage = [{{ predicate = \"CERT_VALID@V1\", receipts = {quantity} }}]\nnet_total = \"99.27\"\n"
        )
    };
    let files = json!({"p.toml": PLAN});
    let test = async |cases: String, files: &Value| {
        finance.post("/v1/plans/test", json!({"cases": cases, "files": files})).await
    };
    let held = test(cases(10), &files).await.ok();
    assert_eq!(held, json!({"cases": 1, "differences": []}));
    let differs = test(cases(11), &files).await.ok();
    assert_eq!(differs["differences"][0]["expected"], "99.27", "{differs}");
    assert_eq!(test(cases(10), &json!({})).await.problem(), "invalid-body");
    assert_eq!(test("[[price]]".to_owned(), &files).await.problem(), "invalid-body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_issuer_is_shown_in_its_versions() {
    let issuer = |from: &str, city: &str| Issuer {
        from: from.parse().unwrap(),
        zone: chrono_tz::Europe::Berlin,
        fields: [("legal_name", "Passport Network eG"), ("city", city)]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
    };
    let issuers = vec![issuer("9999-01-01", "Bonn"), issuer("2026-01-01", "Hamburg")];
    let world = World::configured(|config| config.issuer = issuers).await;
    let desk = Desk::in_world(world).await;
    let shown = desk.client("finance_read", None).get("/v1/issuer").await.ok();
    let row = |at: usize| (&shown["data"][at]["fields"]["city"], &shown["data"][at]["in_force"]);
    assert_eq!(row(0), (&json!("Hamburg"), &json!(true)));
    assert_eq!(row(1), (&json!("Bonn"), &json!(false)));
}

/// What people write now is what it looks like, and what is stored from before stays readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_are_not_what_they_look_like_are_refused_and_stored_ones_are_read() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let finance = desk.client("finance", None);
    let odd = PLAN.replace("\"Certificates\"", "\"Certifi\u{202e}cates\"");
    let body = json!({"source": odd, "effective_from": "2026-01-01"});
    let refused = finance.post("/v1/plans/certificates/versions", body).await;
    assert_eq!(refused.json()["errors"][0]["code"], "plan_unreadable", "{}", refused.text());
    assert!(refused.text().contains("its name has U+202E"), "{}", refused.text());
    let path = "/v1/brands/acme/profile";
    let body = json!({"fields": {"legal_name": "Ac\u{200b}me"}});
    let refused = finance.put(path, "\"0\"", body).await;
    assert_eq!(refused.json()["errors"][0]["code"], "text_not_plain", "{}", refused.text());

    let stored = "with p as (insert into plan_version \
            (plan_name, version, effective_from, source, sha256, applied_by) \
            values ('certificates', 1, '2026-01-01', $1, \
                encode(sha256(convert_to($1, 'UTF8')), 'hex'), 'test')) \
        insert into brand_profile (brand_no, version, fields, made_by) \
            select brand_no, 1, jsonb_build_object('legal_name', $2::text), 'test' from brand";
    sqlx::query(stored).bind(&odd).bind("Ac\u{200b}me").execute(desk.world.pool()).await.unwrap();
    let plan = finance.get("/v1/plans/certificates/versions/1").await.ok();
    assert_eq!(plan["terms"]["charges"][0]["name"], "Certifi\u{202e}cates");
    assert_eq!(finance.get(path).await.ok()["fields"]["legal_name"], "Ac\u{200b}me");
    finance.get("/v1/periods").await.ok();
}
