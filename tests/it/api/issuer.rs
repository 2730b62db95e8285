//! An identity provider: an HTTP server that serves what it signs with, and signs what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use prooftally::api::{Tls, TlsFiles};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A key with its name.
#[derive(Clone)]
pub struct Key {
    pub kid: String,
    secret: Arc<Secret>,
}

enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    /// The one RSA key, since making one takes seconds: it is known to all, and signs in tests only.
    pub fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("issuer.pk8")).unwrap();
        Self { kid: kid.to_owned(), secret: Arc::new(Secret::Rsa(pair)) }
    }

    pub fn ec(kid: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap();
        Self { kid: kid.to_owned(), secret: Arc::new(Secret::Ec(pair)) }
    }

    pub fn ed(kid: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        Self { kid: kid.to_owned(), secret: Arc::new(Secret::Ed(pair)) }
    }

    pub fn algorithm(&self) -> &'static str {
        match &*self.secret {
            Secret::Rsa(_) => "RS256",
            Secret::Ec(_) => "ES256",
            Secret::Ed(_) => "EdDSA",
        }
    }

    fn public(&self) -> Value {
        let (kid, alg) = (&self.kid, self.algorithm());
        match &*self.secret {
            Secret::Rsa(pair) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (base64(&parts.n), base64(&parts.e));
                json!({"kty": "RSA", "kid": kid, "alg": alg, "use": "sig", "n": n, "e": e})
            }
            Secret::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": alg, "x": base64(x), "y": base64(y)})
            }
            Secret::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64(pair.public_key().as_ref())})
            }
        }
    }

    /// What somebody knows who has read what the provider serves.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &*self.secret {
            Secret::Rsa(pair) => pair.public().as_ref().to_vec(),
            Secret::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Secret::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.secret {
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Secret::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header, which the key signs.
    pub fn token_of(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        format!("{message}.{}", base64(&self.sign(message.as_bytes())))
    }

    /// A token as the provider makes it.
    pub fn token(&self, claims: &Value) -> String {
        self.token_of(&json!({"typ": "JWT", "alg": self.algorithm(), "kid": self.kid}), claims)
    }
}

/// Header and claims, as they are signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// Without padding, for URLs.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut three = [0; 4];
        three[1..=group.len()].copy_from_slice(group);
        let number = u32::from_be_bytes(three);
        for at in 0..=group.len() {
            text.push(LETTERS[(number >> (18 - 6 * at)) as usize & 63].into());
        }
    }
    text
}

/// Now, in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The provider while it is up.
pub struct Issuer {
    pub address: SocketAddr,
    name: String,
    served: Arc<AtomicU32>,
    keys: Arc<Mutex<Vec<Key>>>,
    task: JoinHandle<()>,
}

impl Issuer {
    pub async fn start(keys: &[Key]) -> Self {
        Self::start_on(keys, None).await
    }

    /// Over TLS, as `localhost`.
    pub async fn start_with_tls(keys: &[Key], files: &TlsFiles) -> Self {
        Self::start_on(keys, Some(Tls::read(files).unwrap())).await
    }

    async fn start_on(keys: &[Key], tls: Option<Tls>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let name = format!("{base}/realms/network");
        let (served, keys) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(keys.to_vec())));
        let discovery = json!({"issuer": name, "jwks_uri": format!("{base}/jwks")});
        let (counter, shown) = (Arc::clone(&served), Arc::clone(&keys));
        let jwks = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut keys: Vec<Value> = shown.lock().iter().map(Key::public).collect();
            // Providers have keys for other things, and of kinds that nobody has heard of.
            keys.push(json!({"kty": "moon", "kid": "moon"}));
            keys.push(json!({"kty": "oct", "kid": "shared", "k": base64(b"known to both")}));
            async move { Json(json!({"keys": keys})) }
        };
        let router = Router::new()
            .route(
                "/realms/network/.well-known/openid-configuration",
                get(async || Json(discovery)),
            )
            .route("/jwks", get(jwks));
        let task = tokio::spawn(async move {
            match tls {
                Some(tls) => axum::serve(tls.listen(listener, crate::harness::DEADLINE), router)
                    .await
                    .unwrap(),
                None => axum::serve(listener, router).await.unwrap(),
            }
        });
        Self { address, name, served, keys, task }
    }

    /// As its tokens call it.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// How often its keys were fetched.
    pub fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }

    pub fn rotate(&self, keys: &[Key]) {
        *self.keys.lock() = keys.to_vec();
    }

    /// Ends it: nobody can connect from here on.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
