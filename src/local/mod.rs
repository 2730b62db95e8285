//! Private servers for `demo`, tests and benches: a nats-server with JetStream and a PostgreSQL,
//! each on a free port of 127.0.0.1 with its own data folder.
//!
//! Every call blocks, at most for the limits that it states. However this process ends, its
//! servers end with it, and temporary data is removed (see `leash`). The servers ask for no
//! password, so anyone who can log in to this machine can use them: they are not for production.

mod account;
mod binaries;
mod cluster;
mod folder;
mod leash;
mod nats;
mod postgres;
mod server;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use binaries::Binaries;
pub use nats::{Nats, NatsOptions, Sync};
pub use postgres::{Postgres, PostgresOptions};

/// The database that [`Stack::start`] creates.
pub const DATABASE: &str = "prooftally";

/// Why a private server is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("found no {program}: run dev/setup in the checkout, or set {variable}")]
    Missing { program: &'static str, variable: &'static str },
    #[error("{variable} is {path:?}, which is no {expected}: correct or unset it")]
    NotThere { variable: &'static str, path: PathBuf, expected: &'static str },
    #[error("cannot {action} {path:?}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{folder:?} is in use by another private server: stop it, or use another folder")]
    InUse { folder: PathBuf },
    #[error(
        "PostgreSQL does not run as root, and the user (id {uid}) that it runs as instead cannot \
         pass through {blocked:?} to the data folder {data:?}: use one below /var/tmp"
    )]
    Blocked { data: PathBuf, blocked: PathBuf, uid: u32 },
    #[error(
        "cannot copy the PostgreSQL of {bin:?} to where the user that it runs as can reach it \
         (it does not run as root): {source}"
    )]
    Copy { bin: PathBuf, source: io::Error },
    #[error("{server} ended while it was started; its log {log:?} says:\n{tail}")]
    Ended { server: &'static str, log: PathBuf, tail: String },
    #[error("{server} was not ready after {seconds} s; its log {log:?} says:\n{tail}")]
    Slow { server: &'static str, seconds: u64, log: PathBuf, tail: String },
    #[error("{server} (process {pid}) did not end after SIGKILL: look at what blocks it")]
    Stuck { server: &'static str, pid: u32 },
    #[error("cannot create the database {name}: {message}")]
    Database { name: String, message: String },
}

impl Error {
    fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}

/// Both servers. They stop when it is dropped.
pub struct Stack {
    pub nats: Nats,
    pub postgres: Postgres,
}

impl Stack {
    /// Starts both servers with durable settings and creates the database [`DATABASE`].
    ///
    /// With `data` they keep what they have in `data/nats` and `data/postgres`, and a later start
    /// finds it there. Without, they use temporary folders that are removed at the end.
    ///
    /// # Errors
    /// When a server cannot be started; neither is left running then.
    pub fn start(binaries: &Binaries, data: Option<PathBuf>) -> Result<Self, Error> {
        let nats = data.as_ref().map(|data| data.join("nats"));
        let postgres = data.map(|data| data.join("postgres"));
        let nats = NatsOptions { data: nats, ..NatsOptions::default() };
        let postgres = PostgresOptions { data: postgres, ..PostgresOptions::default() };
        Self::start_with(binaries, nats, postgres)
    }

    /// Starts both servers as told and creates the database [`DATABASE`].
    ///
    /// # Errors
    /// As for [`Stack::start`].
    pub fn start_with(
        binaries: &Binaries,
        nats: NatsOptions,
        postgres: PostgresOptions,
    ) -> Result<Self, Error> {
        let nats = Nats::start(binaries, nats)?;
        let postgres = Postgres::start(binaries, postgres)?;
        postgres.create_database(DATABASE)?;
        Ok(Self { nats, postgres })
    }

    /// Where clients find the nats-server; the same after it was started again.
    #[must_use]
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// The database [`DATABASE`] over TCP; the same after the server was started again.
    #[must_use]
    pub fn postgres_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// [`Self::postgres_url`] for the application's role, once the owner has migrated.
    #[must_use]
    pub fn application_url(&self) -> String {
        self.postgres.application_url(DATABASE)
    }
}
