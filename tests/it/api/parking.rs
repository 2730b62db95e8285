//! A brand that is parked on purpose: its events wait, nobody else's do, and each is counted once.

use serde_json::{Value, json};

use super::Desk;
use super::client::Client;
use crate::harness::wait_for;
use crate::harness::world::metrics;

const DAY: &str = "2026-03-01";

async fn shown(client: &Client, brand: &str) -> (Value, Value, bool) {
    let brand = client.get(&format!("/v1/brands/{brand}")).await.ok();
    let is_parked = brand["parked_at"].is_string();
    (brand["receipts"].clone(), brand["parked_events"].clone(), is_parked)
}

#[track_caller]
fn of(receipts: &str, parked: &str, is_parked: bool) -> (Value, Value, bool) {
    (json!(receipts), json!(parked), is_parked)
}

async fn wait_for_parked(desk: &Desk, brands: u32) {
    let line = format!("prooftally_brands_parked {brands}\n");
    wait_for("the metric says how many brands are parked", async || {
        metrics(&desk.engine).await.contains(&line).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brand_that_is_parked_on_purpose_waits_and_is_counted_once() {
    let mut desk = Desk::new().await;
    desk.count(&[("a1", "acme", DAY), ("b1", "beta", DAY)]).await;
    let (operator, admin) = (desk.client("operator", None), desk.client("admin", None));
    let because = json!({"because": "its events are of another contract"});
    let park = "/v1/brands/acme/park";
    assert_eq!(
        desk.client("finance", None).post(park, because.clone()).await.problem(),
        "forbidden"
    );
    assert_eq!(operator.post(park, json!({})).await.problem(), "invalid-body");
    let unknown = operator.post("/v1/brands/zeta/park", because.clone()).await;
    assert_eq!(unknown.problem(), "not-found");

    let parked = operator.post(park, because.clone()).await.ok();
    assert_eq!((&parked["kind"], &parked["state"]), (&json!("park"), &json!("done")));
    assert_eq!(operator.post(park, because).await.problem(), "refused");
    assert_eq!(shown(&operator, "acme").await, of("1", "0", true));
    let me = operator.get("/v1/me").await.ok()["name"].clone();
    let noted = admin.get("/v1/activity?subject=brand&limit=1").await.ok()["data"][0].clone();
    assert_eq!((&noted["made_by"], &noted["before"]["parked_at"]), (&me, &json!(null)));
    assert!(noted["after"]["parked_at"].is_string(), "{noted}");
    let asked = admin.get("/v1/activity?subject=request").await.text();
    assert!(asked.contains("its events are of another contract"), "{asked}");
    wait_for_parked(&desk, 1).await;

    // A duplicate among them is found out when they are metered.
    let more = [("a2", "acme", DAY), ("b2", "beta", DAY), ("a1", "acme", DAY)];
    desk.count(&more).await;
    assert_eq!(shown(&operator, "acme").await, of("1", "2", true));
    assert_eq!(shown(&operator, "beta").await, of("2", "0", false));

    // The next life knows it too.
    desk.engine.stop().await;
    desk.engine = desk.world.engine().await;
    let again = |client: Client| Client { address: desk.address(), key: client.key };
    let (operator, admin) = (again(operator), again(admin));
    desk.count(&[("a3", "acme", DAY), ("b3", "beta", DAY)]).await;
    assert_eq!(shown(&operator, "acme").await, of("1", "3", true));
    assert_eq!(shown(&operator, "beta").await, of("3", "0", false));
    wait_for_parked(&desk, 1).await;

    operator.post("/v1/brands/acme/unpark", json!({})).await.ok();
    assert_eq!(shown(&operator, "acme").await, of("3", "0", false));
    desk.count(&[("a4", "acme", DAY), ("a2", "acme", DAY)]).await;
    assert_eq!(shown(&operator, "acme").await, of("4", "0", false));
    wait_for_parked(&desk, 0).await;
    let noted = admin.get("/v1/activity?subject=brand&limit=1").await.ok()["data"][0].clone();
    assert_eq!(noted["after"]["parked_at"], json!(null));
    desk.world.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_parks_too() {
    let desk = Desk::new().await;
    desk.count(&[("a1", "acme", DAY)]).await;
    let run = |arguments: &[&str]| {
        let output = desk.world.prooftally(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let park = ["brands", "park", "acme", "--because", "a test"];
    let (code, text) = run(&park);
    assert_eq!((code, text.contains("kept and not counted")), (Some(0), true), "{text}");
    let (code, text) = run(&park);
    assert_eq!((code, text.contains("it is parked already")), (Some(5), true), "{text}");
    desk.count(&[("a2", "acme", DAY)]).await;
    assert_eq!(run(&["brands", "park", "zeta", "--because", "a test"]).0, Some(4));
    let (code, text) = run(&["brands", "unpark", "acme"]);
    assert_eq!(
        (code, text.contains("all its parked events are metered")),
        (Some(0), true),
        "{text}"
    );
    let counted: i64 = sqlx::query_scalar("select count(*) from ledger")
        .fetch_one(desk.world.pool())
        .await
        .unwrap();
    assert_eq!(counted, 2);
    desk.world.assert_conserved().await;
}
