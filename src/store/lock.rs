//! One engine at a time: a session lock that PostgreSQL frees at once when the process dies.

use sqlx::postgres::PgConnection;

use super::{Error, Store};

/// "prooftal", so that a person who reads pg_locks can see whose lock it is.
const LOCK: i64 = i64::from_be_bytes(*b"prooftal");

/// The lock, held for as long as its connection lives.
pub struct EngineLock {
    pub connection: PgConnection,
}

impl EngineLock {
    /// Takes the lock, or `None` if another engine holds it.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn try_take(store: &Store) -> Result<Option<Self>, Error> {
        let mut connection = store.connect().await?;
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await?;
        Ok(taken.then_some(Self { connection }))
    }
}
