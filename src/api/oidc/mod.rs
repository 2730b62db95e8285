//! Bearer tokens of an identity provider (OpenID Connect), beside API keys: a JWT that the configured issuer
//! has signed for this audience with one of its keys and an asymmetric algorithm. Why a token is refused is
//! logged and not answered. Decision 15 says what is trusted, and why.

mod claims;
mod crypto;
mod fetch;
mod keys;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use billing::ids::BrandId;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::Value;
use sqlx::PgPool;

use super::caller::Caller;
use crate::store::api_keys::Role;
use crate::store::{Error, brands};
use claims::Holder;
use keys::Keys;

/// Longer ones come from no provider.
const TOKEN_BYTES_MAX: usize = 16 << 10;
const KEY_NAME_CHARS_MAX: usize = 256;

/// Whose tokens are accepted, and what their claims mean.
#[derive(Clone, Debug)]
pub struct Config {
    /// As its tokens name it, and where it is discovered.
    pub issuer: String,
    pub audience: String,
    /// Where its keys are; without it that is discovered.
    pub jwks_url: Option<String>,
    /// Authorities that are trusted instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// By their names in RFC 7518; unknown ones are none.
    pub algorithms: Vec<String>,
    /// How much clocks may differ.
    pub leeway: Duration,
    /// Keys older than this are fetched again, while they are used.
    pub keys_fresh: Duration,
    /// Keys older than this are not used.
    pub keys_kept: Duration,
    /// From one attempt to fetch keys to the next.
    pub refetch_min: Duration,
    pub claims: Claims,
    pub roles: Roles,
}

/// Where claims are: names, or paths of names with dots between them.
#[derive(Clone, Debug)]
pub struct Claims {
    pub roles: String,
    pub brand: String,
    /// How people are called.
    pub name: String,
}

/// The provider's names of the roles here.
#[derive(Clone, Debug)]
pub struct Roles {
    pub finance_read: Vec<String>,
    pub finance: Vec<String>,
    pub operator: Vec<String>,
    pub admin: Vec<String>,
    /// Reads its own brand, and is nothing without one.
    pub brand: Vec<String>,
}

impl Roles {
    fn of(&self, role: Role) -> &[String] {
        match role {
            Role::FinanceRead => &self.finance_read,
            Role::Finance => &self.finance,
            Role::Operator => &self.operator,
            Role::Admin => &self.admin,
        }
    }
}

/// Why a token is refused: for the log.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it is no token that can be read: {0}")]
    Form(&'static str),
    #[error("its algorithm is not allowed")]
    Algorithm,
    #[error("its key {0:?} is not known")]
    Key(String),
    #[error(transparent)]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("{0}")]
    Claims(&'static str),
    #[error("there is no brand {0:?}")]
    Brand(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Who accepts tokens.
pub struct Oidc {
    config: Config,
    algorithms: Vec<Algorithm>,
    keys: Arc<Keys>,
}

impl Oidc {
    /// # Errors
    /// If a file or an address of the configuration cannot be read.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        crypto::install();
        let named = |name: &String| name.parse().ok();
        let algorithms: Vec<Algorithm> = config.algorithms.iter().filter_map(named).collect();
        let is_known = |algorithm: &Algorithm| crypto::ALGORITHMS.contains(algorithm);
        anyhow::ensure!(
            algorithms.len() == config.algorithms.len() && algorithms.iter().all(is_known),
            "api.oidc.algorithms has one that is not asymmetric"
        );
        let keys = Arc::new(Keys::new(&config)?);
        Ok(Self { config, algorithms, keys })
    }

    /// Fetches the keys in a task of its own, so that the first token need not wait.
    pub fn warm(&self) {
        let keys = Arc::clone(&self.keys);
        tokio::spawn(async move { keys.fetch().await });
    }

    /// Who holds `token`; `None` if it is refused.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn holder(&self, pool: &PgPool, token: &str) -> Result<Option<Caller>, Error> {
        match self.accept(pool, token).await {
            Ok(caller) => Ok(Some(caller)),
            Err(Refusal::Store(error)) => Err(error),
            Err(refusal) => {
                tracing::info!(why = %refusal, "a token was refused");
                Ok(None)
            }
        }
    }

    async fn accept(&self, pool: &PgPool, token: &str) -> Result<Caller, Refusal> {
        let holder = Holder::of(&self.verified(token).await?, &self.config)?;
        let brand = match holder.brand {
            None => None,
            Some(name) => {
                let unknown = || Refusal::Brand(name.chars().take(64).collect());
                let id = BrandId::new(&name).ok_or_else(unknown)?;
                Some((brands::find(pool, &id).await?.ok_or_else(unknown)?.no, name))
            }
        };
        Ok(Caller {
            id: format!("oidc {}", holder.subject),
            name: holder.name,
            roles: holder.roles,
            brand,
        })
    }

    /// The claims of a token whose signature, issuer, audience and times are good.
    async fn verified(&self, token: &str) -> Result<Value, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Form("it is too long"));
        }
        let header = decode_header(token)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(Refusal::Algorithm);
        }
        // A token of another kind, such as one that says that somebody has logged out.
        let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !matches!(kind.trim_start_matches("application/"), "jwt" | "at+jwt") {
            return Err(Refusal::Form("its typ is not JWT"));
        }
        if header.crit.is_some() {
            return Err(Refusal::Form("it has a header that must be understood"));
        }
        let name = header.kid.ok_or(Refusal::Form("it names no key"))?;
        if name.chars().count() > KEY_NAME_CHARS_MAX {
            return Err(Refusal::Form("the name of its key is too long"));
        }
        // Whatever the token says of where its key is (jku, x5u, jwk) is not looked at.
        let Some(key) = self.keys.find(&name).await else { return Err(Refusal::Key(name)) };
        if key.algorithm.is_some_and(|only| only != header.alg) {
            return Err(Refusal::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.config.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(decode::<Value>(token, &key.decoding, &validation)?.claims)
    }
}
