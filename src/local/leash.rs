//! A server on a leash: it never outlives this process, however this process ends.
//!
//! The server is the child of a small shell, and the shell reads from a pipe whose other end is
//! ours. When that end closes, be it by `Drop`, by a panic or because this process was killed, the
//! shell stops the server, kills it when it takes too long, and removes the folders that were
//! temporary. Both run in a process group of their own, so a terminal's Ctrl-C reaches only us.
//!
//! The shell's standard output is a second pipe, which it hands on to the server as descriptor 3
//! and then closes: end of file there means that the server and all its children are gone. The
//! log file is inherited by all of them too, and so is the lock on it (see `folder`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;

/// How long a server may take to stop after its leash was let go, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The traps come after the server's start, because a server would inherit ignored signals.
/// SIGHUP is among them since the kernel sends it to a group that is orphaned while one of its
/// members is paused.
const SHELL: &str = r#"
stop=$1 ticks=$2 first=$3 second=$4 status=0
shift 4
"$@" 3>&1 1>&2 </dev/null &
server=$!
trap '' HUP INT TERM
echo "$server"
exec >/dev/null
while read -r word; do
    case $word in
    gone) wait "$server"; status=$?; server= ;;
    keep) first= second= ;;
    esac
done
if [ -n "$server" ]; then
    kill -s "$stop" "$server" && kill -s CONT "$server"
    while [ "$ticks" -gt 0 ] && kill -s 0 "$server"; do
        sleep 0.02
        ticks=$((ticks - 1))
    done
    kill -s KILL "$server"
fi 2>/dev/null
for folder in "$first" "$second"; do
    tries=50
    while [ -n "$folder" ] && [ -e "$folder" ] && [ "$tries" -gt 0 ]; do
        rm -rf -- "$folder" 2>/dev/null || sleep 0.02
        tries=$((tries - 1))
    done
done
exit "$status"
"#;
/// A tick is a sleep of 20 ms and the start of the program that sleeps.
const TICKS_PER_SECOND: u64 = 40;

/// What to run, and how it ends.
pub(super) struct Order<'a> {
    pub program: &'a Path,
    pub args: Vec<OsString>,
    /// The current folder of the server.
    pub folder: &'a Path,
    /// Takes the server's standard output and error.
    pub log: &'a File,
    /// Who runs it; `None` is who we are.
    pub account: Option<Account>,
    /// Name of the signal that stops it when the leash is let go, without `SIG`.
    pub stop: &'static str,
    /// Removed when the leash is let go.
    pub temporary: [Option<&'a Path>; 2],
}

/// A running server, or one that has ended while its temporary folders are still kept for us.
pub(super) struct Leash {
    shell: Child,
    /// Always `Some` until `Drop`.
    words: Option<ChildStdin>,
    life: ChildStdout,
    pid: Pid,
    gone: bool,
}

impl Leash {
    /// Starts the server. Returns as soon as its process exists.
    pub(super) fn start(order: &Order<'_>) -> io::Result<Self> {
        let ticks = GRACE.as_secs() * TICKS_PER_SECOND;
        let [first, second] =
            order.temporary.map(|path| path.map_or(OsStr::new(""), Path::as_os_str));
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SHELL, "leash", order.stop, &ticks.to_string()])
            .args([first, second])
            .arg(order.program)
            .args(&order.args)
            .current_dir(order.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(order.log.try_clone()?))
            .process_group(0);
        without_client_settings(&mut command);
        if let Some(account) = order.account {
            // Setting the user also clears the supplementary groups.
            command.gid(account.gid).uid(account.uid);
        }
        let mut shell = command.spawn()?;
        let words = shell.stdin.take();
        let mut life = shell.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let pid = first_line(&mut life)?;
        Ok(Self { shell, words, life, pid, gone: false })
    }

    /// The server's process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the server. One that is already gone is not signalled.
    pub(super) fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.wait_gone(Duration::ZERO)? {
            return Ok(());
        }
        Ok(kill_process(self.pid, signal)?)
    }

    /// Waits until the server and all its children are gone; false when `wait_max` passed before.
    pub(super) fn wait_gone(&mut self, wait_max: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + wait_max;
        while !self.gone {
            let rest = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(rest).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.life, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Ok(false),
                // Nothing is ever written to this pipe after the process id, so it has ended.
                Ok(_) => {
                    self.gone = true;
                    self.say("gone");
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Lets go without removing the temporary folders. Returns how the server ended, or success
    /// where it had not ended by itself.
    pub(super) fn keep(mut self) -> io::Result<ExitStatus> {
        self.say("keep");
        drop(self.words.take());
        self.shell.wait()
    }

    /// A shell that cannot be told has ended itself, and then there is nothing left to tell.
    fn say(&mut self, word: &str) {
        if let Some(words) = &mut self.words {
            let _ = words.write_all(format!("{word}\n").as_bytes());
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.words.take());
        let deadline = Instant::now() + GRACE + Duration::from_secs(2);
        while matches!(self.shell.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                tracing::warn!(pid = self.pid(), "a private server is still being stopped");
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Variables such as `PGHOST` and `PGOPTIONS` would lead the tools of PostgreSQL elsewhere.
pub(super) fn without_client_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
}

/// The shell's first line, which is the server's process id. Reads byte by byte, since the pipe
/// stays in use.
fn first_line(pipe: &mut ChildStdout) -> io::Result<Pid> {
    let mut digits = String::new();
    let mut byte = [0];
    while pipe.read(&mut byte)? == 1 && byte[0] != b'\n' {
        digits.push(char::from(byte[0]));
    }
    let number = digits.parse().map_err(|_| io::Error::other("the shell did not start it"))?;
    Pid::from_raw(number).ok_or_else(|| io::Error::other("it has no process id"))
}
