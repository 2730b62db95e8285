//! The PostgreSQL edge. All SQL of the engine lives here, one file a noun.
//!
//! [`commit`] is the one transaction that moves the cursor; everything else reads, or writes what is
//! not metering (brands, predicates, request rows).

pub mod activity;
pub mod api_keys;
pub mod assignments;
pub mod audit;
pub mod audit_runs;
pub mod backoff;
pub mod behind;
pub mod beside;
pub mod billed_on;
pub mod billing_run;
pub mod brand_entries;
pub mod brands;
pub mod catalog;
pub mod change;
pub mod commit;
pub mod conflicts;
pub mod conservation;
pub mod copy;
pub mod corrections;
pub mod cursor;
pub mod digests;
pub mod distinct;
pub mod documents;
pub mod drafts;
pub mod due;
pub mod epochs;
pub mod evidence;
pub mod filter;
pub mod finding;
pub mod forms;
pub mod gaps;
pub mod holds;
pub mod idempotency;
pub mod issue;
pub mod keys;
pub mod ledger;
pub mod lock;
pub mod over_brands;
pub mod parking;
pub mod period_usage;
pub mod plan_change;
pub mod plan_file;
pub mod plans;
pub mod positions;
pub mod preview;
pub mod profiles;
pub mod proving;
pub mod reading;
pub mod rejections;
pub mod repair;
pub mod reports;
pub mod requests;
pub mod sealing;
pub mod segments;
pub mod unassigned;
pub mod unbilled;
pub mod uniqueness;
pub mod unpriced;
pub mod usage;
pub mod usage_fold;
pub mod verification;
pub mod waivers;

use std::sync::LazyLock;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgTransaction};

/// The migrations of this build.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    // A newer build may have migrated already; what it has added does not disturb this one.
    migrations.set_ignore_missing(true);
    migrations
});

/// A connection of the pool that was idle for so long is asked whether it is still there.
const ASKED_AFTER: Duration = Duration::from_secs(1);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Config {
    pub url: SecretString,
    pub connections_max: u32,
    pub acquire_timeout: Duration,
    /// A commit whose answer takes longer has its connection closed and its outcome looked up.
    pub commit_timeout: Duration,
}

