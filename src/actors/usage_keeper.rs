//! The usage keeper: adds to usage, in the background, what commits have left out.
//!
//! While a backlog is metered, commits leave usage alone, since a row of it would be written for every
//! few receipts. Here it is written once for all that were counted in [`WHILE_BACKLOG`], beside the
//! commits of the next ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::store::backoff::Backoff;
use crate::store::{Error, Store, usage_fold};
use crate::telemetry::metrics::Metrics;

/// How long usage may be left behind the ledger while a backlog is metered.
const WHILE_BACKLOG: Duration = Duration::from_secs(10);

/// Messages that wait to be metered, from which on they are a backlog.
const BACKLOG: u64 = 32_768;

/// How far the ledger is, as its actor says after each commit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Last entry that is committed.
    pub entry: i64,
    /// Last entry that usage was seen to have.
    pub usage_entry: i64,
    /// Messages that wait behind the last chunk.
    pub waiting: u64,
}

impl Progress {
    /// Changes what is known, and shows by how much usage is behind.
    pub fn change(of: &watch::Sender<Self>, metrics: &Metrics, change: impl FnOnce(&mut Self)) {
        of.send_modify(|now| {
            change(now);
            // Usage may be told of before the commit is that it has.
            metrics.usage_behind((now.entry - now.usage_entry).max(0));
        });
    }
}

/// True if so many messages wait that usage can wait too.
pub fn is_backlog(waiting: u64) -> bool {
    waiting >= BACKLOG
}

/// Keeps usage for one life of the metering subtree.
pub struct UsageKeeper {
    pub store: Store,
    pub progress: watch::Sender<Progress>,
    pub metrics: Arc<Metrics>,
}

impl UsageKeeper {
    /// Adds what is left out, for ever.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn run(self) -> Result<(), Error> {
        let mut progress = self.progress.subscribe();
        // The sender is here, so waiting for it does not fail.
        while progress.wait_for(|now| now.entry > now.usage_entry).await.is_ok() {
            let backlog_ends = progress.wait_for(|now| !is_backlog(now.waiting));
            let _ = timeout(WHILE_BACKLOG, backlog_ends).await;
            let usage_entry = self.fold_patiently().await?;
            Progress::change(&self.progress, &self.metrics, |now| {
                now.usage_entry = now.usage_entry.max(usage_entry);
            });
        }
        Ok(())
    }

    /// Adds it for as long as the database is away.
    async fn fold_patiently(&self) -> Result<i64, Error> {
        /// Adding millions of receipts takes longer than a chunk's commit.
        const COMMITS_LONG: u32 = 20;
        let mut wait = Backoff::default();
        loop {
            // An attempt that has no answer for long is given up, since its connection may be dead.
            match timeout(self.store.commit_timeout * COMMITS_LONG, self.fold()).await {
                Ok(Err(Error::Unavailable(error))) => {
                    tracing::debug!(%error, "usage waits for the database");
                }
                Ok(outcome) => return outcome,
                Err(_) => tracing::warn!("adding to usage had no answer; it is tried again"),
            }
            wait.pause().await;
        }
    }

    async fn fold(&self) -> Result<i64, Error> {
        let mut connection = self.store.connect_to_write().await?;
        usage_fold::fold(&mut connection).await
    }
}
