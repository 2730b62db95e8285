//! What both private servers have in common: a free port, a start that waits until clients are
//! served, an end, and another start on the same port with the same data.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Error;
use super::folder::Folder;
use super::leash::{Leash, Order};

/// Long enough for a recovery after a crash.
const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Long enough for a checkpoint; afterwards the server is killed.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
const PAUSE_WAIT_MAX: Duration = Duration::from_secs(1);
const PORT_TRIES: u32 = 20;

/// What is particular to a server.
pub(super) trait Launch {
    const NAME: &'static str;

    /// The command that starts it on `port`.
    fn order<'a>(&'a self, folder: &'a Folder, port: u16) -> Result<Order<'a>, Error>;

    /// Whether the process `pid`, and no other, serves clients on `port`.
    fn is_ready(&self, folder: &Folder, pid: u32, port: u16) -> bool;
}

pub(super) struct Server {
    // Dropped before the folder, since the leash is what stops the server.
    leash: Leash,
    folder: Folder,
    port: u16,
}

impl Server {
    /// Starts the server on `port`, or on a free one, and waits at most 60 s until it is ready.
    pub(super) fn start<L: Launch>(
        launch: &L,
        folder: Folder,
        port: Option<u16>,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let mut tries = if port.is_some() { 1 } else { PORT_TRIES };
        loop {
            let number = port.map_or_else(|| free_port(&folder), Ok)?;
            tries -= 1;
            match start_leash(launch, &folder, number) {
                Ok(leash) => {
                    let wait_ms = started.elapsed().as_millis();
                    tracing::debug!(server = L::NAME, port = number, wait_ms, "started");
                    return Ok(Self { leash, folder, port: number });
                }
                // Someone else took the port after we had looked.
                Err(Error::Ended { .. }) if tries > 0 && !is_free(number) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts it again after it ended, on the same port with the same data.
    pub(super) fn start_again<L: Launch>(&mut self, launch: &L) -> Result<(), Error> {
        self.end::<L>(Signal::TERM)?;
        // The old leash is kept until the new one holds the temporary folders.
        let leash = start_leash(launch, &self.folder, self.port)?;
        let old = std::mem::replace(&mut self.leash, leash);
        old.keep().map_err(|source| Error::io("let go of", self.folder.path(), source))?;
        Ok(())
    }

    /// Sends `signal` and waits until the server and its children are gone. One that takes longer
    /// than 30 s is killed; one that has ended already is not an error.
    pub(super) fn end<L: Launch>(&mut self, signal: Signal) -> Result<(), Error> {
        self.signal(signal)?;
        // A paused server would not see the signal.
        self.signal(Signal::CONT)?;
        if self.wait_gone(STOP_WAIT_MAX)? {
            return Ok(());
        }
        tracing::warn!(server = L::NAME, "did not stop in time and is killed");
        self.signal(Signal::KILL)?;
        if self.wait_gone(KILL_WAIT_MAX)? {
            return Ok(());
        }
        Err(Error::Stuck { server: L::NAME, pid: self.pid() })
    }

    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        let sent = self.leash.signal(signal);
        sent.map_err(|source| Error::io("signal the server of", self.folder.path(), source))
    }

    /// Freezes the server. The signal alone would leave its threads running for a moment more, so
    /// this waits, at most a second, until the system says that all of them have stopped.
    pub(super) fn pause(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + PAUSE_WAIT_MAX;
        while !is_paused(self.pid()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn wait_gone(&mut self, wait_max: Duration) -> Result<bool, Error> {
        let waited = self.leash.wait_gone(wait_max);
        waited.map_err(|source| Error::io("watch the server of", self.folder.path(), source))
    }

    pub(super) fn pid(&self) -> u32 {
        self.leash.pid()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }
}

fn start_leash<L: Launch>(launch: &L, folder: &Folder, port: u16) -> Result<Leash, Error> {
    let log_start = folder.log_bytes();
    let order = launch.order(folder, port)?;
    let failed = |source| Error::io("start", order.program, source);
    let mut leash = Leash::start(&order).map_err(failed)?;
    let deadline = Instant::now() + READY_WAIT_MAX;
    let mut wait = Duration::from_millis(1);
    loop {
        if launch.is_ready(folder, leash.pid(), port) {
            return Ok(leash);
        }
        let gone = leash.wait_gone(wait).map_err(failed)?;
        if !gone && Instant::now() < deadline {
            wait = (wait * 2).min(Duration::from_millis(20));
            continue;
        }
        if !gone {
            leash.signal(Signal::KILL).map_err(failed)?;
            leash.wait_gone(KILL_WAIT_MAX).map_err(failed)?;
        }
        // The folder is still needed for another try; `Folder` removes it otherwise.
        leash.keep().map_err(failed)?;
        let (server, log) = (L::NAME, folder.log_path().to_path_buf());
        let tail = folder.log_tail(log_start);
        return Err(if gone {
            Error::Ended { server, log, tail }
        } else {
            Error::Slow { server, seconds: READY_WAIT_MAX.as_secs(), log, tail }
        });
    }
}

/// Whether no thread of the process runs. True where the system has no `/proc` to tell.
fn is_paused(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("stat"))).all(|stat| {
        // The state follows the program's name in parentheses; T is stopped, Z and X have ended.
        let state = stat.ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
        state.is_none_or(|state| "TtZX".contains(state))
    })
}

/// A port that is free now. It lies below the range that systems draw client ports from, so no
/// client takes it while the server is down for a restart, nor connects to itself on it.
fn free_port(folder: &Folder) -> Result<u16, Error> {
    for _ in 0..PORT_TRIES {
        let drawn = RandomState::new().build_hasher().finish() % 20_000;
        let port = 10_000 + u16::try_from(drawn).expect("below 20,000");
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::io("find a free port for", folder.path(), io::ErrorKind::AddrInUse.into()))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
