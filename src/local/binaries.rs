//! Where the programs of the private servers are. This is the one module that reads environment
//! variables by itself: what is read names programs of a developer's machine, and no configuration
//! file of a deployment should.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Error;

const NATS_VARIABLE: &str = "PROOFTALLY_NATS_SERVER";
const POSTGRES_VARIABLE: &str = "PROOFTALLY_POSTGRES_BIN";
/// Where `dev/setup` installs, below the checkout.
pub(super) const NATS_INSTALLED: &str = ".local/nats-2.15.1/bin/nats-server";
pub(super) const POSTGRES_INSTALLED: &str = ".local/postgres-18.4/bin";

/// The programs of both servers.
#[derive(Debug, Clone)]
pub struct Binaries {
    nats_server: PathBuf,
    postgres_bin: PathBuf,
}

impl Binaries {
    /// Looks for each server in this order: what `PROOFTALLY_NATS_SERVER` (the program) or
    /// `PROOFTALLY_POSTGRES_BIN` (the folder of `initdb`, `postgres` and `psql`) names; `.local/`
    /// above this program, above the current folder and in `CARGO_MANIFEST_DIR`; the search path.
    ///
    /// # Errors
    /// [`Error::NotThere`] when a variable names nothing usable, [`Error::Missing`] when the
    /// search ends without result.
    pub fn find() -> Result<Self, Error> {
        let checkouts = checkouts();
        Ok(Self { nats_server: nats_server(&checkouts)?, postgres_bin: postgres_bin(&checkouts)? })
    }

    /// The program nats-server.
    #[must_use]
    pub fn nats_server(&self) -> &Path {
        &self.nats_server
    }

    /// The folder of PostgreSQL's programs.
    #[must_use]
    pub fn postgres_bin(&self) -> &Path {
        &self.postgres_bin
    }
}

fn nats_server(checkouts: &[PathBuf]) -> Result<PathBuf, Error> {
    if let Some(path) = variable(NATS_VARIABLE) {
        let expected = "program";
        return if is_program(&path) {
            Ok(path)
        } else {
            Err(Error::NotThere { variable: NATS_VARIABLE, path, expected })
        };
    }
    let installed = checkouts.iter().map(|checkout| checkout.join(NATS_INSTALLED));
    installed
        .chain(search_path().map(|folder| folder.join("nats-server")))
        .find(|path| is_program(path))
        .ok_or(Error::Missing { program: "nats-server", variable: NATS_VARIABLE })
}

fn postgres_bin(checkouts: &[PathBuf]) -> Result<PathBuf, Error> {
    if let Some(path) = variable(POSTGRES_VARIABLE) {
        let expected = "folder with the programs initdb, postgres and psql";
        return if is_postgres(&path) {
            Ok(path)
        } else {
            Err(Error::NotThere { variable: POSTGRES_VARIABLE, path, expected })
        };
    }
    let installed = checkouts.iter().map(|checkout| checkout.join(POSTGRES_INSTALLED));
    // A program on the search path may be a link into the folder where all of them are.
    let linked = search_path().filter_map(|folder| {
        Some(fs::canonicalize(folder.join("initdb")).ok()?.parent()?.to_path_buf())
    });
    installed
        .chain(linked)
        .find(|path| is_postgres(path))
        .ok_or(Error::Missing { program: "PostgreSQL", variable: POSTGRES_VARIABLE })
}

/// Folders that may be the checkout in which `dev/setup` was run, best first.
fn checkouts() -> Vec<PathBuf> {
    let above = |path: Option<PathBuf>| -> Vec<PathBuf> {
        path.iter().flat_map(|path| path.ancestors()).map(Path::to_path_buf).collect()
    };
    let mut folders = above(env::current_exe().ok());
    // Folders above the current one can be anyone's, for example /tmp, and what is in them is run.
    folders.extend(above(env::current_dir().ok()).into_iter().filter(|folder| is_trusted(folder)));
    folders.extend(variable("CARGO_MANIFEST_DIR"));
    folders
}

fn is_trusted(folder: &Path) -> bool {
    let owner = fs::symlink_metadata(folder.join(".local")).map(|metadata| metadata.uid());
    owner.is_ok_and(|owner| owner == 0 || owner == rustix::process::geteuid().as_raw())
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // An empty or relative element would mean the current folder.
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect::<Vec<_>>().into_iter()
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| value != OsStr::new("")).map(PathBuf::from)
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn is_postgres(bin: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| is_program(&bin.join(program)))
}
