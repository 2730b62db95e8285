//! The data folder of a private server, with its log. The log is also the lock: it is locked while
//! it is open, and the server and its leash inherit it, so a folder is free again only when nobody
//! uses it any more, even if the process that started the server was killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::TempDir;

use super::Error;
use super::account::Account;

/// A little more than a leash takes to stop the server of a process that was killed.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(8);
const TAIL_BYTES_MAX: u64 = 4096;

pub(super) struct Folder {
    path: PathBuf,
    log: File,
    log_path: PathBuf,
    /// Removed by the leash when this process is killed, else here.
    temporary: Option<TempDir>,
}

impl Folder {
    /// Opens or creates `data`, or a temporary folder without it, for the server called `name`
    /// and run by `account`. Waits at most 8 s for a former user of the folder to end.
    pub(super) fn open(
        data: Option<&Path>,
        name: &str,
        account: Option<Account>,
    ) -> Result<Self, Error> {
        let temporary = match data {
            Some(data) => kept(data).map(|()| None)?,
            None => Some(temporary(&format!("prooftally-{name}-"), account)?),
        };
        let path = temporary.as_ref().map(TempDir::path).or(data).unwrap_or(Path::new("."));
        let path = fs::canonicalize(path).map_err(|source| Error::io("find", path, source))?;
        if let Some(account) = account {
            let blocked = account.blocked_at(&path);
            if let Some(blocked) = blocked.map_err(|source| Error::io("look at", &path, source))? {
                return Err(Error::Blocked { data: path, blocked, uid: account.uid });
            }
        }
        let log_path = path.join(format!("{name}.log"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&log_path)
            .map_err(|source| Error::io("open", &log_path, source))?;
        lock(&log, &path)?;
        Ok(Self { path, log, log_path, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self) -> &File {
        &self.log
    }

    pub(super) fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// The folder, if it is to be removed at the end.
    pub(super) fn temporary(&self) -> Option<&Path> {
        self.temporary.as_ref().map(|_| self.path())
    }

    /// How long the log is now: where the lines of a server that is about to start will begin.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The end of what was logged after the first `start` bytes.
    pub(super) fn log_tail(&self, start: u64) -> String {
        let from = start.max(self.log_bytes().saturating_sub(TAIL_BYTES_MAX));
        let mut bytes = Vec::new();
        let read = File::open(&self.log_path).and_then(|mut log| {
            log.seek(SeekFrom::Start(from))?;
            log.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)
        });
        match read {
            Ok(0) => "(nothing)".to_owned(),
            Ok(_) => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
            Err(error) => format!("(unreadable: {error})"),
        }
    }
}

/// Makes a temporary folder that belongs to `account` and only it (and root) can look into.
pub(super) fn temporary(prefix: &str, account: Option<Account>) -> Result<TempDir, Error> {
    let parent = account.map_or_else(std::env::temp_dir, Account::temporary_folder);
    let private = PermissionsExt::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(&parent);
    let made = made.map_err(|source| Error::io("make a folder in", parent, source))?;
    give(made.path(), account)?;
    Ok(made)
}

/// Makes `folder` the account's own. A link is not followed.
pub(super) fn give(folder: &Path, account: Option<Account>) -> Result<(), Error> {
    let Some(account) = account else { return Ok(()) };
    lchown(folder, Some(account.uid), Some(account.gid))
        .map_err(|source| Error::io("change the owner of", folder, source))
}

/// A folder that is made here may be passed through by the account, whatever our umask is.
fn kept(data: &Path) -> Result<(), Error> {
    let failed = |source| Error::io("create", data, source);
    if !data.is_dir() {
        fs::create_dir_all(data).map_err(failed)?;
        let mode = fs::metadata(data).map_err(failed)?.mode() | 0o711;
        fs::set_permissions(data, PermissionsExt::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

fn lock(log: &File, folder: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match log.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", folder, source)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(Error::InUse { folder: folder.to_path_buf() });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
