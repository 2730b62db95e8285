//! A private PostgreSQL.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::account::Account;
use super::cluster::{PostgresLaunch, socket_folder};
use super::folder::Folder;
use super::leash;
use super::server::{Launch, Server};
use super::{Binaries, Error};

/// The role that the engine and the command line run as; see migrations/README.md.
const APPLICATION: &str = "prooftally_app";

/// How to start a [`Postgres`].
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where the cluster is kept; `None` is a temporary folder that is removed at the end.
    pub data: Option<PathBuf>,
    /// `None` is a free one.
    pub port: Option<u16>,
    /// False never waits for the disk: data outlives a crash of the server, but not of the machine.
    pub durable: bool,
    /// Further settings by name; they win over the ones made here.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { data: None, port: None, durable: true, settings: Vec::new() }
    }
}

/// A PostgreSQL that stops when this is dropped. Its superuser is `postgres`, without a password.
pub struct Postgres {
    server: Server,
    launch: PostgresLaunch,
    // Held for its `Drop`, in case that a leash never was.
    _socket: Option<TempDir>,
}

impl Postgres {
    /// Starts a PostgreSQL, after creating its cluster where there is none, and waits at most 60 s
    /// (and 120 s for the cluster) until it serves clients. As root it is run by another user.
    ///
    /// # Errors
    /// When the data folder is unusable or in use, or the server does not start.
    pub fn start(binaries: &Binaries, options: PostgresOptions) -> Result<Self, Error> {
        let cluster = options.data.as_ref().map(|data| data.join("cluster")).unwrap_or_default();
        let account = Account::for_cluster(&cluster);
        let bin = match account {
            Some(account) => account.reachable_bin(binaries.postgres_bin())?,
            None => binaries.postgres_bin().to_path_buf(),
        };
        let folder = Folder::open(options.data.as_deref(), PostgresLaunch::NAME, account)?;
        let (socket, temporary) = socket_folder(&folder, account)?;
        let launch = PostgresLaunch {
            program: bin.join("postgres"),
            bin,
            account,
            temporary: temporary.as_ref().map(|_| socket.clone()),
            socket,
            durable: options.durable,
            settings: options.settings,
        };
        launch.ensure_cluster(&folder)?;
        let server = Server::start(&launch, folder, options.port)?;
        Ok(Self { server, launch, _socket: temporary })
    }

    /// `database` over TCP; the same after the server was started again.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let database = encode(database.as_bytes());
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.server.port())
    }

    /// `database` over the Unix socket, which only the user that runs the server and root can use.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let database = encode(database.as_bytes());
        let socket = encode(self.launch.socket.as_os_str().as_bytes());
        let port = self.server.port();
        format!("postgres:///{database}?host={socket}&port={port}&user=postgres")
    }

    /// The process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The file with the server's log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.server.folder().log_path()
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.server.folder().path()
    }

    /// [`Self::url`] for the application's role, which owns nothing.
    #[must_use]
    pub fn application_url(&self, database: &str) -> String {
        self.url(database).replacen("//postgres@", &format!("//{APPLICATION}@"), 1)
    }

    /// [`Self::socket_url`] for the application's role.
    #[must_use]
    pub fn application_socket_url(&self, database: &str) -> String {
        let url = self.socket_url(database);
        let owner = "user=postgres";
        format!("{}user={APPLICATION}", url.strip_suffix(owner).unwrap_or(&url))
    }

    /// Creates a database and the application's role, unless they exist.
    ///
    /// # Errors
    /// [`Error::Database`] with what `psql` said.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        let failed = |message: String| Error::Database { name: name.to_owned(), message };
        let mut command = Command::new(self.launch.bin.join("psql"));
        leash::without_client_settings(&mut command);
        let mut psql = command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-password"])
            .args(["--set", "ON_ERROR_STOP=1", "--set", &format!("name={name}")])
            .arg("--dbname")
            .arg(self.url("postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = psql.stdin.take() {
            let written = stdin.write_all(
                b"select format('create database %I', :'name') where not exists \
                  (select from pg_database where datname = :'name') \\gexec\n\
                  do $$ begin create role prooftally_app login; \
                  exception when duplicate_object or unique_violation then null; end $$;\n\
                  select 'alter role prooftally_app login' where exists (select from pg_roles \
                  where rolname = 'prooftally_app' and not rolcanlogin) \\gexec\n",
            );
            written.map_err(|error| failed(error.to_string()))?;
        }
        let output = psql.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Stops it in good order: open transactions are aborted, everything is flushed. Waits until
    /// it is gone, at most 30 s before it is killed.
    ///
    /// # Errors
    /// When it cannot be signalled or watched.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.server.end::<PostgresLaunch>(Signal::INT)
    }

    /// Stops it without flushing, so that the next start has to recover as after a crash.
    ///
    /// # Errors
    /// As for [`Postgres::stop`].
    pub fn crash(&mut self) -> Result<(), Error> {
        self.server.end::<PostgresLaunch>(Signal::QUIT)
    }

    /// Starts it after it was stopped or crashed, on the same port with the same data. A server
    /// that still runs is stopped first.
    ///
    /// # Errors
    /// As for [`Postgres::start`]. The data is kept, so this can be tried again.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.stop()?;
        self.server.start_again(&self.launch)
    }
}

/// Percent-encodes what has a meaning in a URL.
fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}
