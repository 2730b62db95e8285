//! A client of the API that sees everything that is answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Who calls where.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub key: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self { address, key: Some(key.to_owned()) }
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], None).await
    }

    pub async fn post(&self, target: &str, body: Value) -> Answer {
        self.send("POST", target, &[], Some(body.to_string())).await
    }

    /// Puts a state in the place of the one that was seen.
    pub async fn put(&self, target: &str, seen: &str, body: Value) -> Answer {
        self.send("PUT", target, &[("if-match", seen)], Some(body.to_string())).await
    }

    /// In HTTP 1.0, so that the body is what comes until the connection ends.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = format!("{method} {target} HTTP/1.0\r\nhost: api\r\n");
        if let Some(key) = &self.key {
            request.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &body {
            let length = body.len();
            request.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            ));
        }
        request.push_str("\r\n");
        request.push_str(body.as_deref().unwrap_or_default());
        let mut socket = TcpStream::connect(self.address).await.expect("it listens");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.expect("it answers");
        Answer::read(&answer)
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        Self {
            status: status.expect("an HTTP status"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The body, which was answered with 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The body, which was answered with this status.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The name of the first thing that is wrong.
    #[track_caller]
    pub fn fault(&self) -> String {
        self.problem();
        self.json()["errors"][0]["code"].as_str().expect("it says what").to_owned()
    }

    /// The problem's name. Asserts what is true of every problem.
    #[track_caller]
    pub fn problem(&self) -> String {
        let text = self.text();
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/problem+json"),
            "{} {text}",
            self.status
        );
        let body = self.json();
        assert_eq!(body["status"], self.status, "{text}");
        assert_eq!(body["instance"].as_str(), self.headers.get("x-request-id").map(String::as_str));
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
        let lower = text.to_lowercase();
        for leak in ["select ", "insert into", "sqlx", "pg_", "src/", ".rs:", "panicked", "/tmp/"] {
            assert!(!lower.contains(leak), "a problem says {leak:?}: {text}");
        }
        let name = body["type"].as_str().and_then(|name| name.strip_prefix("/problems/"));
        name.expect("a type with a page").to_owned()
    }
}
