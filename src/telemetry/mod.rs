//! What is seen from outside: logs, metrics, health, and the listener that serves the last two.

pub mod admin;
pub mod health;
pub mod metrics;
mod probe;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Sends log lines to stderr. `filter` is a level or a list like `info,sqlx=warn`.
///
/// # Errors
/// If `filter` cannot be read, or logging was set up before.
pub fn log(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    // What the libraries say is for their authors: spans of actors, statements, reconnects, which are
    // told here in the product's words.
    let quiet = "ractor=off,sqlx=off,async_nats=off";
    let filter = EnvFilter::try_new(format!("{quiet},{filter}"))
        .map_err(|error| anyhow::anyhow!("telemetry.log_filter {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let outcome = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}
