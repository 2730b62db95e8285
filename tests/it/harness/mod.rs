//! The harness: servers, an engine in this process or in one of its own, and the checks that every
//! test gets for free.

pub mod engine_process;
pub mod proxy;
pub mod world;

use std::time::{Duration, Instant};

pub use engine_process::EngineProcess;
pub use proxy::{Loss, Proxy};
pub use world::{Postgresql, World};

/// How long a test waits for what must happen. Far longer than it takes, since machines differ.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `ready` gives something.
///
/// # Panics
/// With `what` if it has not by the deadline.
pub async fn wait_for<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
