//! The API on real servers: who may do what, what is answered, and what every problem looks like.

pub mod client;
mod issuer;
mod lists;
mod master;
mod matrix;
mod mending;
mod money;
mod once;
mod pages;
mod parking;
mod roles;
mod service;
mod slow_readers;
mod stalled;
mod streams;
mod tls;
mod tokens;

use prooftally::api::listener::Limits;
use prooftally::engine::{self, Engine};
use prooftally::store::api_keys;
use serde_json::json;

use crate::harness::{World, wait_for};
use client::Client;

/// An engine with its API, and a key of each role.
pub struct Desk {
    pub world: World,
    pub engine: Engine,
}

/// A receipt that was verified at noon of a day.
fn receipt(id: &str, brand: &str, day: &str) -> String {
    format!(
        r#"{{"receiptId":"{id}","predicateId":"CERT_VALID@V1","brandId":"{brand}","supplierId":"mill","productRef":"shirt","result":true,"verifiedAt":"{day}T12:00:00Z"}}"#
    )
}

impl Desk {
    pub async fn new() -> Self {
        Self::in_world(World::new().await).await
    }

    pub async fn in_world(world: World) -> Self {
        world.store.migrate().await.expect("the schema is made");
        let engine = world.engine().await;
        Self { world, engine }
    }

    /// With other limits on the connections of its clients.
    pub async fn with_sockets(set: impl FnOnce(&mut Limits)) -> Self {
        let world = World::new().await;
        world.store.migrate().await.expect("the schema is made");
        let set = |config: &mut engine::Config| {
            set(&mut config.api.as_mut().expect("the API is on").sockets);
        };
        let engine = world.engine_with(set).await;
        Self { world, engine }
    }

    /// Lets receipts of brands be counted, one a brand and day.
    pub async fn count(&self, receipts: &[(&str, &str, &str)]) {
        let events = receipts.iter().map(|(id, brand, day)| receipt(id, brand, day));
        self.world.publish_raw("proofs.verified", events).await;
        self.world.wait_until_metered().await;
    }

