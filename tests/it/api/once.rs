//! A change is made once under its Idempotency-Key, whatever becomes of the connection to the database, of the
//! answer and of the process.

use std::time::Duration;

use billing::hash::Hash;
use billing::ids::BrandId;
use fail::FailScenario;
use prooftally::store::Error;
use prooftally::store::change::{self, Attempt};
use prooftally::store::holds;
use prooftally::store::idempotency::{self, Known};
use serde_json::{Value, json};

use super::Desk;
use super::client::{Answer, Client};
use crate::crashes::by_way_of;
use crate::faults::ONE_AT_A_TIME;
use crate::harness::{Loss, Proxy, World, wait_for};

const DAY: &str = "2026-03-01";

/// A change, the statement that it begins with, and what counts how often it was done.
struct Change {
    path: &'static str,
    body: fn() -> Value,
    statement: &'static str,
    count: &'static str,
}

const CHANGES: &[Change] = &[
    Change {
        path: "/v1/brands/acme/hold",
        body: || json!({"because": "to be looked at"}),
        statement: "insert into hold ",
        count: "select count(*) from hold",
    },
    Change {
        path: "/v1/keys",
        body: || json!({"name": "books", "role": "finance"}),
        statement: "insert into api_key",
        count: "select count(*) from api_key where name = 'books'",
    },
    Change {
        path: "/v1/waivers",
        body: || json!({"brand": "acme", "from": "2026-03-01", "until": "2026-03-02", "because": "a gift"}),
        statement: "insert into waiver ",
        count: "select count(*) from waiver",
    },
    Change {
        path: "/v1/brands/acme/park",
        body: || json!({"because": "to be looked at"}),
        statement: "insert into request ",
        count: "select count(*) from request",
    },
];

/// A desk whose engine reaches its database by way of a proxy.
async fn behind_proxy(loss: Loss, request_timeout: Duration) -> (Desk, Proxy) {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY)]).await;
    let Desk { world, engine } = desk;
    engine.stop().await;
    let (server, _) = by_way_of(&world, None);
    let proxy = Proxy::waiting(server, loss).await;
    let (_, url) = by_way_of(&world, Some(proxy.address));
    let engine = world
        .engine_with(|config| {
            config.store.url = url.into();
            config.api.as_mut().unwrap().request_timeout = request_timeout;
        })
        .await;
    (Desk { world, engine }, proxy)
}

async fn send(client: &Client, change: &Change) -> Answer {
    let key = format!("once-{}", change.path.replace('/', "-"));
    let body = (change.body)().to_string();
    client.send("POST", change.path, &[("idempotency-key", &key)], Some(body)).await
}

