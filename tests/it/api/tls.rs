//! TLS: what a client sees of a certificate, and that keys never cross a network in the clear unasked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prooftally::api::TlsFiles;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Desk;
use super::issuer::{Issuer, Key, now};
use crate::harness::{DEADLINE, World};
use serde_json::json;

/// A certificate for `localhost` with its key, in files.
fn certificate(folder: &TempDir, name: &str) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |kind: &str, text: String| {
        let file = folder.path().join(format!("{name}.{kind}.pem"));
        std::fs::write(&file, text).unwrap();
        file
    };
    TlsFiles {
        certificate: file("certificate", made.cert.pem()),
        key: file("key", made.signing_key.serialize_pem()),
    }
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, key: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that ends without a farewell of TLS is an error, after what it said.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_served_with_the_certificate_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(&folder, "own");
    let world = World::configured(|config| {
        config.api.tls_certificate_file = Some(files.certificate.clone());
        config.api.tls_key_file = Some(files.key.clone());
    });
    let desk = Desk::in_world(world.await).await;
    let key = desk.client("finance", None).key.unwrap();
    let server = ServerName::try_from("localhost").unwrap();
    let connect = async |client: TlsConnector| {
        let stream = TcpStream::connect(desk.address()).await.unwrap();
        client.connect(server.clone(), stream).await
    };
    let stream = connect(trusting(&files.certificate)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let answer = ask(stream, "/v1/me", &key).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#""roles":["finance"],"brand":null}"#), "{answer}");

    // Who is told of another certificate says no, and nothing is answered in the clear.
    let other = certificate(&folder, "other");
    assert!(connect(trusting(&other.certificate)).await.is_err());
    let plain = TcpStream::connect(desk.address()).await.unwrap();
    let answer = ask(plain, "/v1/me", &key).await;
    assert!(!answer.contains("HTTP/1"), "{answer}");

    // Files that do not go together are said at the start.
    let mut config = prooftally::engine::Config::of(&desk.world.config);
    let api = config.api.as_mut().unwrap();
    api.tls = Some(TlsFiles { key: other.key, ..files });
    let error = prooftally::engine::Engine::start(config).await.err().map(|one| format!("{one:#}"));
    let error = error.expect("it does not start");
    assert!(error.contains("do not go together"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_ends_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(&folder, "own");
    let world = World::new().await;
    let engine = world
        .engine_with(|config| {
            let api = config.api.as_mut().unwrap();
            api.tls = Some(files);
            api.sockets.handshake = Duration::from_millis(300);
        })
        .await;
    let mut silent = TcpStream::connect(engine.api.unwrap()).await.unwrap();
    // The first bytes of a greeting, and then nothing.
    silent.write_all(&[22, 3, 1]).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, silent.read(&mut [0; 64])).await;
    assert!(matches!(ended.expect("it is ended"), Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_s_keys_are_fetched_over_tls_from_whom_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (files, other) = (certificate(&folder, "own"), certificate(&folder, "other"));
    let key = Key::ed("ed");
    let issuer = Issuer::start_with_tls(std::slice::from_ref(&key), &files).await;
    for (trusted, status) in [(&files.certificate, 200), (&other.certificate, 401)] {
        let world = World::configured(|config| {
            config.api.oidc.issuer = issuer.name();
            config.api.oidc.ca_file = Some(trusted.clone());
        });
        let desk = Desk::in_world(world.await).await;
        let claims = json!({"iss": issuer.name(), "aud": "prooftally", "sub": "u-1",
            "exp": now() + 300, "realm_access": {"roles": ["finance"]}});
        let client = super::Client::new(desk.address(), &key.token(&claims));
        assert_eq!(client.get("/v1/me").await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_do_not_cross_a_network_in_the_clear_unless_somebody_says_so() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(&folder, "own");
    let (certificate, key) =
        (files.certificate.display().to_string(), files.key.display().to_string());
    let check = |command: &[&str], more: &[(&str, &str)]| {
        std::process::Command::new(crate::harness::engine_process::PROGRAM)
            .args(command)
            .envs(world.variables())
            .env("PROOFTALLY__API__LISTEN", "0.0.0.0:9465")
            .envs(more.iter().copied())
            .output()
            .unwrap()
    };
    // The engine does not even start.
    for command in [&["config", "check"][..], &["serve"]] {
        let refused = check(command, &[]);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("keys would cross the network in the clear"), "{why}");
    }
    for let_pass in [
        &[("PROOFTALLY__API__PLAIN_HTTP", "true")][..],
        &[("PROOFTALLY__API__ENABLED", "false")],
        &[
            ("PROOFTALLY__API__TLS_CERTIFICATE_FILE", certificate.as_str()),
            ("PROOFTALLY__API__TLS_KEY_FILE", key.as_str()),
        ],
    ] {
        let checked = check(&["config", "check"], let_pass);
        assert!(checked.status.success(), "{let_pass:?}: {checked:?}");
    }
    let half = [("PROOFTALLY__API__TLS_KEY_FILE", key.as_str())];
    assert_eq!(check(&["config", "check"], &half).status.code(), Some(3));
    let open = [("PROOFTALLY__API__OIDC__ISSUER", "http://id.example/realms/network")];
    let open = [("PROOFTALLY__API__PLAIN_HTTP", "true"), open[0]];
    let refused = check(&["config", "check"], &open);
    assert_eq!(refused.status.code(), Some(3), "a provider without TLS");
}
