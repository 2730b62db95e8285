//! Who calls: the holder of a key, or of a token of the identity provider.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::Api;
use super::access::Access;
use super::problem::{Kind, Problem};
use crate::store::api_keys::{self, Role};

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Names the caller to the machine: limits and kept answers are by it.
    pub id: String,
    /// Names the caller to people, in everything that it does; at most 200 characters.
    pub name: String,
    pub roles: Vec<Role>,
    /// Number and id of the brand that it belongs to and sees alone.
    pub brand: Option<(i32, String)>,
}

impl Caller {
    pub fn brand_no(&self) -> Option<i32> {
        self.brand.as_ref().map(|(no, _)| *no)
    }

    /// The name of somebody who did something, unless the caller belongs to a brand: people of the operator are
    /// not theirs to know.
    pub fn may_know(&self, name: String) -> Option<String> {
        Some(name).filter(|_| self.brand.is_none())
    }

    /// Whether the caller reads what is billed, and not only what is counted.
    pub fn reads_books(&self) -> bool {
        self.roles.iter().any(|role| Access::Books.roles().contains(role))
    }

    /// The brand that is asked for, or the one that the caller belongs to.
    ///
    /// # Errors
    /// If the caller belongs to another one: it is answered as if there were none.
    pub fn brand_of(&self, asked: Option<&str>) -> Result<Option<String>, Problem> {
        match (&self.brand, asked) {
            (None, asked) => Ok(asked.map(str::to_owned)),
            (Some((_, own)), None) => Ok(Some(own.clone())),
            (Some((_, own)), Some(asked)) if own == asked => Ok(Some(own.clone())),
            (Some(_), Some(asked)) => Err(no_brand(asked)),
        }
    }
}

/// There is none, or it is not to be seen.
pub fn no_brand(brand: &str) -> Problem {
    let shown: String = brand.chars().take(64).collect();
    Problem::not_found(format!("brand {shown}"))
}

/// Finds out who calls.
///
/// # Errors
/// If that cannot be said, always in the same words.
pub async fn identify(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let unknown = || {
        let detail = "send `Authorization: Bearer` with a key or a token that holds";
        Problem::new(Kind::Unauthenticated, detail)
    };
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, bearer) = value.and_then(|value| value.split_once(' ')).ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    let (pool, bearer) = (&api.store().pool, bearer.trim());
    if let Some(oidc) = api.inner.oidc.as_ref().filter(|_| !bearer.starts_with("pt_")) {
        return oidc.holder(pool, bearer).await?.ok_or_else(unknown);
    }
    let asked = match api.inner.holders.find(bearer) {
        Ok(caller) => return Ok(caller),
        Err(asked) => asked,
    };
    let holder = api_keys::holder(pool, bearer).await?;
    let holder = holder.ok_or_else(unknown)?;
    let caller = Caller {
        id: format!("key {}", holder.key_no),
        name: format!("key {} ({})", holder.key_no, holder.name),
        roles: vec![holder.role],
        brand: holder.brand,
    };
    api.inner.holders.keep(&asked, &caller);
    Ok(caller)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(Kind::Unauthenticated, "nobody is known to call"))
    }
}
