//! Connections: not more than there may be, each with a limit for the head of a request; and TLS, whose handshake is
//! done before a connection is taken, so that a slow client keeps nobody waiting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::TlsFiles;
use super::patient::Patient;

/// Connections whose handshake is done and that are not taken yet.
const WAITING_MAX: usize = 64;
/// After an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// TLS handshakes at once.
const HANDSHAKES_MAX: usize = 256;

/// How many connections there may be, and how long they may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait until one ends.
    pub connections: usize,
    /// For the whole head of a request, from when the connection is made or the answer before was sent.
    pub head: Duration,
    /// How long a client may take nothing of what is sent to it. A connection whose client does has its end.
    pub stall: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            head: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
        }
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers what comes from `listener`, a task for each connection, until it is dropped.
pub async fn serve<L>(mut listener: L, router: Router, limits: Limits)
where
    L: Listener<Addr = SocketAddr>,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    // They are never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = listener.accept().await;
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(limits.head);
        let stream = TokioIo::new(Patient::new(stream, limits.stall));
        let connection = server.serve_connection(stream, service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "a connection of the API has ended");
            }
            drop(place);
        });
    }
}

/// What a server says of itself.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// If a file cannot be read, or they do not go together.
    pub fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect)
            .context("api.tls_certificate_file cannot be read as PEM")?;
        anyhow::ensure!(!chain.is_empty(), "api.tls_certificate_file holds no certificate");
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .context("api.tls_key_file cannot be read as a private key in PEM")?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("api.tls_certificate_file and api.tls_key_file do not go together")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Accepts connections of `listener` in a task of its own.
    pub fn listen(self, listener: TcpListener, handshake_max: Duration) -> Accepted {
        let (done, ready) = mpsc::channel(WAITING_MAX);
        let address = listener.local_addr();
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
            // They are never closed.
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let (acceptor, done) = (self.acceptor.clone(), done.clone());
                        tokio::spawn(async move {
                            handshake(acceptor, stream, peer, handshake_max, done).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the API's listener accepted nothing");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        Accepted { ready, address, task }
    }
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    longest: Duration,
    done: mpsc::Sender<Connection>,
) {
    match tokio::time::timeout(longest, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let _ = done.send((stream, peer)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

/// Connections whose handshake is done.
pub struct Accepted {
    ready: mpsc::Receiver<Connection>,
    address: io::Result<SocketAddr>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener for Accepted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The task that accepts never ends by itself.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address.as_ref().copied().map_err(|error| io::Error::from(error.kind()))
    }
}
