//! How often and how fast something that fails is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Limits of restarting.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// More failures than this within `window` are too many.
    pub failures_max: usize,
    pub window: Duration,
    /// Wait before the first restart; doubled with each further failure within the window.
    pub backoff_min: Duration,
}

/// Counts failures within a window of time.
#[derive(Debug)]
pub struct RestartBudget {
    limits: Limits,
    failures: VecDeque<Instant>,
}

/// The budget is spent: whoever holds it must fail itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed {failures} times within {window_ms} ms")]
pub struct Spent {
    pub failures: usize,
    pub window_ms: u128,
}

impl RestartBudget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, failures: VecDeque::new() }
    }

    /// Notes a failure at `now` and says how long to wait before starting again.
    ///
    /// # Errors
    /// [`Spent`] if there were too many within the window.
    pub fn failed(&mut self, now: Instant) -> Result<Duration, Spent> {
        /// Keeps the doubling far from overflow; the window ends long before.
        const DOUBLINGS_MAX: u32 = 12;
        while self
            .failures
            .front()
            .is_some_and(|&failure| now.duration_since(failure) > self.limits.window)
        {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let failures = self.failures.len();
        if failures > self.limits.failures_max {
            return Err(Spent { failures, window_ms: self.limits.window.as_millis() });
        }
        let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(DOUBLINGS_MAX);
        Ok(self.limits.backoff_min * 2u32.pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> RestartBudget {
        RestartBudget::new(Limits {
            failures_max: 3,
            window: Duration::from_secs(10),
            backoff_min: Duration::from_millis(5),
        })
    }

    #[test]
    fn the_wait_doubles_until_the_budget_is_spent() {
        let mut budget = budget();
        let start = Instant::now();
        assert_eq!(budget.failed(start), Ok(Duration::from_millis(5)));
        assert_eq!(budget.failed(start), Ok(Duration::from_millis(10)));
        assert_eq!(budget.failed(start), Ok(Duration::from_millis(20)));
        assert_eq!(budget.failed(start), Err(Spent { failures: 4, window_ms: 10_000 }));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut budget = budget();
        let start = Instant::now();
        for _ in 0..3 {
            budget.failed(start).unwrap();
        }
        let later = start + Duration::from_secs(11);
        assert_eq!(budget.failed(later), Ok(Duration::from_millis(5)));
    }
}
