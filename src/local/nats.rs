//! A private nats-server with JetStream.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::folder::Folder;
use super::leash::Order;
use super::server::{Launch, Server};
use super::{Binaries, Error};

/// When JetStream forces its files to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// As the server does without being told: every 2 minutes.
    #[default]
    ServerDefault,
    /// At this interval, in whole milliseconds and at least one.
    Every(Duration),
    /// Before each publish is acknowledged.
    Always,
}

/// How to start a [`Nats`].
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// Where streams are kept; `None` is a temporary folder that is removed at the end.
    pub data: Option<PathBuf>,
    /// `None` is a free one.
    pub port: Option<u16>,
    pub sync: Sync,
}

/// A nats-server that stops when this is dropped.
pub struct Nats {
    server: Server,
    launch: NatsLaunch,
}

impl Nats {
    /// Starts a nats-server and waits at most 60 s until it serves clients.
    ///
    /// # Errors
    /// When the data folder is unusable or in use, or the server does not start.
    pub fn start(binaries: &Binaries, options: NatsOptions) -> Result<Self, Error> {
        let folder = Folder::open(options.data.as_deref(), NatsLaunch::NAME, None)?;
        let launch =
            NatsLaunch { program: binaries.nats_server().to_path_buf(), sync: options.sync };
        Ok(Self { server: Server::start(&launch, folder, options.port)?, launch })
    }

    /// Where clients find it; the same after it was started again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.server.port())
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

    /// Stops it in good order and waits until it is gone, at most 30 s before it is killed.
    ///
    /// # Errors
    /// When it cannot be signalled or watched.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.server.end::<NatsLaunch>(Signal::TERM)
    }

    /// Kills it, as a crash of the process would, and waits until it is gone.
    ///
    /// # Errors
    /// As for [`Nats::stop`].
    pub fn kill(&mut self) -> Result<(), Error> {
        self.server.end::<NatsLaunch>(Signal::KILL)
    }

    /// Starts it after it was stopped or killed, on the same port with the same data. A server
    /// that still runs is stopped first.
    ///
    /// # Errors
    /// As for [`Nats::start`]. The data is kept, so this can be tried again.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.server.start_again(&self.launch)
    }

    /// Freezes it: connections stay open and nothing is answered.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.server.pause()
    }

    /// Ends a [`Nats::pause`].
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.server.signal(Signal::CONT)
    }
}

struct NatsLaunch {
    program: PathBuf,
    sync: Sync,
}

impl NatsLaunch {
    /// The server writes a file here, named after itself, once it listens.
    fn ports_folder(folder: &Folder) -> PathBuf {
        folder.path().join("ports")
    }
}

impl Launch for NatsLaunch {
    const NAME: &'static str = "nats-server";

    fn order<'a>(&'a self, folder: &'a Folder, port: u16) -> Result<Order<'a>, Error> {
        let ports = Self::ports_folder(folder);
        // A server that was killed leaves its file behind.
        if ports.exists() {
            fs::remove_dir_all(&ports).map_err(|source| Error::io("empty", &ports, source))?;
        }
        fs::create_dir(&ports).map_err(|source| Error::io("create", &ports, source))?;
        let mut args: Vec<OsString> = vec!["--addr".into(), "127.0.0.1".into()];
        args.extend(["--port".into(), port.to_string().into()]);
        args.extend(["--jetstream".into(), "--store_dir".into(), folder.path().into()]);
        args.extend(["--ports_file_dir".into(), ports.into()]);
        let sync = match self.sync {
            Sync::ServerDefault => None,
            Sync::Every(interval) => Some(format!("{}ms", interval.as_millis().max(1))),
            Sync::Always => Some("always".to_owned()),
        };
        if let Some(sync) = sync {
            // The one setting that the server takes from a file only.
            let config = folder.path().join("nats-server.conf");
            fs::write(&config, format!("jetstream {{ sync_interval: {sync} }}\n"))
                .map_err(|source| Error::io("write", &config, source))?;
            args.extend(["--config".into(), config.into()]);
        }
        Ok(Order {
            program: &self.program,
            args,
            folder: folder.path(),
            log: folder.log(),
            account: None,
            stop: "TERM",
            temporary: [folder.temporary(), None],
        })
    }

    fn is_ready(&self, folder: &Folder, pid: u32, port: u16) -> bool {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let file = Self::ports_folder(folder).join(format!("{program}_{pid}.ports"));
        file.exists() && greets(port)
    }
}

/// Every connection begins with a line of the server's.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let wait_max = Duration::from_secs(1);
    let mut word = [0; 5];
    let greeted = TcpStream::connect_timeout(&address, wait_max).and_then(|mut stream| {
        stream.set_read_timeout(Some(wait_max))?;
        stream.read_exact(&mut word)
    });
    greeted.is_ok() && &word == b"INFO "
}
