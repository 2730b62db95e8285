//! Time to loss: how long until a stream drops messages that nobody has read, at today's rate. Pure.

use std::time::Duration;

use async_nats::jetstream::stream::{DiscardPolicy, Info};

/// What decides when a stream drops its oldest message; `None` where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub messages_max: Option<u64>,
    pub bytes_max: Option<u64>,
    pub age_max: Option<Duration>,
}

impl Limits {
    /// The limits of a stream. One that refuses new messages drops none by number or bytes.
    pub fn of(info: &Info) -> Self {
        let drops = info.config.discard == DiscardPolicy::Old;
        let limit = |limit: i64| u64::try_from(limit).ok().filter(|limit| drops && *limit > 0);
        Self {
            messages_max: limit(info.config.max_messages),
            bytes_max: limit(info.config.max_bytes),
            age_max: Some(info.config.max_age).filter(|age| !age.is_zero()),
        }
    }
}

/// What of a stream is unread, and how fast it grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unread {
    pub messages: u64,
    /// How long ago the oldest of them was stored.
    pub oldest_age: Duration,
    /// Bytes of a message in the store, on average.
    pub message_bytes: f64,
    /// Messages that are published a second.
    pub rate: f64,
}

/// How long until the oldest unread message is dropped; with nothing unread, until the next message
/// would be if nobody read it. `None` if it never is.
pub fn time_to_loss(limits: &Limits, unread: &Unread) -> Option<Duration> {
    let unread_messages = unread.messages as f64;
    let until_full = |room: f64, growth: f64| {
        let seconds = room.max(0.0) / growth;
        (growth > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    };
    let by_messages =
        limits.messages_max.and_then(|max| until_full(max as f64 - unread_messages, unread.rate));
    let by_bytes = limits.bytes_max.and_then(|max| {
        let room = max as f64 - unread_messages * unread.message_bytes;
        until_full(room, unread.rate * unread.message_bytes)
    });
    let by_age = limits.age_max.map(|max| match unread.messages {
        0 => max,
        _ => max.saturating_sub(unread.oldest_age),
    });
    [by_messages, by_bytes, by_age].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn unread(messages: u64, rate: f64) -> Unread {
        Unread { messages, oldest_age: HOUR, message_bytes: 500.0, rate }
    }

    fn check(limits: Limits, of: Unread, expected_s: Option<u64>) {
        let found = time_to_loss(&limits, &of);
        assert_eq!(found.map(|time| time.as_secs()), expected_s, "{limits:?} {of:?}");
    }

    #[test]
    fn the_first_limit_that_is_reached_decides() {
        let proofs = Limits {
            messages_max: Some(1_000_000),
            bytes_max: Some(1_000_000_000),
            age_max: Some(30 * 24 * HOUR),
        };
        // ADR-004's stream at 100 events a second: 2.8 hours.
        check(proofs, unread(0, 100.0), Some(10_000));
        check(proofs, unread(400_000, 100.0), Some(6_000));
        check(proofs, unread(2_000_000, 100.0), Some(0));
        // Nothing is published: age alone.
        check(proofs, unread(0, 0.0), Some(30 * 86_400));
        check(proofs, unread(1, 0.0), Some(30 * 86_400 - 3_600));
        // Long messages: bytes.
        let long = Unread { message_bytes: 10_000.0, ..unread(50_000, 100.0) };
        check(proofs, long, Some(500));
    }

    #[test]
    fn without_limits_nothing_is_lost() {
        check(Limits::default(), unread(5, 100.0), None);
        check(Limits { messages_max: Some(10), ..Limits::default() }, unread(5, 0.0), None);
    }
}
