//! Keys of the API. A key is `pt_<prefix>_<secret>`: the prefix finds its row, the secret is 256 random bits
//! of which only the hash is kept.

use billing::hash::Hash;
use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::{Error, change};

const PREFIX_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// What a key may do; brand-scoped keys read only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    FinanceRead,
    Finance,
    Operator,
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::FinanceRead, Self::Finance, Self::Operator, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::FinanceRead => "finance_read",
            Role::Finance => "finance",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A key as it is listed: without its secret.
#[derive(Clone, Debug, FromRow)]
pub struct ApiKey {
    pub key_no: i64,
    pub prefix: String,
    pub name: String,
    pub role: String,
    pub brand_id: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct New {
    pub name: String,
    pub role: Role,
    /// Of the brand that it sees alone.
    pub brand_no: Option<i32>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that was made: the only time that it is seen whole.
#[derive(Debug)]
pub struct Made {
    pub key_no: i64,
    pub key: String,
}

/// Who holds a key that is good.
#[derive(Clone, Debug)]
pub struct Holder {
    pub key_no: i64,
    pub name: String,
    pub role: Role,
    /// Number and id of the brand that it sees alone.
    pub brand: Option<(i32, String)>,
}

/// Makes a key.
///
/// # Errors
/// If the database is away, or the system gives no random bytes.
pub async fn create(pool: &PgPool, new: &New, by: &str) -> Result<Made, Error> {
    let (prefix, secret) = (random::<PREFIX_BYTES>()?, random::<SECRET_BYTES>()?);
    let mut transaction = change::begin(pool).await?;
    let key_no = sqlx::query_scalar(
        "insert into api_key (prefix, secret_hash, name, role, brand_no, expires_at, made_by) \
         values ($1, $2, $3, $4, $5, $6, $7) returning key_no",
    )
    .bind(&prefix)
    .bind(Hash::of(&[secret.as_bytes()]).as_bytes().as_slice())
    .bind(&new.name)
    .bind(new.role.as_str())
    .bind(new.brand_no)
    .bind(new.expires_at)
    .bind(by)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Made { key_no, key: format!("pt_{prefix}_{secret}") })
}

fn random<const BYTES: usize>() -> Result<String, Error> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::Corrupt("the system gives no random bytes".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Keys by number, revoked ones too.
///
/// # Errors
/// If the database is away.
pub async fn list(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<ApiKey>, Error> {
    Ok(sqlx::query_as(
        "select k.key_no, k.prefix, k.name, k.role, b.brand_id, k.expires_at, k.made_at, k.made_by, \
            k.last_used_at, k.revoked_at, k.revoked_by \
         from api_key k left join brand b using (brand_no) where k.key_no > $1 \
         order by k.key_no limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// Revokes a key. False if there is none of this number that holds.
///
/// # Errors
/// If the database is away.
pub async fn revoke(pool: &PgPool, key_no: i64, by: &str) -> Result<bool, Error> {
    let mut transaction = change::begin(pool).await?;
    let done = sqlx::query(
        "update api_key set revoked_at = now(), revoked_by = $2 \
         where key_no = $1 and revoked_at is null",
    )
    .bind(key_no)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    change::commit_if(transaction, done.rows_affected() == 1).await
}

#[derive(FromRow)]
struct Stored {
    key_no: i64,
    secret_hash: Vec<u8>,
    name: String,
    role: String,
    brand_no: Option<i32>,
    brand_id: Option<String>,
    is_used: bool,
}

/// Who holds `key`; `None` if it is not one, or has expired, or was revoked.
///
/// # Errors
/// If the database is away.
pub async fn holder(pool: &PgPool, key: &str) -> Result<Option<Holder>, Error> {
    let Some((prefix, secret)) = parts(key) else { return Ok(None) };
    let stored: Option<Stored> = sqlx::query_as(
        "select k.key_no, k.secret_hash, k.name, k.role, k.brand_no, b.brand_id, \
            coalesce(k.last_used_at > now() - interval '1 minute', false) as is_used \
         from api_key k left join brand b using (brand_no) \
         where k.prefix = $1 and k.revoked_at is null \
            and (k.expires_at is null or k.expires_at > now())",
    )
    .bind(prefix)
    .fetch_optional(pool)
    .await?;
    let Some(stored) = stored else { return Ok(None) };
    if !is_same(Hash::of(&[secret.as_bytes()]).as_bytes(), &stored.secret_hash) {
        return Ok(None);
    }
    if !stored.is_used {
        sqlx::query("update api_key set last_used_at = now() where key_no = $1")
            .bind(stored.key_no)
            .execute(pool)
            .await?;
    }
    let role = Role::from_name(&stored.role)
        .ok_or_else(|| Error::Corrupt(format!("role {} of key {}", stored.role, stored.key_no)))?;
    let brand = stored.brand_no.zip(stored.brand_id);
    Ok(Some(Holder { key_no: stored.key_no, name: stored.name, role, brand }))
}

/// Prefix and secret of what looks like a key.
fn parts(key: &str) -> Option<(&str, &str)> {
    let (prefix, secret) = key.strip_prefix("pt_")?.split_once('_')?;
    (prefix.len() == 2 * PREFIX_BYTES && secret.len() == 2 * SECRET_BYTES)
        .then_some((prefix, secret))
}

/// Compares in the same time wherever they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
