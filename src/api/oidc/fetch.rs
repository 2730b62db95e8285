//! Small JSON documents of the identity provider, over HTTPS. Redirects are not followed, so that nobody
//! but who is configured says what the keys are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::http::uri::Scheme;
use axum::http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const TIMEOUT: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 256 << 10;

/// Who fetches.
pub struct Fetcher {
    tls: TlsConnector,
}

impl Fetcher {
    /// Trusts the certificates of the machine, or those of `ca_file` and no others.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = ca_file {
            for certificate in CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .context("api.oidc.ca_file cannot be read as PEM")?
            {
                roots.add(certificate).context("api.oidc.ca_file holds what is no authority")?;
            }
            ensure!(!roots.is_empty(), "api.oidc.ca_file holds no certificate");
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// What is served at `url`.
    ///
    /// # Errors
    /// If it cannot be reached in time, answers with anything but 200, or with no JSON or too much of it.
    pub async fn json(&self, url: &Uri) -> anyhow::Result<Value> {
        let fetched = tokio::time::timeout(TIMEOUT, self.get(url)).await;
        let bytes = fetched.context("it does not answer in time")??;
        serde_json::from_slice(&bytes).context("it does not answer with JSON")
    }

    async fn get(&self, url: &Uri) -> anyhow::Result<Bytes> {
        ensure!(is_good(url), "the address is neither HTTPS nor on this machine");
        let host = url.host().context("the address has no host")?;
        let is_tls = url.scheme() == Some(&Scheme::HTTPS);
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let name = host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((name, port)).await.context("no connection")?;
        if is_tls {
            let server = ServerName::try_from(name.to_owned())?;
            let stream = self.tls.connect(server, stream).await.context("no TLS")?;
            ask(url, TokioIo::new(stream)).await
        } else {
            ask(url, TokioIo::new(stream)).await
        }
    }
}

/// HTTPS, or HTTP that does not leave the machine; without a name or password.
pub fn is_good(url: &Uri) -> bool {
    let is_local = matches!(url.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let is_plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let scheme = url.scheme();
    is_plain && (scheme == Some(&Scheme::HTTPS) || (scheme == Some(&Scheme::HTTP) && is_local))
}

async fn ask<S>(url: &Uri, stream: S) -> anyhow::Result<Bytes>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await?;
    let task = tokio::spawn(connection);
    let host = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("it answers with status {}", response.status().as_u16());
    }
    let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
    task.abort();
    let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?;
    Ok(body.to_bytes())
}
