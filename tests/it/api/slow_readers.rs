//! Streamed answers whose readers do not read: they end, and hold up nobody else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::Desk;
use super::client::Client;
use crate::harness::{World, wait_for};

const STREAMED: &str = "/v1/usage?by=day,supplier,product,predicate";
/// Receipts of a group each, so that the answer is longer than what sockets hold.
const RECEIPTS: u32 = 16_000;

async fn count_groups(desk: &Desk) {
    let long = "x".repeat(240);
    let events = (0..RECEIPTS).map(|number| {
        format!(
            r#"{{"receiptId":"r-{number}","predicateId":"CERT_VALID@V1","brandId":"brand-a","supplierId":"{long}","productRef":"{number}-{long}","result":true,"verifiedAt":"2026-03-01T12:00:00Z"}}"#
        )
    });
    desk.world.publish_raw("proofs.verified", events).await;
    desk.world.wait_until_metered().await;
}

/// Asks, and does not read.
async fn ask(client: &Client) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(client.address).await.unwrap();
    let key = client.key.as_deref().unwrap();
    let request =
        format!("GET {STREAMED} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {key}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Connections in which usage is being read.
async fn held(desk: &Desk) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() \
            and pid <> pg_backend_pid() and state <> 'idle' and query like '%supplier%'",
    )
    .fetch_one(desk.world.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_who_do_not_read_hold_up_nobody_else_and_are_ended() {
    let mut desk = Desk::in_world(World::new().await).await;
    count_groups(&desk).await;
    let keys: Vec<Client> = (0..4).map(|_| desk.client("finance_read", None)).collect();
    let of = |keys: &[Client], address| -> Vec<Client> {
        keys.iter().map(|client| Client { address, key: client.key.clone() }).collect()
    };

    desk.engine.stop().await;
    desk.engine = desk
        .world
        .engine_with(|config| {
            let api = config.api.as_mut().unwrap();
            api.streams.part = Duration::from_secs(600);
            api.streams.place = Duration::from_millis(100);
        })
        .await;
    let clients = of(&keys, desk.address());
    let mut sockets = Vec::new();
    for client in [&clients[0], &clients[0], &clients[1], &clients[1]] {
        sockets.push(ask(client).await);
    }
    wait_for("four are streamed", async || (held(&desk).await == 4).then_some(())).await;
    for client in [&clients[0], &clients[1], &clients[2], &clients[2]] {
        sockets.push(ask(client).await);
    }
    clients[3].get("/v1/brands").await.ok();
    let own = clients[0].get(STREAMED).await;
    assert_eq!((own.status, own.problem().as_str()), (429, "too-many-requests"));
    assert_eq!(own.headers["retry-after"], "5");
    let all = clients[3].get(STREAMED).await;
    assert_eq!((all.status, all.problem().as_str()), (503, "unavailable"));
    assert_eq!(all.headers["retry-after"], "5");
    assert_eq!(held(&desk).await, 4);
    drop(sockets);
    wait_for("those who went away hold nothing", async || (held(&desk).await == 0).then_some(()))
        .await;

    desk.engine.stop().await;
    desk.engine = desk
        .world
        .engine_with(|config| {
            let api = config.api.as_mut().unwrap();
            api.streams.part = Duration::from_millis(500);
        })
        .await;
    let clients = of(&keys, desk.address());
    let mut late = ask(&clients[0]).await;
    late.readable().await.unwrap();
    wait_for("the connection is back", async || (held(&desk).await == 0).then_some(())).await;
    let mut answer = Vec::new();
    // It may end with a reset.
    let _ = late.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "what was cut off looks whole");
    let whole = clients[0].get(STREAMED).await.ok();
    assert_eq!(whole["data"].as_array().map(Vec::len), Some(RECEIPTS as usize));
}
