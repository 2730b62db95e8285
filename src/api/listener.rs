//! TLS: connections whose handshake is done, so that a slow client keeps nobody waiting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::TlsFiles;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that are not taken yet.
const WAITING_MAX: usize = 64;
/// After an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

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
    pub fn listen(self, listener: TcpListener) -> Accepted {
        let (done, ready) = mpsc::channel(WAITING_MAX);
        let address = listener.local_addr();
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        tokio::spawn(handshake(self.acceptor.clone(), stream, peer, done.clone()));
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
    done: mpsc::Sender<Connection>,
) {
    match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
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
