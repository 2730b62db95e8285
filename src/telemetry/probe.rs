//! Asks the database whether it answers, over a connection of its own, so that no work is in its way.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::store::Store;

const ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// For so long an answer is repeated, so that who asks often costs the database nothing.
const KEPT: Duration = Duration::from_secs(1);

/// What the database answered last, and when.
pub struct Probe {
    store: Store,
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl Probe {
    /// `store` is used by nothing else.
    pub fn new(store: Store) -> Self {
        Self { store, last: Mutex::default() }
    }

    /// Why the database does not answer; `None` if it does.
    pub async fn ill(&self) -> Option<String> {
        // Who asks meanwhile waits here, and is told the same.
        let mut last = self.last.lock().await;
        if let Some((at, ill)) = &*last
            && at.elapsed() < KEPT
        {
            return ill.clone();
        }
        let answered = timeout(ANSWER_MAX, sqlx::query("select 1").execute(&self.store.pool));
        let ill = match answered.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database was asked whether it answers");
                Some("it cannot be reached".to_owned())
            }
            Err(_) => Some(format!("it has not answered within {} ms", ANSWER_MAX.as_millis())),
        };
        *last = Some((Instant::now(), ill.clone()));
        ill
    }
}
