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
    pub oidc: Oidc,
}

/// The identity provider whose tokens are accepted beside keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// As its tokens name it; empty for none.
    pub issuer: String,
    pub audience: String,
    /// Where its keys are; empty to discover it.
    pub jwks_url: String,
    /// Authorities that are trusted for it instead of the machine's.
    #[serde(with = "secret::optional_file")]
    pub ca_file: Option<PathBuf>,
    pub algorithms: Vec<String>,
    pub leeway_seconds: u64,
    /// Seconds after which keys are fetched again, and after which they are not used.
    pub keys_fresh_seconds: u64,
    pub keys_kept_seconds: u64,
    /// Seconds from one attempt to fetch keys to the next.
    pub refetch_seconds_min: u64,
    pub roles_claim: String,
    pub brand_claim: String,
    pub name_claim: String,
    pub roles: OidcRoles,
}

/// The provider's names of the roles.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcRoles {
    pub finance_read: Vec<String>,
    pub finance: Vec<String>,
    pub operator: Vec<String>,
    pub admin: Vec<String>,
    /// Reads its own brand, and is nothing without one.
    pub brand: Vec<String>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: "prooftally".to_owned(),
            jwks_url: String::new(),
            ca_file: None,
            algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
            leeway_seconds: 30,
            keys_fresh_seconds: 600,
            keys_kept_seconds: 86_400,
            refetch_seconds_min: 10,
            roles_claim: "realm_access.roles".to_owned(),
            brand_claim: "organization_id".to_owned(),
            name_claim: "preferred_username".to_owned(),
            roles: OidcRoles::default(),
        }
    }
}

impl Default for OidcRoles {
    fn default() -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            finance_read: one("finance_read"),
            finance: one("finance"),
            operator: one("operator"),
            admin: one("admin"),
            brand: one("brand"),
        }
    }
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
            oidc: Oidc::default(),
        }
    }
}

/// What does not go together.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    let found = [certificate_has_key(config), is_not_open(config), keys_age_in_order(config)];
    found.into_iter().flatten().collect()
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

/// Keys that are not used before they are old would be fetched for each token.
fn keys_age_in_order(config: &Config) -> Option<Problem> {
    let oidc = &config.api.oidc;
    (oidc.keys_kept_seconds < oidc.keys_fresh_seconds).then(|| Problem::Contradiction {
        keys: &["api.oidc.keys_fresh_seconds", "api.oidc.keys_kept_seconds"],
        why: format!(
            "`api.oidc.keys_kept_seconds` ({}) is below `api.oidc.keys_fresh_seconds` ({}): keys are \
             used for longer than they are fresh; raise it",
            oidc.keys_kept_seconds, oidc.keys_fresh_seconds
        ),
    })
}
