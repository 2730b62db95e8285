//! What operators mend through the API: rejections, conflicts, gaps, parked brands and voids, all carried
//! out by a running engine, each with its record in the activity log.

use async_nats::jetstream::stream::Stream;
use fail::FailScenario;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::{Desk, receipt};
use crate::harness::{World, wait_for};

const DAY: &str = "2026-03-01";

/// The newest change of a subject.
async fn last(admin: &Client, subject: &str) -> Value {
    admin.get(&format!("/v1/activity?subject={subject}&limit=1")).await.ok()["data"][0].clone()
}

/// The request that was carried out.
#[track_caller]
fn done(answer: &Answer) -> Value {
    let request = answer.ok();
    assert_eq!(request["state"], "done", "{request}");
    request
}

/// A desk where the receipts of `brands` were rejected, since only the first brand was let in.
async fn with_rejections(brands: &[&str]) -> Desk {
    let world = World::new().await;
    let events = brands.iter().map(|brand| receipt(&format!("r-{brand}"), brand, DAY));
    let engine = world
        .engine_with(|config| {
            config.sorter.brands_max = 1;
            config.intake.chunk_messages_max = 1;
        })
        .await;
    world.publish_raw("proofs.verified", events).await;
    world.wait_until_metered().await;
    engine.stop().await;
    Desk::in_world(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_is_counted_on_retry_one_or_many() {
    let desk = with_rejections(&["acme", "b1", "b2", "b3", "b4"]).await;
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let me = operator.get("/v1/me").await.ok()["name"].clone();
    let open = operator.get("/v1/rejections?state=open").await.ok();
    assert_eq!(open["data"].as_array().unwrap().len(), 4);

    let request = done(&operator.post("/v1/rejections/1/retry", json!({})).await);
    assert_eq!((&request["kind"], &request["asked_by"]), (&json!("retry_rejections"), &me));
    assert!(request["answer"].as_str().unwrap().starts_with("1 counted"), "{request}");
    let path = format!("/v1/requests/{}", request["request_no"]);
    assert_eq!(operator.get(&path).await.ok(), request);
    assert_eq!(operator.get("/v1/requests/999").await.problem(), "not-found");
    let counted = operator.get("/v1/receipts/r-b1").await.ok();
    assert_eq!(counted["entries"][0]["counted_as"], "retried");
    let noted = last(&admin, "rejection").await;
    assert_eq!((&noted["made_by"], &noted["act"]), (&me, &json!("changed")));
    assert_eq!(
        (&noted["before"]["state"], &noted["after"]["state"]),
        (&json!("open"), &json!("retried"))
    );
    assert_eq!((&noted["brand"], noted["after"].get("raw")), (&json!("b1"), None));

    assert_eq!(operator.post("/v1/rejections/1/retry", json!({})).await.problem(), "refused");
    assert_eq!(operator.post("/v1/rejections/99/retry", json!({})).await.problem(), "not-found");
    let dismissed = operator.post("/v1/rejections/2/dismiss", json!({"because": " test "})).await;
    done(&dismissed);
    let after = last(&admin, "rejection").await["after"].clone();
    assert_eq!((&after["state"], &after["settlement"]), (&json!("dismissed"), &json!("test")));

    // Many at once, by what they have in common; sent again it is not done again.
    let many = async |body: Value| operator.post("/v1/rejections/retry", body).await;
    for nothing in
        [json!({}), json!({"all": true, "brand": "b3"}), json!({"numbers": vec![1; 1_001]})]
    {
        assert_eq!(many(nothing).await.problem(), "invalid-body");
    }
    assert_eq!(many(json!({"reason": "brand_missing"})).await.problem(), "not-found");
    let body = Some(json!({"reason": "unknown_brand", "brand": "b3"}).to_string());
    let key = [("idempotency-key", "once")];
    let first = operator.send("POST", "/v1/rejections/retry", &key, body.clone()).await;
    assert_eq!(
        (&first.ok()["meant"], &first.ok()["data"][0]["state"]),
        (&json!(1), &json!("done"))
    );
    let again = operator.send("POST", "/v1/rejections/retry", &key, body).await;
    assert_eq!((again.ok(), again.headers["idempotency-replayed"].as_str()), (first.ok(), "true"));
    let rest = json!({"all": true, "because": "the rest is not ours"});
    let rest = operator.post("/v1/rejections/dismiss", rest).await.ok();
    assert_eq!(rest["data"][0]["answer"], "1 rejections dismissed");
    assert_eq!(many(json!({"all": true})).await.problem(), "not-found");
    desk.world.assert_conserved().await;
}

/// While nothing can be committed a request waits, and is carried out afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_cannot_do_at_once_is_answered_where_it_says() {
    let world = World::configured(|config| config.api.request_timeout_ms = 1_000).await;
    let desk = Desk::in_world(world).await;
    desk.world.publish_raw("proofs.verified", ["{".to_owned()]).await;
    desk.world.wait_until_metered().await;
    let operator = desk.client("operator", None);
    let mut held = desk.world.pool().begin().await.unwrap();
    sqlx::query("select from cursor for update").execute(&mut *held).await.unwrap();
    let because = Some(json!({"because": "a test of the bus"}).to_string());
    let dismiss = async || {
        let key = [("idempotency-key", "dismissed")];
        operator.send("POST", "/v1/rejections/1/dismiss", &key, because.clone()).await
    };
    let waits = dismiss().await;
    assert_eq!(waits.is(202)["state"], "waiting");
    let address = waits.headers["location"].clone();
    assert_eq!(address, format!("/v1/requests/{}", waits.json()["request_no"]));
    held.rollback().await.unwrap();
    // Sent again, also after it was carried out, it says the same, and where to look.
    let assert_same = |again: &Answer| {
        assert_eq!(again.is(202), waits.json());
        for name in ["location", "content-type"] {
            assert_eq!(again.headers.get(name), waits.headers.get(name), "{name}");
        }
        assert_eq!(again.headers["idempotency-replayed"], "true");
    };
    assert_same(&dismiss().await);
    let request = wait_for("it is carried out", async || {
        let request = operator.get(&address).await.ok();
        (request["state"] != "waiting").then_some(request)
    })
    .await;
    assert_eq!(request["answer"], "1 rejections dismissed");
    assert_same(&dismiss().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_resolved_and_dismissed() {
    let desk = Desk::new().await;
    let other = |id: &str, brand: &str| receipt(id, brand, DAY).replace("mill", "loom");
    let events = [
        receipt("r1", "acme", DAY),
        receipt("r2", "acme", DAY),
        receipt("r3", "zeta", DAY),
        other("r1", "acme"),
        other("r2", "acme"),
        other("r3", "zeta"),
    ];
    desk.world.publish_raw("proofs.verified", events).await;
    desk.world.wait_until_metered().await;
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let me = operator.get("/v1/me").await.ok()["name"].clone();
    let because = json!({"because": "the mill was renamed"});
    let listed = operator.get("/v1/conflicts?brand=acme").await.ok();
    let (number, receipt_id) =
        (listed["data"][0]["conflict_no"].clone(), listed["data"][0]["receipt_id"].as_str());
    let settle = async |verb: &str| {
        operator.post(&format!("/v1/conflicts/{number}/{verb}"), because.clone()).await
    };
    assert_eq!(done(&settle("dismiss").await)["answer"], "1 conflicts dismissed");
    assert_eq!(settle("dismiss").await.problem(), "refused");
    let unknown = operator.post("/v1/conflicts/99/dismiss", because.clone()).await;
    assert_eq!(unknown.problem(), "not-found");
    // A dismissed one can be resolved: it is the way back.
    assert_eq!(done(&settle("resolve").await)["answer"], "1 conflicts resolved");
    let noted = admin.get("/v1/activity?subject=conflict").await.ok();
    let of_first = |row: &&Value| row["after"]["conflict_no"] == number && row["act"] == "changed";
    let states: Vec<(&Value, &Value, &Value)> = noted["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_first)
        .map(|row| (&row["made_by"], &row["before"]["state"], &row["after"]["state"]))
        .collect();
    let (open, dismissed, resolved) = (json!("open"), json!("dismissed"), json!("resolved"));
    assert_eq!(states, [(&me, &dismissed, &resolved), (&me, &open, &dismissed)]);
    let correction = last(&admin, "correction").await;
    assert_eq!((&correction["made_by"], &correction["after"]["kind"]), (&me, &json!("resolution")));
    assert_eq!(correction["before"]["supplier"], "mill");
    let receipt = operator.get(&format!("/v1/receipts/{}", receipt_id.unwrap())).await.ok();
    let entries = receipt["entries"].as_array().unwrap();
    let counts = entries.iter().find(|entry| entry["counted_as"] == "resolved").unwrap();
    assert_eq!(counts["supplier"], "loom", "{receipt}");

    let many = json!({"brand": "acme", "because": "the mill was renamed"});
    let many = operator.post("/v1/conflicts/resolve", many).await.ok();
    assert_eq!(
        (&many["meant"], &many["data"][0]["answer"]),
        (&json!(1), &json!("1 conflicts resolved"))
    );
    let field = json!({"field": "product", "because": "x"});
    assert_eq!(operator.post("/v1/conflicts/dismiss", field).await.problem(), "not-found");
    let rest = json!({"all": true, "because": "the first report stands"});
    assert_eq!(operator.post("/v1/conflicts/dismiss", rest).await.ok()["meant"], 1);
    desk.world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_are_accepted_with_a_reason() {
    let world = World::new().await;
    let publish = async |ids: &[&str]| {
        let events = ids.iter().map(|id| receipt(id, "acme", DAY));
        world.publish_raw("proofs.verified", events).await;
    };
    let stream: Stream = world.jetstream().get_stream("PROOFS").await.unwrap();
    for (counted, lost, next) in [("r1", "r2", "r3"), ("r4", "r5", "r6")] {
        let engine = world.engine().await;
        publish(&[counted]).await;
        world.wait_until_metered().await;
        engine.stop().await;
        publish(&[lost, next]).await;
        let last = stream.get_info().await.unwrap().state.last_sequence;
        stream.purge().sequence(last).await.unwrap();
        let engine = world.engine().await;
        world.wait_until_metered().await;
        engine.stop().await;
    }
    let desk = Desk::in_world(world).await;
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let me = operator.get("/v1/me").await.ok()["name"].clone();
    assert_eq!(operator.get("/v1/gaps?open=true").await.ok()["data"].as_array().unwrap().len(), 2);
    assert_eq!(operator.post("/v1/gaps/1/accept", json!({})).await.problem(), "invalid-body");
    let because = json!({"because": "a test has purged them"});
    done(&operator.post("/v1/gaps/1/accept", because.clone()).await);
    assert_eq!(operator.post("/v1/gaps/1/accept", because.clone()).await.problem(), "refused");
    assert_eq!(operator.post("/v1/gaps/9/accept", because).await.problem(), "not-found");
    let noted = last(&admin, "gap").await;
    assert_eq!((&noted["made_by"], &noted["before"]["acceptance"]), (&me, &json!(null)));
    assert_eq!(noted["after"]["acceptance"], "a test has purged them");
    let accept = async |body: Value| operator.post("/v1/gaps/accept", body).await;
    let half = accept(json!({"numbers": [1, 2], "because": "x"})).await;
    assert_eq!(half.problem(), "refused", "one of them is accepted");
    assert_eq!(accept(json!({"because": "x"})).await.problem(), "invalid-body");
    assert_eq!(accept(json!({"all": true, "because": "x"})).await.ok()["meant"], 1);
    assert_eq!(accept(json!({"all": true, "because": "x"})).await.problem(), "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_are_voided_by_an_admin_all_or_none() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY), ("r2", "acme", DAY), ("r3", "acme", DAY)]).await;
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let me = admin.get("/v1/me").await.ok()["name"].clone();
    let because = json!({"because": "a load test"});
    let path = "/v1/brands/acme/receipts/r1/void";
    assert_eq!(operator.post(path, because.clone()).await.problem(), "forbidden");
    assert_eq!(done(&admin.post(path, because.clone()).await)["answer"], "1 receipts voided");
    let again = admin.post(path, because.clone()).await;
    assert_eq!(again.problem(), "refused");
    assert!(again.text().contains("voided already"), "{}", again.text());
    let unknown = admin.post("/v1/brands/acme/receipts/r9/void", because.clone()).await;
    assert_eq!(unknown.problem(), "refused");
    let nobody = admin.post("/v1/brands/zeta/receipts/r1/void", because).await;
    assert_eq!(nobody.problem(), "not-found");
    let noted = last(&admin, "correction").await;
    assert_eq!((&noted["made_by"], &noted["brand"]), (&me, &json!("acme")));
    assert_eq!(
        (&noted["before"]["receipt_id"], &noted["after"]["because"]),
        (&json!("r1"), &json!("a load test"))
    );

    let void = async |receipts: Value| {
        let body = json!({"receipts": receipts, "because": "a load test"});
        admin.post("/v1/brands/acme/receipts/void", body).await
    };
    assert_eq!(void(json!([])).await.problem(), "invalid-body");
    assert_eq!(void(json!(["r\u{0}"])).await.problem(), "invalid-body");
    assert_eq!(void(json!(["r2", "r1"])).await.problem(), "refused");
    assert_eq!(admin.get("/v1/brands/acme").await.ok()["receipts"], "2", "none of them was");
    assert_eq!(done(&void(json!(["r2", "r3"])).await)["answer"], "2 receipts voided");
    assert_eq!(admin.get("/v1/brands/acme").await.ok()["receipts"], "0");
    desk.world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_brand_is_unparked() {
    let _alone = crate::faults::ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let desk = Desk::new().await;
    fail::cfg("meter brand-parked-by-a-test", "panic(poison)").unwrap();
    desk.count(&[("r1", "brand-parked-by-a-test", DAY), ("r2", "acme", DAY)]).await;
    fail::remove("meter brand-parked-by-a-test");
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let brand = operator.get("/v1/brands/brand-parked-by-a-test").await.ok();
    assert_eq!((&brand["parked_events"], &brand["receipts"]), (&json!("1"), &json!("0")));
    assert_eq!(operator.post("/v1/brands/zeta/unpark", json!({})).await.problem(), "not-found");
    done(&operator.post("/v1/brands/brand-parked-by-a-test/unpark", json!({})).await);
    scenario.teardown();
    let brand = operator.get("/v1/brands/brand-parked-by-a-test").await.ok();
    assert_eq!((&brand["parked_events"], &brand["receipts"]), (&json!("0"), &json!("1")));
    let noted = last(&admin, "brand").await;
    assert_eq!(noted["made_by"], operator.get("/v1/me").await.ok()["name"]);
    assert!(noted["before"]["parked_at"].is_string(), "{noted}");
    assert_eq!(noted["after"]["parked_at"], json!(null));
    desk.world.assert_conserved().await;
}
