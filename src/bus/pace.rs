//! How far apart chunks begin.
//!
//! A commit costs the database as much as some hundred events. So events that come within a few milliseconds of
//! each other share one, and the first after a pause waits for nobody. At 10,000 events a second this halves the
//! processor time of all processes (docs/performance.md).

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Well below the time that people or gateways could notice.
const CHUNK_EVERY: Duration = Duration::from_millis(6);

/// When the last chunk began.
#[derive(Default)]
pub struct Pace {
    begun: Option<Instant>,
}

impl Pace {
    /// Completes when the next chunk may begin, and notes that it does. What comes meanwhile is kept by the
    /// subscription, so under load nothing waits longer: a large chunk takes longer than this anyway.
    pub async fn begin(&mut self) {
        if let Some(due) = self.due(Instant::now()) {
            sleep_until(due).await;
        }
        self.begun = Some(Instant::now());
    }

    /// When the next chunk may begin, if that is not `now`.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.begun.map(|begun| begun + CHUNK_EVERY).filter(|due| *due > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_begin_apart_and_the_first_after_a_pause_at_once() {
        let mut pace = Pace::default();
        assert_eq!(pace.due(Instant::now()), None, "nothing has begun");
        let before = Instant::now();
        pace.begin().await;
        let begun = pace.begun.expect("it was noted");
        assert_eq!(pace.due(begun), Some(begun + CHUNK_EVERY));
        pace.begin().await;
        assert!(before.elapsed() >= CHUNK_EVERY, "it did not wait");
        let begun = pace.begun.expect("it was noted");
        assert_eq!(pace.due(begun + CHUNK_EVERY), None, "the pause was long enough");
    }
}
