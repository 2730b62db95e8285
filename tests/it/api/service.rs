//! What is true of every answer: ids, limits, problems, and what is served beside the resources.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Desk;
use super::client::Client;
use crate::harness::world::admin;
use crate::harness::{DEADLINE, World, wait_for};

#[test]
fn the_document_is_the_one_in_the_repository() {
    let text = prooftally::api::openapi();
    let document: Value = serde_json::from_str(&text).unwrap();
    let kept = std::fs::read_to_string("docs/api/openapi.json").unwrap();
    let same = kept == format!("{text}\n");
    assert!(same, "write it anew: prooftally openapi > docs/api/openapi.json");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(ids.insert(id.to_owned()), "{name} has the id of another: {id}");
            assert!(operation["x-roles"].is_array(), "{name} has no row in src/api/access.rs");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{name}");
            assert!(answers.contains_key("500"), "{name} does not say its problems");
        }
    }
}

/// Whether a schema of a field shows a value: itself, through what it refers to, or one of what it may be.
fn has_example(document: &Value, schema: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        return schema["properties"].is_object() || has_example(document, schema);
    }
    let any = ["oneOf", "anyOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten();
    schema.get("example").is_some()
        || schema["enum"].is_array()
        || schema["properties"].is_object()
        || (schema["items"].is_object() && has_example(document, &schema["items"]))
        || any.into_iter().any(|one| has_example(document, one))
}

