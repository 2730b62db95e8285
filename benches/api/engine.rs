//! The engine with its API, in a process of its own, so that processor time and memory are its alone.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use prooftally::config::Config;
use prooftally::engine::{self, Engine};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::terms;

/// What the process is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub nats_url: String,
    pub database_url: String,
    pub segment: i64,
}

impl Order {
    /// The product's settings for these servers. The stream has no limits, and one caller may ask as often as
    /// the bench does.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = terms::config()?;
        config.nats.url = self.nats_url.as_str().into();
        "PROOFS".clone_into(&mut config.nats.stream);
        "PROOFS".clone_into(&mut config.nats.origin.name);
        let origin = &mut config.nats.origin;
        (origin.replicas, origin.messages_max, origin.bytes_max) = (1, -1, -1);
        config.database.url = self.database_url.as_str().into();
        config.ledger.segment_entries = self.segment;
        config.admin.listen = ([127, 0, 0, 1], 0).into();
        config.api.listen = ([127, 0, 0, 1], 0).into();
        (config.api.requests_per_second, config.api.requests_burst) = (10_000, 10_000);
        Ok(config)
    }
}

/// Runs the engine until nobody holds its input any more. Prints where the API listens.
pub async fn obey(order: &Order) -> anyhow::Result<()> {
    let mut engine = Engine::start(engine::Config::of(&order.config()?)).await?;
    println!("{}", engine.api.context("the API is off")?);
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        // Nothing is ever sent.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    tokio::select! {
        () = engine.failed() => anyhow::bail!("the engine has ended"),
        _ = told => {}
    }
    engine.stop().await;
    Ok(())
}

/// The process. It is killed when this is dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Running {
    /// Starts it, and waits until its API listens.
    pub fn start(order: &Order) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--bench", "--order", &serde_json::to_string(order)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("its output is a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().context("the engine has not started")?;
        Ok(Self { child, address })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// If it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        anyhow::ensure!(ended.is_none(), "the engine has ended");
        Ok(())
    }

    /// Ends it in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the engine has ended with {status}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
