//! These start the real servers that `Binaries::find` finds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const WAIT_MAX: Duration = Duration::from_secs(20);

fn binaries() -> Binaries {
    Binaries::find().unwrap()
}

fn fast() -> PostgresOptions {
    PostgresOptions { durable: false, ..PostgresOptions::default() }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a line to the nats-server and returns its next one, or nothing after `wait_max`.
fn ask_nats(url: &str, line: &str, wait_max: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(url.strip_prefix("nats://").unwrap())?;
    stream.set_read_timeout(Some(wait_max))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

fn serves_nats(url: &str) -> bool {
    ask_nats(url, "PING\r\n", Duration::from_secs(1)).is_ok_and(|line| line.starts_with("INFO "))
}

fn query(url: &str, sql: &str) -> Result<String, String> {
    let psql = binaries().postgres_bin().join("psql");
    let output = Command::new(psql).args(["-XAtq", "-c", sql, "-d", url]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie is gone as far as ports and files are concerned.
    !stat.is_empty() && !stat.rsplit(')').next().unwrap_or_default().trim().starts_with('Z')
}

/// Waits for the kernel to let go of a process that has ended; its parent can hear of it earlier.
fn is_gone(pid: u32) -> bool {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while lives(pid) {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    true
}

#[test]
fn setup_installs_what_is_looked_for() {
    let setup = include_str!("../../dev/setup");
    for (variable, path) in [
        ("nats_version", binaries::NATS_INSTALLED),
        ("postgres_version", binaries::POSTGRES_INSTALLED),
    ] {
        let lines = setup.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('='));
        assert!(path.contains(&format!("-{}/", lines.unwrap())), "{path}");
    }
}

#[test]
fn nats_is_stopped_killed_and_started_again_on_the_same_port() {
    let mut nats = Nats::start(&binaries(), NatsOptions::default()).unwrap();
    let (url, data, first) = (nats.url(), nats.data().to_path_buf(), nats.pid());
    assert!(serves_nats(&url));

    nats.stop().unwrap();
    assert!(is_gone(first));
    assert!(!serves_nats(&url));
    nats.start_again().unwrap();
    assert_eq!(nats.url(), url);
    assert_ne!(nats.pid(), first);
    assert!(serves_nats(&url));

    nats.kill().unwrap();
    nats.kill().unwrap();
    assert!(!serves_nats(&url));
    nats.start_again().unwrap();
    assert!(serves_nats(&url));

    let last = nats.pid();
    drop(nats);
    assert!(is_gone(last));
    assert!(!data.exists(), "temporary data is removed");
}

#[test]
fn a_paused_nats_answers_nothing_until_it_is_resumed() {
    let mut nats = Nats::start(&binaries(), NatsOptions::default()).unwrap();
    nats.pause().unwrap();
    let url = nats.url();
    let answer = ask_nats(&url, "PING\r\n", Duration::from_millis(300));
    assert!(answer.is_err(), "the connection is accepted by the system alone: {answer:?}");
    nats.resume().unwrap();
    wait_until("it answers again", || serves_nats(&url));
    nats.pause().unwrap();
    let started = Instant::now();
    nats.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "a paused server stops as well");
}

#[test]
fn nats_takes_every_sync_interval() {
    for sync in [Sync::Always, Sync::Every(Duration::from_millis(500))] {
        let nats =
            Nats::start(&binaries(), NatsOptions { sync, ..NatsOptions::default() }).unwrap();
        let info = ask_nats(&nats.url(), "", Duration::from_secs(1)).unwrap();
        assert!(info.contains(r#""jetstream":true"#), "{info}");
    }
}

#[test]
fn postgres_keeps_what_was_committed_over_stop_and_crash() {
    let mut postgres = Postgres::start(&binaries(), fast()).unwrap();
    postgres.create_database("it's a \"name\"").unwrap();
    postgres.create_database("it's a \"name\"").unwrap();
    let url = postgres.url("it's a \"name\"");
    query(&url, "create table kept (n int); insert into kept values (1)").unwrap();

    postgres.stop().unwrap();
    assert!(query(&url, "select 1").is_err());
    postgres.start_again().unwrap();
    query(&url, "insert into kept values (2)").unwrap();
    postgres.crash().unwrap();
    postgres.start_again().unwrap();
    assert_eq!(postgres.url("it's a \"name\""), url);
    assert_eq!(query(&url, "select sum(n) from kept").unwrap(), "3");
    let log = fs::read_to_string(postgres.log_path()).unwrap();
    assert!(log.contains("database system was interrupted"), "a crash is recovered from: {log}");

    let (pid, data) = (postgres.pid(), postgres.data().to_path_buf());
    drop(postgres);
    assert!(is_gone(pid));
    assert!(!data.exists(), "temporary data is removed");
}

#[test]
fn postgres_serves_its_socket_and_takes_settings() {
    let settings = vec![("work_mem".to_owned(), "7MB".to_owned())];
    let postgres = Postgres::start(&binaries(), PostgresOptions { settings, ..fast() }).unwrap();
    assert_eq!(query(&postgres.socket_url("postgres"), "show work_mem").unwrap(), "7MB");
    assert_eq!(query(&postgres.url("postgres"), "show fsync").unwrap(), "off");
}

#[test]
fn a_wrong_setting_is_reported_with_the_log() {
    let settings = vec![("work_mem".to_owned(), "much".to_owned())];
    let error = Postgres::start(&binaries(), PostgresOptions { settings, ..fast() }).err().unwrap();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(error.to_string().contains("work_mem"), "{error}");
}

#[test]
fn a_stack_finds_its_data_again_and_shares_it_with_nobody() {
    let parent = tempfile::tempdir_in("/var/tmp").unwrap();
    // Whoever runs PostgreSQL has to pass through; and the path is too long for a socket.
    set_mode(parent.path(), 0o755);
    let data = parent.path().join("d".repeat(100));
    let stack = Stack::start(&binaries(), Some(data.clone())).unwrap();
    query(&stack.postgres_url(), "create table kept (n int)").unwrap();
    assert!(serves_nats(&stack.nats_url()));
    let socket = stack.postgres.socket_url(DATABASE);
    query(&socket, "insert into kept values (1)").unwrap();

    let other = NatsOptions { data: Some(data.join("nats")), ..NatsOptions::default() };
    assert!(matches!(Nats::start(&binaries(), other), Err(Error::InUse { .. })));
    drop(stack);

    let stack = Stack::start(&binaries(), Some(data.clone())).unwrap();
    assert_eq!(query(&stack.postgres_url(), "select count(*) from kept").unwrap(), "1");
    drop(stack);
    assert!(data.join("postgres/cluster/PG_VERSION").exists(), "kept data is not removed");
    let log = fs::read_to_string(data.join("postgres/postgres.log")).unwrap();
    assert!(!log.contains("was interrupted"), "it was stopped in good order: {log}");
}

#[test]
fn a_data_folder_out_of_reach_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let parent = tempfile::tempdir_in("/var/tmp").unwrap();
    set_mode(parent.path(), 0o700);
    let data = Some(parent.path().join("data"));
    let error = Postgres::start(&binaries(), PostgresOptions { data, ..fast() }).err().unwrap();
    assert!(
        matches!(&error, Error::Blocked { blocked, .. } if blocked == parent.path()),
        "{error}"
    );
}

fn set_mode(folder: &Path, mode: u32) {
    fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
}
