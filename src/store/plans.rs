//! Plan versions: the texts of plan files as they were applied. They are added and never changed; one
//! that no document has used can be withdrawn, by a row of its own. The tables' triggers see to both.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::{Error, change};

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
    /// A new version with this number, after the one that was the newest.
    Version { version: i32, before: Option<Version> },
    /// The newest version has this text already: nothing to write.
    Same(Version),
    /// It would not take effect after the newest version: nothing may be written.
    NotLater(Version),
}

impl Next {
    /// What applying `source` from `effective_from` on comes to after the version `newest`, where
    /// `last` is the highest number there was; 0 if there was none.
    pub fn after(
        newest: Option<Version>,
        last: i32,
        source: &str,
        effective_from: NaiveDate,
    ) -> Self {
        match newest {
            Some(newest) if newest.source == source => Self::Same(newest),
            Some(newest) if newest.effective_from >= effective_from => Self::NotLater(newest),
            before => Self::Version { version: last.saturating_add(1), before },
        }
    }
}

/// A version that no longer holds.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Withdrawal {
    pub plan_name: String,
    pub version: i32,
    pub because: String,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
}

/// All versions of the plan named `name`, or of all plans, but for those that were withdrawn; by name,
/// then version.
///
/// # Errors
/// If the database is away.
pub async fn versions(
    executor: impl PgExecutor<'_>,
    name: Option<&str>,
) -> Result<Vec<Version>, Error> {
    Ok(sqlx::query_as(
        "select plan_name, version, effective_from, source, sha256, applied_at, applied_by \
         from plan_version_now where $1::text is null or plan_name = $1 \
         order by plan_name, version",
    )
    .bind(name)
    .fetch_all(executor)
    .await?)
}

/// A plan by its name.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Named {
    pub plan_name: String,
    /// The version that is in force on the day; `None` if there is none yet.
    pub in_force: Option<i32>,
    /// The newest version that holds; `None` if all were withdrawn.
    pub newest: Option<i32>,
}

/// The plans that were ever applied, after this name, in the order of the names' bytes.
///
/// # Errors
/// If the database is away.
pub async fn page(
    executor: impl PgExecutor<'_>,
    after: Option<&str>,
    day: NaiveDate,
    limit: i64,
) -> Result<Vec<Named>, Error> {
    Ok(sqlx::query_as(
        "select p.plan_name, \
            max(v.version) filter (where v.effective_from <= $2) as in_force, \
            max(v.version) as newest \
         from (select distinct plan_name collate \"C\" as plan_name from plan_version \
            where $1::text is null or plan_name collate \"C\" > $1 \
            order by 1 limit $3) p \
         left join plan_version_now v on v.plan_name = p.plan_name \
         group by 1 order by 1",
    )
    .bind(after)
    .bind(day)
    .bind(limit)
    .fetch_all(executor)
    .await?)
}

/// The versions that were withdrawn, each with its withdrawal; by name, then version.
///
/// # Errors
/// If the database is away.
pub async fn withdrawn(
    connection: &mut PgConnection,
    name: Option<&str>,
) -> Result<Vec<(Version, Withdrawal)>, Error> {
    let withdrawals: Vec<Withdrawal> = sqlx::query_as(
        "select plan_name, version, because, made_at, made_by from plan_withdrawal \
         where $1::text is null or plan_name = $1 order by plan_name, version",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await?;
    // Neither table loses a row, so what is read later has all versions that were withdrawn before.
    let versions: Vec<Version> = sqlx::query_as(
        "select plan_name, version, effective_from, source, sha256, applied_at, applied_by \
         from plan_version where $1::text is null or plan_name = $1",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await?;
    let mut versions: HashMap<(String, i32), Version> = versions
        .into_iter()
        .map(|version| ((version.plan_name.clone(), version.version), version))
        .collect();
    let found = withdrawals.into_iter().filter_map(|withdrawal| {
        let key = (withdrawal.plan_name.clone(), withdrawal.version);
        Some((versions.remove(&key)?, withdrawal))
    });
    Ok(found.collect())
}

/// Withdraws a version: from now on it is as if it had never been applied.
///
/// # Errors
/// [`Error::Refused`] if it is not the newest one that holds, a document has used it, or an assignment
/// would be left without a version.
pub async fn withdraw(
    pool: &PgPool,
    name: &str,
    version: i32,
    because: &str,
    by: &str,
) -> Result<(), Error> {
    let mut transaction = change::begin(pool).await?;
    sqlx::query(
        "insert into plan_withdrawal (plan_name, version, because, made_by) values ($1, $2, $3, $4)",
    )
    .bind(name)
    .bind(version)
    .bind(because)
    .bind(by)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// The highest number that a version of the plan ever had; 0 without any.
///
/// # Errors
/// If the database is away.
pub async fn last_number(executor: impl PgExecutor<'_>, name: &str) -> Result<i32, Error> {
    Ok(sqlx::query_scalar(
        "select coalesce(max(version), 0) from plan_version where plan_name = $1",
    )
    .bind(name)
    .fetch_one(executor)
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
    let mut transaction = change::begin(pool).await?;
    // Who applies this plan at the same time, withdraws a version or issues a document waits here, and
    // then sees this version. The lock needs no right to change the table.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('plan ' || $1, 0))")
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    let newest = versions(&mut *transaction, Some(name)).await?.pop();
    let last = last_number(&mut *transaction, name).await?;
    let next = Next::after(newest, last, source, effective_from);
    if let Next::Version { version, .. } = &next {
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
