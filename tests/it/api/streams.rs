//! What is streamed: the engine's memory does not grow with it, a reader's pace is the database's, and who
//! hangs up ends the query.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::client::Client;
use crate::documents::{MARCH, Till};
use crate::harness::{EngineProcess, wait_for};

const ROWS: usize = 300_000;
/// What the engine's memory may grow by while it answers with all rows, whose texts alone are longer.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// Books with an invoice, without an engine.
async fn books() -> (Till, String) {
    let till = Till::with(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    let invoice = till.finalize("acme", MARCH, "36.89");
    till.stop().await;
    (till, invoice)
}

/// Puts further receipts behind it: more than can be metered in a test.
async fn fill(till: &Till, rows: usize) {
    till.by_force("update document_period set cutoff = 1000000").await;
    let fill = format!(
        "insert into ledger (entry, sequence, digest, verified_at, epoch, brand_no, predicate_no, \
            usage_day, receipt_key, source, result, receipt_id, supplier, product) \
         select 1000 + n, 1000 + n, n, '2026-03-05T12:00:00Z', 1, brand_no, predicate_no, \
            '2026-03-05', gen_random_uuid(), 0, true, 'more-' || n, 'mill', lpad(n::text, 100, '0') \
         from (select brand_no, predicate_no from ledger limit 1) l, generate_series(1, {rows}) n"
    );
    till.by_force(&fill).await;
}

/// An engine in a process of its own, and a client of its API.
async fn serve(till: &Till, key: &[&str], timeout_ms: &str) -> (EngineProcess, Client) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = free.to_string();
    // An audit reads the ledger too, and would not take its rows for what they say.
    let variables = [
        ("PROOFTALLY__API__LISTEN", listen.as_str()),
        ("PROOFTALLY__AUDIT__EVERY_HOURS", "0"),
        ("PROOFTALLY__API__REQUEST_TIMEOUT_MS", timeout_ms),
    ];
    let engine = EngineProcess::start_with(&till.world, &variables);
    wait_for("the API listens", async || TcpStream::connect(free).await.ok()).await;
    let arguments = [&["keys", "create", "--name", "test", "--role", "finance_read"], key].concat();
    let made = till.world.prooftally(&arguments);
    assert!(made.status.success(), "{made:?}");
    let key = String::from_utf8(made.stdout).unwrap();
    (engine, Client::new(free, key.trim()))
}

/// Asks, and reads nothing yet. Little of the answer fits between the two.
async fn ask(client: &Client, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut socket = socket.connect(client.address).await.unwrap();
    let key = client.key.as_deref().unwrap();
    let request =
        format!("GET {target} HTTP/1.0\r\nhost: api\r\nauthorization: Bearer {key}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Whether a statement of the API reads the ledger, and waits for this.
async fn reads_ledger(till: &Till, waits_for: Option<&str>) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where datname = current_database() \
            and pid <> pg_backend_pid() and state = 'active' and query like '%ledger%' \
            and ($1::text is null or wait_event = $1))",
    )
    .bind(waits_for)
    .fetch_one(till.world.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_streamed_takes_no_memory_however_long_it_is() {
    let (till, invoice) = books().await;
    let (engine, client) = serve(&till, &[], "60000").await;
    fill(&till, ROWS).await;
    client.get("/v1/usage?by=predicate&until=2026-03-02").await.ok();
    client.get("/v1/usage?by=product&until=2026-03-02").await.ok();
    client.get(&format!("/v1/invoices/{invoice}/receipts?limit=10")).await.ok();
    let before = engine.memory_peak_bytes();
    let receipts = format!("/v1/invoices/{invoice}/receipts?format=csv");
    // March's own and April's are two further products, and a receipt of March; CSV has a head.
    for (target, mark, marks) in [
        ("/v1/usage?by=product&format=csv", "\r\n", ROWS + 2),
        ("/v1/usage?by=product", "\"product\":", ROWS + 1),
        (receipts.as_str(), "\r\n", ROWS + 2),
    ] {
        let mut socket = ask(&client, target).await;
        // The reader reads nothing, so the database waits and nobody takes its rows.
        wait_for("the database waits for the reader", async || {
            reads_ledger(&till, Some("ClientWrite")).await.then_some(())
        })
        .await;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert_eq!(body.matches(mark).count(), marks, "{target}");
        assert!(body.len() as u64 > GROWTH_BYTES_MAX / 2, "{target}: {}", body.len());
        let growth = engine.memory_peak_bytes().saturating_sub(before);
        assert!(growth < GROWTH_BYTES_MAX, "{target} took {growth} bytes");
    }
    assert_eq!(engine.stop(), Some(0));
}

/// The stream stands still at a row, which a lock holds: nothing but the end of the statement ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_or_waits_too_long_ends_the_query() {
    let (till, invoice) = books().await;
    // So that rows come before all of them are read.
    let database: String = till.scalar("select current_database()::text").await;
    for other in ["sort", "hashjoin", "mergejoin"] {
        till.by_force(&format!("alter database {database} set enable_{other} = off")).await;
    }
    till.by_force(
        "create or replace view own_rows.ledger with (security_barrier = true) as \
         select * from public.ledger where brand_no = (select public.own_brand()) \
            and (entry <> 1300 or pg_advisory_xact_lock_shared(5000) is not null) order by entry",
    )
    .await;
    let (engine, client) = serve(&till, &["--brand", "acme"], "5000").await;
    fill(&till, 5_000).await;
    let mut holder = till.world.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(5000)").execute(&mut *holder).await.unwrap();
    let receipts = format!("/v1/invoices/{invoice}/receipts?format=csv");
    let mut socket = ask(&client, &receipts).await;
    let mut part = [0; 1_024];
    assert!(socket.read(&mut part).await.unwrap() > 0);
    assert!(part.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&part));
    wait_for("the stream stands still", async || {
        reads_ledger(&till, Some("advisory")).await.then_some(())
    })
    .await;
    drop(socket);
    wait_for("the query ends", async || (!reads_ledger(&till, None).await).then_some(())).await;

    // Groups are not known before all rows are: nothing is there to send, and the request's time is over.
    let late = client.get("/v1/usage?by=product").await;
    assert_eq!(late.problem(), "timeout");
    wait_for("that query ends", async || (!reads_ledger(&till, None).await).then_some(())).await;
    holder.rollback().await.unwrap();
    assert_eq!(engine.stop(), Some(0));
}