async fn times(world: &World, change: &Change) -> i64 {
    sqlx::query_scalar(change.count).fetch_one(world.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_commit_s_reply_is_lost_is_not_made_again() {
    let (desk, proxy) = behind_proxy(Loss::Reply, Duration::from_secs(30)).await;
    let admin = desk.client("admin", None);
    for (at, change) in CHANGES.iter().enumerate() {
        proxy.lose_after(change.statement);
        let lost = send(&admin, change).await;
        assert_eq!((lost.status, lost.problem().as_str()), (503, "unavailable"), "{}", change.path);
        assert_eq!(proxy.losses() as usize, at + 1, "{}", change.path);
        for _ in 0..2 {
            let again = send(&admin, change).await;
            assert_eq!(again.problem(), "idempotency-answer-not-kept", "{}", change.path);
            assert!(again.text().contains("it was done, and its answer was lost"));
        }
        assert_eq!(times(&desk.world, change).await, 1, "{}", change.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_commit_never_came_is_made_when_it_is_sent_again() {
    let (desk, proxy) = behind_proxy(Loss::Request, Duration::from_secs(30)).await;
    let admin = desk.client("admin", None);
    for (at, change) in CHANGES.iter().enumerate() {
        proxy.lose_after(change.statement);
        let lost = send(&admin, change).await;
        assert_eq!((lost.status, lost.problem().as_str()), (503, "unavailable"), "{}", change.path);
        assert_eq!(proxy.losses() as usize, at + 1, "{}", change.path);
        assert_eq!(times(&desk.world, change).await, 0, "{}", change.path);
        let again = send(&admin, change).await;
        assert!(again.status < 300, "{}: {}", change.path, again.text());
        assert_eq!(times(&desk.world, change).await, 1, "{}", change.path);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_request_ran_out_of_time_is_not_made_again() {
    let (desk, proxy) = behind_proxy(Loss::Silence, Duration::from_secs(2)).await;
    let admin = desk.client("admin", None);
    let change = &CHANGES[0];
    proxy.lose_after(change.statement);
    assert_eq!(send(&admin, change).await.problem(), "timeout");
    // Its handler waits still for a reply that never comes.
    assert_eq!(send(&admin, change).await.problem(), "idempotency-key-in-use");
    let long_ago = "update idempotency_key set began_at = now() - interval '1 hour'";
    sqlx::query(long_ago).execute(desk.world.pool()).await.unwrap();
    assert_eq!(send(&admin, change).await.problem(), "idempotency-answer-not-kept");
    assert_eq!(times(&desk.world, change).await, 1);
}

/// The try that was left alone may come late: it finds that it is none any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_try_sends_after_it_was_given_up_is_refused() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY)]).await;
    let pool = desk.world.pool();
    let begin =
        async || idempotency::begin(pool, "caller", "key", Hash::of(&[b"request"])).await.unwrap();
    let hold = async |attempt: &Attempt| {
        let acme = BrandId::new("acme").unwrap();
        attempt.clone().of(holds::set(pool, &acme, None, "why", "who")).await
    };
    let Known::First(first) = begin().await else { panic!("it is the first") };
    assert_eq!(begin().await, Known::Running);
    let long_ago = "update idempotency_key set began_at = now() - interval '1 hour'";
    sqlx::query(long_ago).execute(pool).await.unwrap();
    let Known::First(second) = begin().await else { panic!("it was abandoned, with nothing done") };
    assert_ne!(first, second);
    assert!(matches!(hold(&first).await, Err(Error::Overtaken)));
    // Nor does it take away what is not its own.
    idempotency::end(pool, &first, false).await.unwrap();
    assert_eq!(begin().await, Known::Running);
    hold(&second).await.unwrap();
    assert_eq!(begin().await, Known::Running);
    idempotency::end(pool, &second, false).await.unwrap();
    assert_eq!(begin().await, Known::Done);
    let holds: i64 = sqlx::query_scalar("select count(*) from hold").fetch_one(pool).await.unwrap();
    assert_eq!(holds, 1);
}

/// A change that is being committed while its try is ended is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_is_not_taken_back_while_its_change_is_on_its_way() {
    let desk = Desk::new().await;
    let pool = desk.world.pool().clone();
    let hash = Hash::of(&[b"request"]);
    let begun = idempotency::begin(&pool, "caller", "key", hash).await.unwrap();
    let Known::First(attempt) = begun else { panic!("it is the first") };
    let change = attempt.clone().of(prooftally::store::change::begin(&pool)).await.unwrap();
    let (ended, at) = (pool.clone(), attempt.clone());
    let end = tokio::spawn(async move { idempotency::end(&ended, &at, false).await });
    wait_for("the end waits for the change", async || {
        let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database() and query like 'delete from idempotency_key%')";
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&pool).await.unwrap().then_some(())
    })
    .await;
    change.commit().await.unwrap();
    end.await.unwrap().unwrap();
    assert_eq!(idempotency::begin(&pool, "caller", "key", hash).await.unwrap(), Known::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_refuses_may_be_sent_again_under_its_key() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY)]).await;
    let admin = desk.client("admin", None);
    let park = &CHANGES[3];
    admin.post(park.path, (park.body)()).await.ok();
    for _ in 0..2 {
        let refused = send(&admin, park).await;
        assert_eq!(refused.problem(), "refused");
        assert!(refused.text().contains("it is parked already"), "{}", refused.text());
    }
    admin.post("/v1/brands/acme/unpark", json!({})).await.ok();
    let parked = send(&admin, park).await;
    assert_eq!(parked.ok()["state"], "done");
    let again = send(&admin, park).await;
    assert_eq!((again.ok(), again.headers["idempotency-replayed"].as_str()), (parked.ok(), "true"));
}

/// What changes nothing is not noted as done, whatever is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_nothing_to_change_may_be_sent_again_under_its_key() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY)]).await;
    let admin = desk.client("admin", None);
    let because = json!({"because": "settled"}).to_string();
    let send = async |path: &str| {
        admin.send("POST", path, &[("idempotency-key", path)], Some(because.clone())).await
    };
    let paths = ["/v1/holds/1/release", "/v1/waivers/1/withdraw"];
    for path in [paths[0], paths[0], paths[1], paths[1]] {
        assert_eq!(send(path).await.problem(), "not-found", "{path}");
    }
    for change in [&CHANGES[0], &CHANGES[2]] {
        let made = admin.post(change.path, (change.body)()).await;
        assert!(made.status < 300, "{}", made.text());
    }
    for path in paths {
        assert!(send(path).await.status < 300, "{path}");
        assert_eq!(send(path).await.headers["idempotency-replayed"], "true", "{path}");
    }
}

/// A run that goes on for longer than a try is waited for, and makes changes all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_still_makes_changes_is_not_given_up() {
    let world = World::new().await;
    world.store.migrate().await.unwrap();
    let (pool, hash) = (world.pool(), Hash::of(&[b"a run"]));
    let begin = async || idempotency::begin(pool, "key 1", "run", hash).await.unwrap();
    let Known::First(attempt) = begin().await else { panic!("nothing is known of it") };
    let age = "update idempotency_key set began_at = began_at - interval '11 minutes'";
    let make = async |attempt: &Attempt| {
        let change = attempt.clone().of(change::begin(pool)).await.unwrap();
        change.commit().await.unwrap();
    };
    make(&attempt).await;
    sqlx::query(age).execute(pool).await.unwrap();
    assert_eq!(begin().await, Known::Done, "nothing has come of it for long");
    make(&attempt).await;
    assert_eq!(begin().await, Known::Running);
}

/// A fault of ours ends the handler without an answer: the key is free as soon as that is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_gives_its_key_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let scenario = FailScenario::setup();
    let desk = Desk::new().await;
    desk.count(&[("r1", "acme", DAY)]).await;
    let admin = desk.client("admin", None);
    let key = "once-and-it-panics";
    let hold = async || {
        let body = (CHANGES[0].body)().to_string();
        admin.send("POST", CHANGES[0].path, &[("idempotency-key", key)], Some(body)).await
    };
    fail::cfg(format!("answer {key}"), "panic(not this time)").unwrap();
    assert_eq!(hold().await.problem(), "internal");
    scenario.teardown();
    let made = wait_for("the key is free", async || {
        let again = hold().await;
        let is_in_use = again.status == 409 && again.problem() == "idempotency-key-in-use";
        (!is_in_use).then_some(again)
    })
    .await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(times(&desk.world, &CHANGES[0]).await, 1);
}
