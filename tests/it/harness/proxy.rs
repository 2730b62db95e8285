//! A proxy before PostgreSQL that loses what it is told to lose.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

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

/// Forwards connections, and loses some of their commits.
pub struct Proxy {
    pub address: SocketAddr,
    losses: Arc<AtomicU32>,
    wanted: Arc<Wanted>,
    task: tokio::task::JoinHandle<()>,
}

/// Which commits are lost.
struct Wanted {
    /// Those whose number, over all connections, is a multiple of this.
    every: u32,
    commits: AtomicU32,
    /// And the next one of the connection that sends this text first.
    after: Mutex<Option<String>>,
}

impl Wanted {
    /// True if a connection that sends this has sent what its next commit is lost for.
    fn marks(&self, part: &[u8]) -> bool {
        let mut after = self.after.lock().unwrap();
        let is_it = |text: &String| part.windows(text.len()).any(|some| some == text.as_bytes());
        after.take_if(|text| is_it(text)).is_some()
    }

    fn is_every(&self) -> bool {
        self.commits.fetch_add(1, Ordering::Relaxed) % self.every == self.every - 1
    }
}

impl Proxy {
    /// Loses each commit whose number, over all connections, is a multiple of `every`.
    pub async fn start(server: SocketAddr, loss: Loss, every: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let losses = Arc::new(AtomicU32::new(0));
        let wanted = Wanted { every, commits: AtomicU32::new(0), after: Mutex::new(None) };
        let wanted = Arc::new(wanted);
        let (counter, which) = (Arc::clone(&losses), Arc::clone(&wanted));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (which, losses) = (Arc::clone(&which), Arc::clone(&counter));
                tokio::spawn(async move {
                    if forward(client, server, loss, &which).await.is_err() {
                        losses.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, losses, wanted, task }
    }

    /// Loses only the commits that [`Self::lose_after`] says.
    pub async fn waiting(server: SocketAddr, loss: Loss) -> Self {
        Self::start(server, loss, u32::MAX).await
    }

    /// Loses the next commit of the connection that sends `text` first. Statements are sent once a connection.
    pub fn lose_after(&self, text: &str) {
        *self.wanted.after.lock().unwrap() = Some(text.to_owned());
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
    which: &Wanted,
) -> Result<(), Lost> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (stop, stopped) = oneshot::channel::<()>();
    let back = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            _ = stopped => {}
        }
        // A half that is dropped ends its direction, which is no silence.
        to_client
    });
    let mut bytes = vec![0; 64 << 10];
    let mut is_marked = false;
    loop {
        let Ok(count @ 1..) = from_client.read(&mut bytes).await else { return Ok(()) };
        let part = &bytes[..count];
        // The driver sends this message by itself, after it has read the reply to what came before.
        let commits = part.windows(7).any(|window| window == b"COMMIT\0");
        is_marked |= which.marks(part);
        if !commits || !(is_marked || which.is_every()) {
            if to_server.write_all(part).await.is_err() {
                return Ok(());
            }
            continue;
        }
        // Both halves of both connections end when this returns, but for a silent one.
        let _ = stop.send(());
        let _open = back.await;
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