    /// A client with a new key.
    pub fn client(&self, role: &str, brand: Option<&str>) -> Client {
        let mut arguments = vec!["keys", "create", "--name", "test", "--role", role];
        if let Some(brand) = brand {
            arguments.extend(["--brand", brand]);
        }
        let made = self.world.prooftally(&arguments);
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).expect("a key").trim().to_owned();
        Client::new(self.address(), &key)
    }

    pub fn anybody(&self) -> Client {
        Client { address: self.address(), key: None }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.engine.api.expect("the API is on")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brands_and_usage_are_shown_in_pages_and_as_csv() {
    let desk = Desk::new().await;
    desk.count(&[
        ("r1", "brand-a", "2026-03-01"),
        ("r2", "brand-a", "2026-03-09"),
        ("r3", "brand-b", "2026-03-02"),
        ("r4", "brand-c", "2026-04-02"),
    ])
    .await;
    let reader = desk.client("finance_read", None);

    let first = reader.get("/v1/brands?limit=2").await;
    let page = first.ok();
    assert_eq!(page["data"][1]["brand"], "brand-b");
    assert_eq!((&page["has_more"], &page["next"]), (&json!(true), &json!("brand-b")));
    assert_eq!(first.headers["link"], "</v1/brands?limit=2&starting_after=brand-b>; rel=\"next\"");
    let last = reader.get("/v1/brands?limit=2&starting_after=brand-b").await.ok();
    assert_eq!(last["data"][0]["brand"], "brand-c");
    assert_eq!(last["has_more"], false);
    assert_eq!(reader.get("/v1/brands/brand-a").await.ok()["receipts"], "2");

    let usage = reader.get("/v1/usage?by=month,brand&from=2026-03-01&until=2026-04-01").await.ok();
    let row = |brand: &str, receipts: &str| json!({"month": "2026-03-01", "brand": brand, "receipts": receipts, "duplicates": "0"});
    assert_eq!(usage["data"], json!([row("brand-a", "2"), row("brand-b", "1")]));
    let csv = reader.get("/v1/usage?by=week&brand=brand-a&format=csv").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(csv.text(), "week,receipts,duplicates\r\n2026-02-23,1,0\r\n2026-03-09,1,0\r\n");
    // Packed it is as long as it says, to its end.
    let target = "/v1/usage?by=week&brand=brand-a&format=csv";
    let packed = reader.send("GET", target, &[("accept-encoding", "gzip")], None).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let (_, length) = packed.body.split_last_chunk::<4>().unwrap();
    assert_eq!(u32::from_le_bytes(*length), csv.body.len() as u32);
    let ledger = reader.get("/v1/usage?by=supplier&brand=brand-b").await.ok();
    assert_eq!(ledger["data"][0]["receipts"], "1");

    let problem = reader.get("/v1/usage?by=moon").await;
    assert_eq!(problem.problem(), "invalid-query");
    assert_eq!(reader.get("/v1/usage?brand=brand-z").await.problem(), "not-found");
    assert_eq!(
        reader.get("/v1/usage?from=2026-03-02&until=2026-03-02").await.problem(),
        "invalid-query"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_ends_when_it_is_revoked() {
    let desk = Desk::new().await;
    let admin = desk.client("admin", None);
    let wanted = json!({"name": "books", "role": "finance"});
    let body = Some(wanted.to_string());
    let made = admin.send("POST", "/v1/keys", &[("idempotency-key", "one")], body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let again = admin.send("POST", "/v1/keys", &[("idempotency-key", "one")], body).await;
    assert_eq!(again.problem(), "idempotency-answer-not-kept");
    let other = json!({"name": "other", "role": "finance"}).to_string();
    let reused = admin.send("POST", "/v1/keys", &[("idempotency-key", "one")], Some(other)).await;
    assert_eq!(reused.problem(), "idempotency-key-reused");

    let books = Client::new(desk.address(), &key);
    assert_eq!(books.get("/v1/me").await.ok()["roles"], json!(["finance"]));
    let listed = admin.get("/v1/keys").await;
    assert!(!listed.text().contains(&key[16..]), "the secret is in the list");
    let row = &listed.ok()["data"][1];
    assert_eq!((&row["name"], &row["made_by"]), (&json!("books"), &json!("key 1 (test)")));
    assert!(row["last_used_at"].is_string());
    let stored: Vec<u8> = sqlx::query_scalar("select secret_hash from api_key where key_no = 2")
        .fetch_one(desk.world.pool())
        .await
        .unwrap();
    assert_eq!(stored.len(), 32);

    // A secret that is wrong in its last letter, and one of another key, are nobody's.
    let mut wrong = key.clone();
    wrong.pop();
    wrong.push(if key.ends_with('0') { '1' } else { '0' });
    assert_eq!(
        Client::new(desk.address(), &wrong).get("/v1/me").await.problem(),
        "unauthenticated"
    );

    let path = format!("/v1/keys/{}/revoke", row["key_no"]);
    assert_eq!(admin.post(&path, json!({})).await.status, 204);
    assert_eq!(books.get("/v1/me").await.problem(), "unauthenticated");
    assert_eq!(admin.post(&path, json!({})).await.problem(), "not-found");

    let log = admin.get("/v1/activity?subject=api_key").await;
    assert!(!log.text().contains("secret_hash"), "{}", log.text());
    let log = log.ok();
    assert_eq!(log["data"][0]["act"], "changed");
    assert_eq!(log["data"][0]["made_by"], "key 1 (test)");
    assert_eq!(log["data"][0]["before"]["revoked_at"], json!(null));
    let refused = sqlx::query("delete from activity").execute(desk.world.pool()).await;
    assert!(refused.unwrap_err().to_string().contains("never changed or removed"));

    // As `keys revoke` does it, of which this process hears nothing.
    let other = desk.client("finance", None);
    other.get("/v1/me").await.ok();
    let number = admin.get("/v1/keys").await.ok()["data"].as_array().unwrap().len();
    let number = i64::try_from(number).unwrap();
    assert!(api_keys::revoke(desk.world.pool(), number, "test").await.unwrap());
    wait_for("the key has ended", async || (other.get("/v1/me").await.status == 401).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brand_sees_itself_and_the_database_sees_to_it() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "brand-a", "2026-03-01"), ("r2", "brand-b", "2026-03-01")]).await;
    let own = desk.client("finance_read", Some("brand-a"));
    assert_eq!(own.get("/v1/me").await.ok()["brand"], "brand-a");
    let brands = own.get("/v1/brands").await.ok();
    assert_eq!(brands["data"].as_array().unwrap().len(), 1);
    let usage = own.get("/v1/usage?by=brand").await.ok();
    assert_eq!(usage["data"], json!([{"brand": "brand-a", "receipts": "1", "duplicates": "0"}]));
    // Another brand's is answered exactly as one that is not there.
    for path in ["/v1/brands/NAME", "/v1/usage?brand=NAME", "/v1/brands/NAME/profile"] {
        let foreign = own.get(&path.replace("NAME", "brand-b")).await;
        let missing = own.get(&path.replace("NAME", "brand-z")).await;
        assert_eq!(foreign.problem(), "not-found");
        let same = |answer: &client::Answer, name: &str| {
            let mut body = answer.json();
            body["instance"] = json!(null);
            body.to_string().replace(name, "")
        };
        assert_eq!(same(&foreign, "brand-b"), same(&missing, "brand-z"));
    }

    // Even a query without any condition sees one brand's rows, of every table that carries a brand.
    let mut snapshot = prooftally::store::reading::begin(
        &desk.world.store,
        Some(1),
        std::time::Duration::from_secs(5),
        prooftally::store::reading::Plans::ForValues,
    )
    .await
    .unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid \
         where a.attname = 'brand_no' and c.relnamespace in ('public'::regnamespace, 'own_rows'::regnamespace) \
            and c.relkind in ('r', 'p', 'v') and has_table_privilege(c.oid, 'select')",
    )
    .fetch_all(&mut *snapshot)
    .await
    .unwrap();
    for needed in ["ledger", "usage_day", "document", "payment", "document_now"] {
        assert!(tables.iter().any(|table| table == needed), "{needed} is not in {tables:?}");
    }
    for table in ["draft", "hold", "activity", "api_key"] {
        assert!(!tables.iter().any(|seen| seen == table), "a brand can read {table}");
    }
    for table in &tables {
        let foreign: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select count(*) from {table} where brand_no <> 1"
        )))
        .fetch_one(&mut *snapshot)
        .await
        .unwrap();
        assert_eq!(foreign, 0, "{table} shows another brand");
    }
    let rows: i64 =
        sqlx::query_scalar("select count(*) from ledger").fetch_one(&mut *snapshot).await.unwrap();
    assert_eq!(rows, 1);
    snapshot.rollback().await.unwrap();
}
