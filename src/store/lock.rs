//! One engine at a time: a session lock that PostgreSQL frees at once when its holder dies, and a
//! heartbeat for a holder that hangs.
//!
//! Neither is what keeps two engines from writing; the fence does that. They decide who tries.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::{Error, Store};

/// "prooftal", so that a person who reads pg_locks can see whose lock it is.
const LOCK: i64 = i64::from_be_bytes(*b"prooftal");
/// What the lock's connection is called in pg_stat_activity.
const LOCK_NAME: &str = "prooftally lock";
/// What the writer's connection is called in pg_stat_activity.
pub(super) const WRITER_NAME: &str = "prooftally writer";
/// What the sealer's connection is called, which holds a lock of its own.
pub(super) const SEALER_NAME: &str = "prooftally sealer";
/// How often the holder says that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(2);
/// A beat without an answer for so long is given up, and the lock taken anew.
const BEAT_TIMEOUT: Duration = Duration::from_secs(3);
/// A holder that was silent for so long, by the database's clock, is taken for hung.
const SILENCE_S_MAX: i32 = 10;

/// The lock, held for as long as its connection lives.
pub struct EngineLock {
    connection: PgConnection,
}

/// A lock that is kept until this is dropped.
pub struct KeptLock(tokio::task::JoinHandle<()>);

impl Drop for KeptLock {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl EngineLock {
    /// Takes the lock, or `None` if another engine holds it.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn try_take(store: &Store) -> Result<Option<Self>, Error> {
        let mut connection = store.connect_as(LOCK_NAME).await?;
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await?;
        if !taken {
            return Ok(None);
        }
        let mut lock = Self { connection };
        lock.beat().await?;
        Ok(Some(lock))
    }

    /// Ends the sessions of a holder that hangs, so that its locks become free and no open
    /// transaction of it holds the cursor. False if the holder lives. Its process, once it wakes,
    /// finds its connections gone and its fence old.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn evict_hung(store: &Store) -> Result<bool, Error> {
        let evicted: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(a.pid)) from engine e, pg_stat_activity a \
             where e.beat_at < clock_timestamp() - make_interval(secs => $1) \
                and a.datname = current_database() and a.usename = current_user \
                and (a.application_name in ($3, $4) or a.application_name = $2 and a.pid in ( \
                    select pid from pg_locks where locktype = 'advisory' and granted))",
        )
        .bind(f64::from(SILENCE_S_MAX))
        .bind(LOCK_NAME)
        .bind(WRITER_NAME)
        .bind(SEALER_NAME)
        .fetch_one(&store.pool)
        .await?;
        Ok(evicted > 0)
    }

    /// Holds the lock and says every now and then that this engine lives. Takes the lock again if its
    /// connection was lost, unless another engine has it by then: that one has also taken a new fence.
    pub fn keep(mut self, store: Store) -> KeptLock {
        KeptLock(tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT_EVERY).await;
                if let Err(error) = self.beat().await {
                    tracing::debug!(%error, "the lock's connection was lost");
                    let again = tokio::time::timeout(BEAT_TIMEOUT, Self::try_take(&store)).await;
                    if let Ok(Ok(Some(lock))) = again {
                        self = lock;
                    }
                }
            }
        }))
    }

    async fn beat(&mut self) -> Result<(), Error> {
        let beating = sqlx::query("update engine set beat_at = clock_timestamp()")
            .execute(&mut self.connection);
        // A connection that died silently must not keep this engine from saying that it lives.
        tokio::time::timeout(BEAT_TIMEOUT, beating)
            .await
            .map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
        Ok(())
    }
}
