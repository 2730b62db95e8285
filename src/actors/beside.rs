//! A task that works beside the actors of a metering subtree and lives and dies with it.

use ractor::{ActorId, ActorRef};
use tokio::task::JoinHandle;

use super::engine_supervisor::EngineMsg;

/// A running task. It is ended when this is dropped.
pub struct Beside {
    task: JoinHandle<()>,
}

impl Beside {
    /// Starts `work`. If it fails or panics the root is told, which ends the subtree of `ledger`; if it
    /// ends by itself it has done what it was told.
    pub fn start<E: Into<anyhow::Error> + Send + 'static>(
        name: &'static str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
        ledger: ActorId,
        root: ActorRef<EngineMsg>,
    ) -> Self {
        let task = tokio::spawn(async move {
            let mut inner = AbortOnDrop(tokio::spawn(work));
            let why = match (&mut inner.0).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{:#}", error.into()),
                Err(panic) => format!("the {name} ended: {panic}"),
            };
            // If the root is gone, so is the subtree.
            let _ = root.cast(EngineMsg::Failed { ledger, why });
        });
        Self { task }
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
