//! What PostgreSQL needs to start: a cluster, a folder for its socket, and its settings.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::Error;
use super::account::Account;
use super::folder::{self, Folder};
use super::leash::{Leash, Order};
use super::server::Launch;

const INITDB_WAIT_MAX: Duration = Duration::from_secs(120);
/// The system's limit for the path of a socket, without the ending zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_NAME_BYTES_MAX: usize = "/.s.PGSQL.65535".len();

pub(super) struct PostgresLaunch {
    pub bin: PathBuf,
    pub program: PathBuf,
    pub account: Option<Account>,
    pub socket: PathBuf,
    /// The socket's folder, if it is to be removed at the end.
    pub temporary: Option<PathBuf>,
    pub durable: bool,
    pub settings: Vec<(String, String)>,
}

impl PostgresLaunch {
    /// Creates the cluster unless there is one. It is made beside its place and then renamed, so
    /// that half of one is never used.
    pub(super) fn ensure_cluster(&self, folder: &Folder) -> Result<(), Error> {
        let cluster = cluster(folder);
        if cluster.exists() {
            return Ok(());
        }
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
        let mut args = vec!["-D".into(), cluster(folder).into()];
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
        let state = fs::read_to_string(cluster(folder).join("postmaster.pid"));
        let state = state.unwrap_or_default();
        let line = |number: usize| state.lines().nth(number - 1).unwrap_or_default().trim();
        line(1) == pid.to_string() && line(4) == port.to_string() && line(8) == "ready"
    }
}

fn cluster(folder: &Folder) -> PathBuf {
    folder.path().join("cluster")
}

/// Where the socket goes: below the data, or into a temporary folder if that path is too long.
pub(super) fn socket_folder(
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