/// What can go wrong, as far as somebody acts on it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away or going down: try again later, nothing is wrong with what was asked.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The cursor was moved by another engine: this one must stop writing.
    #[error("another engine has taken over: the cursor no longer carries fence {fence}")]
    Stale { fence: i64 },
    /// The try of a request under an Idempotency-Key was given up meanwhile: this change is not made.
    #[error("another try of this request has taken its place")]
    Overtaken,
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
    /// What is stored contradicts itself.
    #[error("{0}")]
    Corrupt(String),
    #[error("the database has no schema, or an older one: run `prooftally migrate`")]
    NotMigrated(#[source] sqlx::Error),
    #[error("the database's schema cannot be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

impl Error {
    /// What the database says if it refused what was written, and will refuse it again: a value or a
    /// row that it does not take, or too much of something. Never another value than the event's own:
    /// those stand in the detail, which is left out.
    pub fn refusal_for_good(&self) -> Option<String> {
        /// Data exception, integrity constraint violation, program limit exceeded.
        const CLASSES: [&str; 3] = ["22", "23", "54"];
        const CHARS_MAX: usize = 300;
        let Self::Refused(error) = self else { return None };
        let error = error.as_database_error()?;
        let code = error.code()?;
        let is_for_good = CLASSES.iter().any(|class| code.starts_with(class));
        is_for_good
            .then(|| format!("{code}: {}", error.message()).chars().take(CHARS_MAX).collect())
    }

    /// What a rule of the database refuses, in its words.
    pub fn rule(&self) -> Option<String> {
        let why = self.refusal_for_good()?;
        Some(why.split_once(": ").map_or(&*why, |(_code, why)| why).to_owned())
    }
}

impl Error {
    /// True if PostgreSQL cannot hold a value that was given: a text with a NUL, a day or a number out of range.
    pub fn is_of_value(&self) -> bool {
        const CODES: [&str; 3] = ["22003", "22008", "22021"];
        let Self::Refused(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| CODES.contains(&&*code))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        /// A table or a column that is not there.
        const MISSING: [&str; 2] = ["42P01", "42703"];
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.is_some_and(|code| MISSING.contains(&&*code)) {
            return Self::NotMigrated(error);
        }
        if is_unavailable(&error) { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

/// True for what passes by itself: a broken or refused connection, a server that starts or stops,
/// no free connection, a serialization failure or deadlock.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Classes: 08 connection, 40 rollback, 53 resources, 57 operator intervention, 58 system.
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// How all pools are.
fn pool_options(connections_max: u32, acquire_timeout: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(acquire_timeout)
        // A connection that was in use a moment ago is not asked whether it is still there: that would be
        // a message more for each statement. If it is gone after all, the statement says so.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for >= ASKED_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// The pool that reads, and the settings of single connections.
#[derive(Clone)]
pub struct Store {
    pub pool: PgPool,
    options: PgConnectOptions,
    pub commit_timeout: Duration,
}

impl Store {
    /// Opens the pool; connects on first use.
    ///
    /// # Errors
    /// If the URL cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let options: PgConnectOptions = config.url.expose_secret().parse().map_err(|_| {
            // sqlx's message would carry the URL, which may hold a password.
            anyhow::anyhow!(
                "database.url is not a PostgreSQL URL: write it as postgres://user@host:5432/name"
            )
        })?;
        let options =
            options.application_name("prooftally").log_statements(tracing::log::LevelFilter::Off);
        let pool = pool_options(config.connections_max, config.acquire_timeout)
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, commit_timeout: config.commit_timeout })
    }

    /// The same database by a pool of its own, of `connections_max` connections, for each of which is waited for
    /// so long. They are made when they are needed, and closed when nobody has used them for a minute.
    #[must_use]
    pub fn apart(&self, connections_max: u32, acquire_timeout: Duration) -> Self {
        let pool = pool_options(connections_max, acquire_timeout)
            .idle_timeout(Duration::from_secs(60))
            .connect_lazy_with(self.options.clone());
        Self { pool, ..self.clone() }
    }

    /// A read-only snapshot.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database is away.
    pub async fn snapshot(&self) -> Result<PgTransaction<'static>, Error> {
        Ok(self.pool.begin_with("begin isolation level repeatable read read only").await?)
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database is away.
    pub async fn connect(&self) -> Result<PgConnection, Error> {
        self.connect_as("prooftally").await
    }

    /// A connection for what writes under the fence: an engine that takes over from one that hangs ends
    /// it, so that no lock of the cursor outlives its holder.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database is away.
    pub async fn connect_to_write(&self) -> Result<PgConnection, Error> {
        self.connect_as(lock::WRITER_NAME).await
    }

    /// A connection of its own whose statements end after `timeout`, so that what nobody waits for any more
    /// does not go on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database is away.
    pub async fn connect_to_read(&self, timeout: Duration) -> Result<PgConnection, Error> {
        let mut connection = self.connect().await?;
        sqlx::query("select set_config('statement_timeout', $1, false)")
            .bind(timeout.as_millis().to_string())
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }

    /// A connection of its own that is called `name` in pg_stat_activity.
    async fn connect_as(&self, name: &str) -> Result<PgConnection, Error> {
        let options = self.options.clone().application_name(name);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Brings the schema up to date, as its owner; does nothing if it is, so that the application's role
    /// may ask for it too.
    ///
    /// # Errors
    /// If the database is away, or was migrated by a newer build.
    pub async fn migrate(&self) -> Result<(), Error> {
        use sqlx::migrate::MigrateError;
        if self.migrations_missing().await? == 0 {
            return Ok(());
        }
        MIGRATIONS.run(&self.pool).await.map_err(|error| match error {
            MigrateError::Execute(error) if is_unavailable(&error) => Error::Unavailable(error),
            error => Error::Migration(error),
        })
    }

    /// How many migrations of this build the database lacks.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn migrations_missing(&self) -> Result<usize, Error> {
        let mut connection = self.connect().await?;
        let table: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
            .fetch_one(&mut connection)
            .await?;
        let applied: i64 = if table {
            sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
                .fetch_one(&mut connection)
                .await?
        } else {
            0
        };
        let known = MIGRATIONS.iter().count();
        Ok(known.saturating_sub(usize::try_from(applied).unwrap_or(0)))
    }
}
