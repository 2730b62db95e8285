//! `prooftally serve`.

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::engine::{self, Engine};

/// Runs an engine until Ctrl-C or SIGTERM.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    super::log(config)?;
    let environment = &config.service.environment;
    tracing::info!(environment, version = env!("CARGO_PKG_VERSION"), "prooftally starts");
    let mut engine = Engine::start(engine::Config::of(config)).await?;
    let stop = told_to_stop();
    tokio::select! {
        () = engine.failed() => {
            anyhow::bail!("the engine failed again and again and has ended; the log says why");
        }
        () = stop => {
            tokio::select! {
                () = engine.stop() => Ok(()),
                () = told_to_stop() => {
                    anyhow::bail!("told to stop again; what was in flight is read again next time")
                }
            }
        }
    }
}

/// Completes at Ctrl-C or SIGTERM.
pub async fn told_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
