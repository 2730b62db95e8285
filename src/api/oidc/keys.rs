//! The identity provider's public keys. They are fetched when they are old or when a token names one that is
//! not known, but not more often than is set, and kept while the provider is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde_json::Value;

use super::Config;
use super::fetch::{self, Fetcher};

/// More keys than any provider has.
const KEYS_MAX: usize = 100;

/// A key that tokens are signed with.
#[derive(Clone)]
pub struct Key {
    pub decoding: DecodingKey,
    /// The one that it is for, if its owner says so.
    pub algorithm: Option<Algorithm>,
}

/// All of them.
pub struct Keys {
    issuer: String,
    jwks_url: Option<Uri>,
    fresh: Duration,
    kept: Duration,
    refetch_min: Duration,
    fetcher: Fetcher,
    held: RwLock<Held>,
    /// Who fetches holds it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<String, Key>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl Keys {
    /// # Errors
    /// If a file or an address of the configuration cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let url = config.jwks_url.as_ref().map(|url| url.parse()).transpose();
        Ok(Self {
            issuer: config.issuer.clone(),
            jwks_url: url.context("api.oidc.jwks_url is no address")?,
            fresh: config.keys_fresh,
            kept: config.keys_kept,
            refetch_min: config.refetch_min,
            fetcher: Fetcher::new(config.ca_file.as_deref())?,
            held: RwLock::default(),
            fetching: tokio::sync::Mutex::new(()),
        })
    }

    /// The key of this name.
    pub async fn find(self: &Arc<Self>, name: &str) -> Option<Key> {
        if let Some((key, age)) = self.look(name)
            && age < self.kept
        {
            if age >= self.fresh && self.may_try() && self.fetching.try_lock().is_ok() {
                let keys = Arc::clone(self);
                tokio::spawn(async move { keys.fetch().await });
            }
            return Some(key);
        }
        self.fetch().await;
        self.look(name).filter(|(_, age)| *age < self.kept).map(|(key, _)| key)
    }

    fn look(&self, name: &str) -> Option<(Key, Duration)> {
        let held = self.held.read();
        Some((held.keys.get(name)?.clone(), held.fetched_at?.elapsed()))
    }

    fn may_try(&self) -> bool {
        self.held.read().tried_at.is_none_or(|at| at.elapsed() >= self.refetch_min)
    }

    /// Fetches them, unless that was tried just now. Who comes while they are fetched waits for them.
    pub async fn fetch(&self) {
        let _one_at_a_time = self.fetching.lock().await;
        if !self.may_try() {
            return;
        }
        self.held.write().tried_at = Some(Instant::now());
        match self.fetched().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "fetched the keys of the identity provider");
                let mut held = self.held.write();
                held.keys = keys;
                held.fetched_at = Some(Instant::now());
            }
            Err(error) => {
                let kept = self.held.read().keys.len();
                let error = format!("{error:#}");
                tracing::warn!(error, kept, "the identity provider's keys cannot be fetched");
            }
        }
    }

    async fn fetched(&self) -> anyhow::Result<HashMap<String, Key>> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discovered().await.context("discovery")?,
        };
        let set = self.fetcher.json(&url).await.context("JWKS")?;
        let keys = set.get("keys").and_then(Value::as_array).context("JWKS: it has no keys")?;
        ensure!(keys.len() <= KEYS_MAX, "JWKS: it has more than {KEYS_MAX} keys");
        // What is not understood is for others; no token of ours is signed with it.
        Ok(keys.iter().filter_map(read).collect())
    }

    /// OpenID Connect Discovery 1.0, section 4.
    async fn discovered(&self) -> anyhow::Result<Uri> {
        let base = self.issuer.trim_end_matches('/');
        let url: Uri = format!("{base}/.well-known/openid-configuration").parse()?;
        let found = self.fetcher.json(&url).await?;
        let text = |name| found.get(name).and_then(Value::as_str);
        ensure!(text("issuer") == Some(self.issuer.as_str()), "it is another issuer's");
        let url: Uri = text("jwks_uri").context("it names no jwks_uri")?.parse()?;
        ensure!(fetch::is_good(&url), "its jwks_uri is neither HTTPS nor on this machine");
        Ok(url)
    }
}

/// Name and key, if it is a public one for signatures.
fn read(value: &Value) -> Option<(String, Key)> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let is_public = matches!(
        jwk.algorithm,
        AlgorithmParameters::RSA(_)
            | AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
    );
    let is_other = matches!(&jwk.common.public_key_use, Some(of) if *of != PublicKeyUse::Signature);
    if !is_public || is_other {
        return None;
    }
    let algorithm = match &jwk.common.key_algorithm {
        Some(named) => Some(Algorithm::try_from(*named).ok()?),
        None => None,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some((jwk.common.key_id.clone()?, Key { decoding, algorithm }))
}
