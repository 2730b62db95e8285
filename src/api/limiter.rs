//! How many requests a caller may make: a bucket each, which fills at a steady rate.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;

/// Callers that are remembered; beyond them those whose bucket is full again are forgotten.
const CALLERS_MAX: usize = 10_000;

/// The buckets of all callers.
pub struct Limiter {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Limiter {
    pub fn new(per_second: u32, burst: u32) -> Self {
        let buckets = Mutex::new(HashMap::new());
        Self { per_second: f64::from(per_second), burst: f64::from(burst), buckets }
    }

    /// Takes one request of `caller`: how many are left, or how many seconds to wait.
    pub fn take(&self, caller: &str) -> Result<u32, u64> {
        self.take_at(caller, Instant::now())
    }

    fn take_at(&self, caller: &str, now: Instant) -> Result<u32, u64> {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(caller) {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
        }
        let bucket =
            buckets.entry(caller.to_owned()).or_insert(Bucket { left: self.burst, at: now });
        bucket.left = self.filled(bucket, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(((1.0 - bucket.left) / self.per_second).ceil() as u64);
        }
        bucket.left -= 1.0;
        Ok(bucket.left as u32)
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_let_pass_and_then_the_rate() {
        let limiter = Limiter::new(2, 3);
        let start = Instant::now();
        let left: Vec<_> = (0..4).map(|_| limiter.take_at("a", start)).collect();
        assert_eq!(left, [Ok(2), Ok(1), Ok(0), Err(1)]);
        assert_eq!(limiter.take_at("b", start), Ok(2), "another caller has its own");
        let later = start + Duration::from_millis(500);
        assert_eq!(limiter.take_at("a", later), Ok(0));
        assert_eq!(limiter.take_at("a", later), Err(1));
        assert_eq!(
            limiter.take_at("a", start + Duration::from_secs(60)),
            Ok(2),
            "no more than a burst"
        );
    }
}
