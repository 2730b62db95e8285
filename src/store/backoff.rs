//! How long to wait for a server that is away before it is tried again.

use std::time::Duration;

/// Waits 50 ms, then twice as long each time, up to 2 s.
pub struct Backoff {
    wait: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    pub fn is_first(&self) -> bool {
        self.wait == Self::FIRST
    }

    pub async fn pause(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(Self::LONGEST);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { wait: Self::FIRST }
    }
}
