//! Plan versions: the texts of plan files as they were applied. They are added and never changed,
//! which the table's triggers see to.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::Error;

/// A version of a plan.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Version {
    pub plan_name: String,
    /// Counted from 1.
    pub version: i32,
    /// In force from this day until the next version's.
    pub effective_from: NaiveDate,
    /// The TOML, byte for byte.
    pub source: String,
    /// SHA-256 of the source, in lower-case hex.
    pub sha256: String,
    pub applied_at: DateTime<Utc>,
    pub applied_by: String,
}

/// What comes of applying a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A new version with this number.
    Version(i32),
    /// The newest version has this text already: nothing to write.
    Same(Version),
    /// It would not take effect after the newest version: nothing may be written.
    NotLater(Version),
}

impl Next {
    /// What applying `source` from `effective_from` on comes to after the version `newest`.
    pub fn after(newest: Option<Version>, source: &str, effective_from: NaiveDate) -> Self {
        match newest {
            None => Self::Version(1),
            Some(newest) if newest.source == source => Self::Same(newest),
            Some(newest) if newest.effective_from >= effective_from => Self::NotLater(newest),
            Some(newest) => Self::Version(newest.version.saturating_add(1)),
        }
    }
}

/// All versions of the plan named `name`, or of all plans; by name, then version.
///
/// # Errors
/// If the database is away.
pub async fn versions(
    executor: impl PgExecutor<'_>,
    name: Option<&str>,
) -> Result<Vec<Version>, Error> {
    Ok(sqlx::query_as(
        "select plan_name, version, effective_from, source, sha256, applied_at, applied_by \
         from plan_version where $1::text is null or plan_name = $1 order by plan_name, version",
    )
    .bind(name)
    .fetch_all(executor)
    .await?)
}

/// Adds `source` as the next version of the plan `name`, unless it is the same or not later.
///
/// # Errors
/// If the database is away.
pub async fn apply(
    pool: &PgPool,
    name: &str,
    source: &str,
    effective_from: NaiveDate,
    by: &str,
) -> Result<Next, Error> {
    let mut transaction = pool.begin().await?;
    // Who applies a plan at the same time waits here, and then sees this version.
    sqlx::query("select pg_advisory_xact_lock('plan_version'::regclass::oid::bigint)")
        .execute(&mut *transaction)
        .await?;
    let newest = versions(&mut *transaction, Some(name)).await?.pop();
    let next = Next::after(newest, source, effective_from);
    if let Next::Version(version) = next {
        sqlx::query(
            "insert into plan_version \
                (plan_name, version, effective_from, source, sha256, applied_by) \
             values ($1, $2, $3, $4, encode(sha256(convert_to($4, 'UTF8')), 'hex'), $5)",
        )
        .bind(name)
        .bind(version)
        .bind(effective_from)
        .bind(source)
        .bind(by)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(next)
}
