//! Clients that hang: each loses its place within a bound, and somebody else gets it.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Desk;
use super::client::Client;
use crate::harness::world::metrics;
use crate::harness::{DEADLINE, World, wait_for};

/// So many answers of the longest document are more than the sockets of both sides hold.
const ASKED: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_loses_its_place() {
    let desk = Desk::with_sockets(|sockets| {
        sockets.connections = 1;
        sockets.stall = Duration::from_millis(500);
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stalled = socket.connect(desk.address()).await.unwrap();
    let request = "GET /openapi.json HTTP/1.1\r\nhost: api\r\n\r\n".repeat(ASKED);
    stalled.write_all(request.as_bytes()).await.unwrap();
    stalled.readable().await.unwrap();
    // There is one place, and it comes free although the socket stays open.
    let answer = tokio::time::timeout(DEADLINE, desk.anybody().get("/livez")).await;
    assert_eq!(answer.expect("there is a place").text(), "alive\n");
    let mut read = Vec::new();
    let _ = stalled.read_to_end(&mut read).await;
    let document = desk.anybody().get("/openapi.json").await.body.len();
    assert!(read.len() < ASKED * document, "all was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_loses_its_place() {
    let desk = Desk::with_sockets(|sockets| {
        sockets.connections = 1;
        sockets.head = Duration::from_millis(500);
    })
    .await;
    let silent = TcpStream::connect(desk.address()).await.unwrap();
    let answer = tokio::time::timeout(DEADLINE, desk.anybody().get("/livez")).await;
    assert_eq!(answer.expect("there is a place").text(), "alive\n");
    drop(silent);
}

/// Changes that wait for each other hold a connection each, and leave one to who reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_wait_leave_room_for_who_reads() {
    let mut world = World::new().await;
    world.config.api.connections_max = 2;
    let desk = Desk::in_world(world).await;
    let admin = desk.client("admin", None);
    let mut lock = desk.world.pool().begin().await.unwrap();
    sqlx::query("lock table activity in exclusive mode").execute(&mut *lock).await.unwrap();
    let make = |name: &'static str| {
        let admin = admin.clone();
        tokio::spawn(async move {
            admin.post("/v1/keys", json!({"name": name, "role": "finance"})).await
        })
    };
    let made = [make("a"), make("b"), make("c")];
    somebody_waits(&desk).await;
    admin.get("/v1/brands").await.ok();
    lock.rollback().await.unwrap();
    for made in made {
        assert_eq!(made.await.unwrap().status, 201);
    }
}

/// Each connection to the database is in use: that is said as what it is, and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_full_is_no_database_that_is_away() {
    let mut world = World::new().await;
    world.config.api.connections_max = 1;
    world.config.database.acquire_timeout_ms = 300;
    let desk = Desk::in_world(world).await;
    let admin = desk.client("admin", None);
    admin.get("/v1/activity").await.ok();
    let mut lock = desk.world.pool().begin().await.unwrap();
    sqlx::query("lock table activity in access exclusive mode").execute(&mut *lock).await.unwrap();
    let waits = tokio::spawn({
        let admin = admin.clone();
        async move { admin.get("/v1/activity").await }
    });
    somebody_waits(&desk).await;
    let busy = admin.get("/v1/brands").await;
    assert_eq!((busy.status, busy.problem().as_str()), (503, "busy"));
    assert_eq!(busy.headers["retry-after"], "1");
    let made = admin.post("/v1/keys", json!({"name": "books", "role": "finance"})).await;
    assert_eq!(made.problem(), "busy");
    lock.rollback().await.unwrap();
    waits.await.unwrap().ok();
    let text = metrics(&desk.engine).await;
    assert!(text.contains("prooftally_api_busy_total 2\n"), "{text}");
    admin.get("/v1/brands").await.ok();
}

/// A change has the only connection, and somebody else takes it as soon as it is made: it is answered as made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_answered_as_made_though_each_connection_is_in_use() {
    let mut world = World::new().await;
    world.config.api.connections_max = 1;
    world.config.database.acquire_timeout_ms = 2_000;
    let desk = Desk::in_world(world).await;
    desk.count(&[("r1", "acme", "2026-03-01")]).await;
    let admin = desk.client("admin", None);
    let lock = async |statement: &'static str| {
        let mut lock = desk.world.pool().begin().await.unwrap();
        sqlx::query(statement).execute(&mut *lock).await.unwrap();
        lock
    };
    for path in ["/v1/brands/acme/hold", "/v1/brands/acme/park"] {
        let changes = lock("lock table activity in exclusive mode").await;
        let post = |admin: Client| async move { admin.post(path, json!({"because": "why"})).await };
        let made = tokio::spawn(post(admin.clone()));
        somebody_waits(&desk).await;
        let keys = lock("lock table api_key in access exclusive mode").await;
        let other = admin.clone();
        let reads = tokio::spawn(async move { other.get("/v1/brands").await });
        // Nobody can see that it waits within the engine. If it does not yet, less is tried here.
        tokio::time::sleep(Duration::from_millis(300)).await;
        changes.rollback().await.unwrap();
        let answer = made.await.unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.text());
        keys.rollback().await.unwrap();
        reads.await.unwrap().ok();
    }
}

/// Waits until a statement waits for a lock of a table.
async fn somebody_waits(desk: &Desk) {
    let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' \
        and datname = current_database())";
    wait_for("a statement waits for the table", async || {
        let waits = sqlx::query_scalar::<_, bool>(waits).fetch_one(desk.world.pool());
        waits.await.unwrap().then_some(())
    })
    .await;
}
