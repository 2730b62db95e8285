//! A proxy before PostgreSQL that loses what it is told to lose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a commit that the proxy is told to lose.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// PostgreSQL commits, and the connection ends before its reply.
    Reply,
    /// The connection ends before PostgreSQL hears of it.
    Request,
    /// PostgreSQL commits, and the connection stays open without a reply.
    Silence,
}

/// Forwards connections, and loses one in so many commits.
pub struct Proxy {
    pub address: SocketAddr,
    losses: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Loses each commit whose number, over all connections, is a multiple of `every`.
    pub async fn start(server: SocketAddr, loss: Loss, every: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let losses = Arc::new(AtomicU32::new(0));
        let (commits, counter) = (Arc::new(AtomicU32::new(0)), Arc::clone(&losses));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (commits, losses) = (Arc::clone(&commits), Arc::clone(&counter));
                tokio::spawn(async move {
                    let is_lost = || commits.fetch_add(1, Ordering::Relaxed) % every == every - 1;
                    if forward(client, server, loss, is_lost).await.is_err() {
                        losses.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, losses, task }
    }

    /// Commits that were lost.
    pub fn losses(&self) -> u32 {
        self.losses.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A commit was lost.
struct Lost;

/// Forwards until either side ends.
async fn forward(
    client: TcpStream,
    server: TcpStream,
    loss: Loss,
    is_lost: impl Fn() -> bool,
) -> Result<(), Lost> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from_client.read(&mut bytes).await else { return Ok(()) };
        let part = &bytes[..count];
        // The driver sends this message by itself, after it has read the reply to what came before.
        let commits = part.windows(7).any(|window| window == b"COMMIT\0");
        if !commits || !is_lost() {
            if to_server.write_all(part).await.is_err() {
                return Ok(());
            }
            continue;
        }
        // Both halves of both connections end when this returns, but for a silent one.
        back.abort();
        let _ = back.await;
        if !matches!(loss, Loss::Request) {
            let _ = to_server.write_all(part).await;
            let _ = to_server.flush().await;
        }
        if matches!(loss, Loss::Silence) {
            // Until the engine gives the connection up.
            while matches!(from_client.read(&mut bytes).await, Ok(1..)) {}
        }
        return Err(Lost);
    }
}
