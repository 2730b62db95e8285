//! The API's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Config;
use super::problem::Problem;
use super::secret;

/// The listener for finance, brands and other services.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    pub enabled: bool,
    pub listen: SocketAddr,
    /// Certificates in PEM, the server's own first; with `tls_key_file`.
    #[serde(with = "secret::optional_file")]
    pub tls_certificate_file: Option<PathBuf>,
    #[serde(with = "secret::optional_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Plain HTTP beyond loopback, where something in front of it does TLS.
    pub plain_http: bool,
    /// Connections of its own pool.
    pub connections_max: u32,
    pub body_bytes_max: usize,
    /// Milliseconds after which a request is answered with a problem.
    pub request_timeout_ms: u64,
    /// Rows of a page at most.
    pub page_rows_max: u32,
    /// Of one caller, lasting, and how many may come at once.
    pub requests_per_second: u32,
    pub requests_burst: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: (Ipv4Addr::LOCALHOST, 9465).into(),
            tls_certificate_file: None,
            tls_key_file: None,
            plain_http: false,
            connections_max: 8,
            body_bytes_max: 1_048_576,
            request_timeout_ms: 30_000,
            page_rows_max: 200,
            requests_per_second: 50,
            requests_burst: 100,
        }
    }
}

/// What does not go together.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    [certificate_has_key(config), is_not_open(config)].into_iter().flatten().collect()
}

fn certificate_has_key(config: &Config) -> Option<Problem> {
    let api = &config.api;
    (api.tls_certificate_file.is_some() != api.tls_key_file.is_some()).then(|| {
        Problem::Contradiction {
            keys: &["api.tls_certificate_file", "api.tls_key_file"],
            why: "`api.tls_certificate_file` and `api.tls_key_file` go together: set both or none"
                .to_owned(),
        }
    })
}

/// Keys must not cross a network in the clear.
fn is_not_open(config: &Config) -> Option<Problem> {
    let api = &config.api;
    let is_private = match api.listen.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    };
    let is_open =
        api.enabled && !is_private && api.tls_certificate_file.is_none() && !api.plain_http;
    is_open.then(|| Problem::Contradiction {
        keys: &["api.enabled", "api.listen", "api.tls_certificate_file", "api.plain_http"],
        why: format!(
            "`api.listen` is {} without TLS, so keys would cross the network in the clear: set \
             `api.tls_certificate_file` and `api.tls_key_file`, listen on loopback, or set \
             `api.plain_http` if what stands before it does TLS",
            api.listen
        ),
    })
}
