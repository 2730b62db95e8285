//! Asks the API at fixed times, whether earlier answers are there or not. A latency counts from the time
//! at which a request was to be sent, so that a stall is not hidden.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc as answers};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use crate::questions::{Operation, Question};

/// Connections that are kept: twice what the API has to the database.
const CONNECTIONS: usize = 16;

/// What became of a question.
#[derive(Debug)]
pub struct Answer {
    pub operation: Operation,
    pub latency: Duration,
    /// False if it warmed up.
    pub counts: bool,
    /// Why the answer is not one.
    pub fault: Option<String>,
}

type Queue = Arc<Mutex<mpsc::UnboundedReceiver<(Instant, Question)>>>;

/// Asks them all, and blocks until all are answered. The client has a thread of its own, so that publishing
/// does not hold it up.
pub fn ask(
    address: SocketAddr,
    key: &str,
    questions: Vec<Question>,
) -> anyhow::Result<Vec<Answer>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (send, queue) = mpsc::unbounded_channel();
    let (tell, told) = answers::channel();
    let queue: Queue = Arc::new(Mutex::new(queue));
    for _ in 0..CONNECTIONS {
        let sender = runtime.block_on(connect(address))?;
        let connection = Connection { address, key: key.to_owned(), sender };
        runtime.spawn(connection.work(Arc::clone(&queue), tell.clone()));
    }
    drop(tell);
    let count = questions.len();
    let began = Instant::now();
    for question in questions {
        let at = began + question.after;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        send.send((at, question)).ok().context("no connection is left")?;
    }
    drop(send);
    let answers: Vec<Answer> = told.iter().collect();
    anyhow::ensure!(answers.len() == count, "{} of {count} answers came", answers.len());
    Ok(answers)
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its failure is seen by the request on it.
    tokio::spawn(connection);
    Ok(sender)
}

struct Connection {
    address: SocketAddr,
    key: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl Connection {
    /// Takes questions until there are no more.
    async fn work(mut self, queue: Queue, tell: answers::Sender<Answer>) {
        loop {
            let next = queue.lock().await.recv().await;
            let Some((at, question)) = next else { return };
            let answered = self.get(&question.target).await;
            let latency = at.elapsed();
            let fault = answered.and_then(|(status, body)| check(status, &body)).err();
            let fault = fault.map(|fault| format!("{}: {fault:#}", question.target));
            let Question { operation, counts, .. } = question;
            if tell.send(Answer { operation, latency, counts, fault }).is_err() {
                return;
            }
        }
    }

    async fn get(&mut self, target: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::get(target)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .body(Empty::new())?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        // Until the connection takes the next one.
        self.sender.ready().await?;
        Ok((status, body))
    }
}

/// # Errors
/// If it is a problem, or says nothing.
fn check(status: StatusCode, body: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(body));
    let body: Value = serde_json::from_slice(body).context("it is no JSON")?;
    let is_empty = match &body {
        Value::Object(fields) => match fields.get("data") {
            Some(Value::Array(rows)) => rows.is_empty(),
            _ => fields.is_empty(),
        },
        _ => true,
    };
    anyhow::ensure!(!is_empty, "it is empty");
    Ok(())
}
