//! A task that works beside the actors of a metering subtree and lives and dies with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{ActorId, ActorRef};
use tokio::task::JoinHandle;

use super::engine_supervisor::EngineMsg;
use crate::failpoint;

/// A running task. It is ended when this is dropped.
pub struct Beside {
    task: JoinHandle<()>,
    /// Set before the root is told, so that a root which knows of the task only afterwards sees it.
    has_failed: Arc<AtomicBool>,
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
        let has_failed = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&has_failed);
        let task = tokio::spawn(async move {
            let mut inner = AbortOnDrop(tokio::spawn(work));
            let why = match (&mut inner.0).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{:#}", error.into()),
                Err(panic) => format!("the {name} ended: {panic}"),
            };
            fails.store(true, Ordering::Release);
            // If the root is gone, so is the subtree.
            let _ = root.cast(EngineMsg::Failed { ledger, why });
            failpoint::at(|| format!("told of {name}"));
        });
        Self { task, has_failed }
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }

    /// True if it has ended, and at the latest when the root is told that it failed.
    pub fn has_ended(&self) -> bool {
        self.has_failed.load(Ordering::Acquire) || self.task.is_finished()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ractor::{Actor, ActorProcessingErr};
    use tokio::sync::mpsc;

    use super::*;

    /// A root that hands on what it is told.
    struct Root;

    impl Actor for Root {
        type Msg = EngineMsg;
        type State = mpsc::UnboundedSender<EngineMsg>;
        type Arguments = Self::State;

        async fn pre_start(
            &self,
            _: ActorRef<EngineMsg>,
            told: Self::State,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(told)
        }

        async fn handle(
            &self,
            _: ActorRef<EngineMsg>,
            message: EngineMsg,
            told: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            if matches!(message, EngineMsg::Start) {
                // It is at work on its own thread when the failure is told.
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(told.send(message)?)
        }
    }

    /// The root may be told before it has the subtree whose task failed. It drops that word, so it must see
    /// the failure when it gets the subtree.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_told_of_a_failure_sees_it() {
        let scenario = fail::FailScenario::setup();
        // The task goes on for a while after its last word.
        fail::cfg("told of test", "sleep(500)").unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (root, root_ended) = Actor::spawn(None, Root, tell).await.unwrap();
        root.cast(EngineMsg::Start).unwrap();
        let work = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err::<(), _>(anyhow::anyhow!("it fails"))
        };
        let beside = Beside::start("test", work, root.get_id(), root.clone());
        assert!(matches!(told.recv().await, Some(EngineMsg::Start)));
        assert!(matches!(told.recv().await, Some(EngineMsg::Failed { .. })));
        assert!(beside.has_ended());
        scenario.teardown();
        root.stop(None);
        root_ended.await.unwrap();
    }
}
