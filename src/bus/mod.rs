//! The NATS edge: streams, the two wire shapes, and the intake that feeds the actors.

mod adopting;
mod asked;
mod caution;
pub mod compare;
mod corrections;
pub mod decode;
mod errands;
pub mod identity;
pub mod intake;
pub mod leader;
pub mod loss;
mod pace;
mod proof;
pub mod publish;
pub mod pull;
pub mod requests;
pub mod reread;
pub mod sorter;
pub mod streams;
mod unparking;
pub mod wire;
pub mod witness;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;

/// How to reach the bus.
#[derive(Clone, Debug)]
pub struct Config {
    /// May hold a user and a password.
    pub url: SecretString,
    pub credentials_file: Option<PathBuf>,
    pub ping_interval: Duration,
}

/// A connection to the bus. The client reconnects by itself, for ever.
#[derive(Clone)]
pub struct Bus {
    pub client: async_nats::Client,
    pub jetstream: async_nats::jetstream::Context,
    /// How often the connection has been made; it moves at each reconnect.
    pub connections: watch::Receiver<u64>,
}

/// Connects to the bus.
///
/// # Errors
/// If the URL or the credentials cannot be read, or nobody answers and `patient` is false. With
/// `patient` a server that is away is waited for in the background.
pub async fn connect(config: &Config, patient: bool) -> anyhow::Result<Bus> {
    let (connected, connections) = watch::channel(0);
    let mut options = ConnectOptions::new()
        .name("prooftally")
        .ping_interval(config.ping_interval)
        .event_callback(move |event| {
            let connected = connected.clone();
            async move {
                match event {
                    async_nats::Event::Connected => connected.send_modify(|count| *count += 1),
                    event => tracing::debug!(%event, "bus"),
                }
            }
        });
    if patient {
        options = options.retry_on_initial_connect();
    }
    if let Some(file) = &config.credentials_file {
        options = options.credentials_file(file).await.map_err(|error| {
            anyhow::anyhow!("nats.credentials_file {} cannot be read: {error}", file.display())
        })?;
    }
    let client = options.connect(config.url.expose_secret()).await.map_err(|error| {
        anyhow::anyhow!(
            "the bus cannot be reached: {error}; check nats.url and that nats-server runs"
        )
    })?;
    let jetstream = async_nats::jetstream::new(client.clone());
    Ok(Bus { client, jetstream, connections })
}