#[test]
fn every_field_and_every_parameter_has_an_example() {
    let document: Value = serde_json::from_str(&prooftally::api::openapi()).unwrap();
    let mut without = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            if !has_example(&document, schema) {
                without.push(format!("{name}.{field}"));
            }
        }
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for one in operation["parameters"].as_array().into_iter().flatten() {
                if one.get("example").is_none() && !has_example(&document, &one["schema"]) {
                    without.push(format!("{method} {path}: {}", one["name"]));
                }
            }
        }
    }
    let wanted = "give them one, or a name that src/api/examples.rs knows";
    assert!(without.is_empty(), "without an example ({wanted}):\n{}", without.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_beside_the_resources() {
    let desk = Desk::new().await;
    let anybody = desk.anybody();
    assert_eq!(anybody.get("/livez").await.text(), "alive\n");
    let ready = wait_for("the engine is ready", async || {
        let answer = anybody.get("/readyz").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(ready.json()["ready"], true);
    assert_eq!(anybody.get("/version").await.ok()["name"], "prooftally");
    let served: Value = anybody.get("/openapi.json").await.json();
    assert_eq!(served, serde_json::from_str::<Value>(&prooftally::api::openapi()).unwrap());
    let docs = anybody.get("/docs/").await;
    assert_eq!(docs.status, 200, "{}", docs.text());
    assert!(
        !docs.text().contains("//cdn") && !docs.text().contains("src=\"http"),
        "{}",
        docs.text()
    );
    assert!(docs.headers["content-security-policy"].starts_with("default-src 'self'"));

    let types = anybody.get("/problems").await.ok();
    for row in types.as_array().unwrap() {
        let path = row["type"].as_str().unwrap();
        let page = anybody.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text().starts_with(&format!("# {}\n", row["title"].as_str().unwrap())));
        let file = format!("docs{path}.md");
        assert_eq!(std::fs::read_to_string(file).unwrap(), page.text());
    }
    let pages = std::fs::read_dir("docs/problems").unwrap().count();
    assert_eq!(pages, types.as_array().unwrap().len(), "a page without a type");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_a_problem_with_the_request_s_id() {
    let world = World::configured(|config| {
        config.api.body_bytes_max = 2_048;
        config.api.requests_per_second = 1;
        config.api.requests_burst = 30;
    })
    .await;
    let desk = Desk::in_world(world).await;
    let admin = desk.client("admin", None);
    let id = admin.send("GET", "/v1/me", &[("x-request-id", "mine-1")], None).await;
    assert_eq!(id.headers["x-request-id"], "mine-1");
    let injected = admin.send("GET", "/nowhere", &[("x-request-id", "a<b>")], None).await;
    assert!(injected.headers["x-request-id"].starts_with("req-"));
    assert_eq!(injected.problem(), "not-found");
    assert_eq!(desk.anybody().get("/v1/me").await.problem(), "unauthenticated");
    let bad = Client::new(desk.address(), "pt_000000000000_0' or '1'='1");
    assert_eq!(bad.get("/v1/me").await.problem(), "unauthenticated");
    assert_eq!(admin.get("/v1/me?colour=red").await.problem(), "invalid-query");
    assert_eq!(admin.get("/v1/brands?limit=1&limit=2").await.problem(), "invalid-query");
    assert_eq!(admin.get("/v1/brands?limit=999999").await.problem(), "invalid-query");
    assert_eq!(admin.get("/v1/keys?starting_after=x").await.problem(), "invalid-query");
    // What no row of the database can have.
    let far = "-9999-01-01";
    for target in ["/v1/usage?from=DAY", "/v1/invoices?day=DAY", "/v1/usage?by=supplier&from=DAY"] {
        assert_eq!(
            admin.get(&target.replace("DAY", far)).await.problem(),
            "invalid-query",
            "{target}"
        );
    }
    assert_eq!(admin.get("/v1/activity?subject=a%00b").await.problem(), "invalid-query");
    assert_eq!(admin.get("/v1/receipts/a%00b").await.problem(), "not-found");
    let method = admin.send("DELETE", "/v1/brands", &[], None).await;
    assert_eq!(method.problem(), "method-not-allowed");
    let body = |text: &str| Some(text.to_owned());
    let post = async |text: &str| admin.send("POST", "/v1/keys", &[], body(text)).await.problem();
    assert_eq!(post("{").await, "invalid-body");
    assert_eq!(post(r#" ["x", "finance", null, null]"#).await, "invalid-body");
    let at = r#"{"name": "x", "role": "finance", "expires_at": "+10000-01-01T00:00:00Z"}"#;
    assert_eq!(post(at).await, "invalid-body");
    assert_eq!(post(r#"{"name": "x", "role": "finance", "admin": true}"#).await, "invalid-body");
    assert_eq!(post(r#"{"name": "x", "role": "emperor"}"#).await, "invalid-body");
    assert_eq!(post(r#"{"name": "x\u0000", "role": "finance"}"#).await, "invalid-body");
    for unseen in ["u001b[31m", "u000a", "u200b", "u202e", "ufeff"] {
        let name = format!(r#"{{"name": "x\{unseen}y", "role": "finance"}}"#);
        assert_eq!(post(&name).await, "invalid-body", "{unseen}");
    }
    assert_eq!(post(&format!("\"{}\"", "x".repeat(3_000))).await, "body-too-large");
    let long = "k".repeat(256);
    let key = admin.send("POST", "/v1/keys", &[("idempotency-key", &long)], body("{}")).await;
    assert_eq!(key.problem(), "invalid-header");
    let form = Client { address: admin.address, key: admin.key.clone() };
    let plain = form.send("POST", "/v1/keys", &[], None).await;
    assert_eq!(plain.problem(), "unsupported-media-type");
    let limited = wait_for("the limit is reached", async || {
        let answer = admin.get("/v1/me").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(limited.problem(), "too-many-requests");
    assert_eq!(limited.headers["ratelimit-remaining"], "0");
    assert_eq!(limited.headers["ratelimit-limit"], "30");
    assert_eq!(limited.headers["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_it_says_so_and_when_to_come_back() {
    let world = World::with_own_postgres().await;
    let mut desk = Desk::in_world(world).await;
    let admin = desk.client("admin", None);
    admin.get("/v1/brands").await.ok();
    let crate::harness::Postgresql::Own(postgres) = &mut desk.world.postgres else {
        unreachable!("it has its own")
    };
    postgres.stop().expect("it stops");
    let away = admin.get("/v1/brands").await;
    assert_eq!(away.status, 503, "{}", away.text());
    assert_eq!(away.problem(), "unavailable");
    assert_eq!(away.headers["retry-after"], "5");
    assert_eq!(desk.anybody().get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_are_compressed_if_the_client_takes_it() {
    let desk = Desk::new().await;
    let plain = desk.anybody().get("/openapi.json").await;
    let packed =
        desk.anybody().send("GET", "/openapi.json", &[("accept-encoding", "gzip")], None).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() * 4 < plain.body.len());
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_long_is_ended_and_said() {
    let world = World::configured(|config| config.api.request_timeout_ms = 300).await;
    let desk = Desk::in_world(world).await;
    let admin = desk.client("admin", None);
    let mut lock = desk.world.pool().begin().await.unwrap();
    sqlx::query("lock table activity in access exclusive mode").execute(&mut *lock).await.unwrap();
    let late = admin.get("/v1/activity").await;
    let name = late.problem();
    assert!(["timeout", "unavailable"].contains(&name.as_str()), "{name}");
    lock.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), admin.get("/v1/activity")).await.unwrap().ok();
    assert_eq!(json!(admin.get("/v1/activity").await.status), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_half_a_head_is_cut_off_and_too_many_wait() {
    let desk = Desk::with_sockets(|sockets| {
        sockets.connections = 2;
        sockets.head = Duration::from_millis(500);
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(desk.address()).await.unwrap();
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: a").await.unwrap();
        silent.push(socket);
    }
    // It waits until one of them is cut off.
    assert_eq!(desk.anybody().get("/livez").await.status, 200);
    for mut socket in silent {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "half a head keeps a connection");
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_engine_is_not_ready_while_its_database_is_away() {
    let world = World::with_own_postgres().await;
    let mut desk = Desk::in_world(world).await;
    let anybody = desk.anybody();
    let ready = async || {
        let (status, body) = admin(&desk.engine, "/readyz").await;
        let of_api = anybody.get("/readyz").await;
        (status == 200 && of_api.status == 200).then(|| (body, of_api.json()))
    };
    let (body, of_api) = wait_for("it is ready", ready).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    for body in [&body, &of_api] {
        assert_eq!((&body["ready"], &body["reasons"]), (&json!(true), &json!({})));
        assert_eq!(
            (&body["checks"]["database"], &body["checks"]["bus"]),
            (&json!("well"), &json!("well"))
        );
    }
    let crate::harness::Postgresql::Own(postgres) = &mut desk.world.postgres else {
        unreachable!("it has its own")
    };
    postgres.stop().expect("it stops");
    let away = wait_for("it says that the database is away", async || {
        let (status, body) = admin(&desk.engine, "/readyz").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        (status == 503 && body["reasons"]["database"].is_string()).then_some(body)
    })
    .await;
    assert_eq!(away["checks"]["database"], "ill");
    let of_api = anybody.get("/readyz").await;
    assert_eq!(of_api.is(503)["checks"]["database"], "ill");
    postgres.start_again().expect("it starts");
    let ready = async || (admin(&desk.engine, "/readyz").await.0 == 200).then_some(());
    wait_for("it is ready again", ready).await;
}
