//! A private PostgreSQL.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::account::Account;
use super::folder::{self, Folder};
use super::leash::{self, Leash, Order};
use super::server::{Launch, Server};
use super::{Binaries, Error};

const INITDB_WAIT_MAX: Duration = Duration::from_secs(120);
/// The system's limit for the path of a socket, without the ending zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_NAME_BYTES_MAX: usize = "/.s.PGSQL.65535".len();

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
        if !launch.cluster(&folder).exists() {
            launch.create_cluster(&folder)?;
        }
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

    /// Creates a database, unless it exists.
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
                  (select from pg_database where datname = :'name') \\gexec\n",
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

struct PostgresLaunch {
    bin: PathBuf,
    program: PathBuf,
    account: Option<Account>,
    socket: PathBuf,
    /// The socket's folder, if it is to be removed at the end.
    temporary: Option<PathBuf>,
    durable: bool,
    settings: Vec<(String, String)>,
}

impl PostgresLaunch {
    fn cluster(&self, folder: &Folder) -> PathBuf {
        folder.path().join("cluster")
    }

    /// Makes the cluster beside its place and renames it, so that half of one is never used.
    fn create_cluster(&self, folder: &Folder) -> Result<(), Error> {
        let work = folder.path().join("cluster.new");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(|source| Error::io("remove", &work, source))?;
        }
        fs::create_dir(&work).map_err(|source| Error::io("create", &work, source))?;
        folder::give(&work, self.account)?;

        let initdb = self.bin.join("initdb");
        let mut args: Vec<OsString> =
            ["--username=postgres", "--auth=trust", "--no-locale"].map(OsString::from).to_vec();
        args.extend(["--encoding=UTF8".into(), "--pgdata".into(), work.clone().into()]);
        if !self.durable || folder.temporary().is_some() {
            args.push("--no-sync".into());
        }
        let log_start = folder.log_bytes();
        let failed = |source| Error::io("run", &initdb, source);
        let order = Order { program: &initdb, args, ..self.base(folder) };
        let mut leash = Leash::start(&order).map_err(failed)?;
        let gone = leash.wait_gone(INITDB_WAIT_MAX).map_err(failed)?;
        let (log, tail) = (folder.log_path().to_path_buf(), folder.log_tail(log_start));
        if !gone {
            let seconds = INITDB_WAIT_MAX.as_secs();
            return Err(Error::Slow { server: "initdb", seconds, log, tail });
        }
        if !leash.keep().map_err(failed)?.success() {
            return Err(Error::Ended { server: "initdb", log, tail });
        }
        let cluster = self.cluster(folder);
        fs::rename(&work, &cluster).map_err(|source| Error::io("create", &cluster, source))
    }

    fn base<'a>(&'a self, folder: &'a Folder) -> Order<'a> {
        // Nobody waits for a checkpoint of data that is removed next.
        let stop = if folder.temporary().is_some() { "QUIT" } else { "INT" };
        Order {
            program: &self.program,
            args: Vec::new(),
            folder: folder.path(),
            log: folder.log(),
            account: self.account,
            stop,
            temporary: [folder.temporary(), self.temporary.as_deref()],
        }
    }
}

impl Launch for PostgresLaunch {
    const NAME: &'static str = "postgres";

    fn order<'a>(&'a self, folder: &'a Folder, port: u16) -> Result<Order<'a>, Error> {
        let mut settings: Vec<(&str, OsString)> = vec![
            ("listen_addresses", "127.0.0.1".into()),
            ("port", port.to_string().into()),
            ("unix_socket_directories", quoted(&self.socket)),
            ("unix_socket_permissions", "0700".into()),
            ("shared_buffers", "256MB".into()),
            ("max_wal_size", "4GB".into()),
            ("synchronous_commit", "on".into()),
            ("log_checkpoints", "off".into()),
            ("timezone", "UTC".into()),
            ("log_timezone", "UTC".into()),
        ];
        if !self.durable {
            settings.extend([("fsync", "off".into()), ("full_page_writes", "off".into())]);
        }
        settings.extend(self.settings.iter().map(|(name, value)| (name.as_str(), value.into())));
        let mut args = vec!["-D".into(), self.cluster(folder).into()];
        for (name, value) in settings {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            args.extend(["-c".into(), setting]);
        }
        Ok(Order { args, ..self.base(folder) })
    }

    /// The server writes its state into this file: line 1 is its process id, line 4 the port and
    /// line 8 is "ready" from the moment that it accepts connections.
    fn is_ready(&self, folder: &Folder, pid: u32, port: u16) -> bool {
        let state = fs::read_to_string(self.cluster(folder).join("postmaster.pid"));
        let state = state.unwrap_or_default();
        let line = |number: usize| state.lines().nth(number - 1).unwrap_or_default().trim();
        line(1) == pid.to_string() && line(4) == port.to_string() && line(8) == "ready"
    }
}

/// Where the socket goes: below the data, or into a temporary folder if that path is too long.
fn socket_folder(
    folder: &Folder,
    account: Option<Account>,
) -> Result<(PathBuf, Option<TempDir>), Error> {
    let socket = folder.path().join("socket");
    if socket.as_os_str().len() + SOCKET_NAME_BYTES_MAX > SOCKET_PATH_BYTES_MAX {
        let temporary = folder::temporary("prooftally-socket-", account)?;
        return Ok((temporary.path().to_path_buf(), Some(temporary)));
    }
    let failed = |source| Error::io("create", &socket, source);
    if !socket.is_dir() {
        fs::create_dir(&socket).map_err(failed)?;
    }
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    folder::give(&socket, account)?;
    Ok((socket, None))
}

/// The setting is a list, whose elements may be put in double quotes.
fn quoted(path: &Path) -> OsString {
    let mut quoted = OsString::from("\"");
    quoted.push(path);
    quoted.push("\"");
    quoted
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
