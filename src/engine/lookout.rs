//! Looks at the streams from beside: how far the cursor is behind, how far a mirror is behind its origin,
//! how many gaps are open, and how long until something unread is lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Info;
use chrono::{DateTime, Utc};

use super::Parts;
use crate::actors::flight::Load;
use crate::bus::loss::{self, Limits, Unread};
use crate::bus::{leader, streams};
use crate::store::cursor::{self, Cursor};
use crate::store::gaps;
use crate::telemetry::health::Notice;

const EVERY: Duration = Duration::from_secs(2);
/// The rate is that of so long a time.
const RATE_OVER: Duration = Duration::from_secs(300);
/// A loss that comes is told this often.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What is measured now and then.
pub(super) struct Lookout {
    parts: Arc<Parts>,
    /// When the stream that is published to ended where, the oldest first.
    samples: VecDeque<(Instant, u64)>,
    warned: Option<Instant>,
    /// Where the mirror ends, and since when.
    mirror: Option<(i64, Instant)>,
}

impl Lookout {
    pub fn new(parts: Arc<Parts>) -> Self {
        Self { parts, samples: VecDeque::new(), warned: None, mirror: None }
    }

    /// Measures for as long as the task lives.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(flight) = self.parts.flight.borrow().as_ref() {
                let Load { chunks, actors, parked } = flight.load();
                self.parts.metrics.load(chunks, actors, parked);
            }
            self.look_at_gaps().await;
            let Ok(cursor) = cursor::read(&self.parts.store.pool).await else { continue };
            let _ = self.look_at_streams(&cursor).await;
        }
    }

    async fn look_at_gaps(&self) {
        let Parts { store, metrics, health, .. } = &*self.parts;
        let Ok(open) = gaps::open_by_reason(&store.pool).await else { return };
        metrics.gaps_open(&open);
        let found: Vec<String> = open
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{count} {}", reason.as_str()))
            .collect();
        if found.is_empty() {
            health.forget(Notice::Gaps);
        } else {
            let text = format!("open gaps: {}; see `prooftally gaps list`", found.join(", "));
            health.notice(Notice::Gaps, text);
        }
    }

    /// What cannot be looked at is looked at the next time.
    async fn look_at_streams(&mut self, cursor: &Cursor) -> anyhow::Result<()> {
        let parts = Arc::clone(&self.parts);
        let jetstream = &parts.bus.jetstream;
        let config = &parts.config.intake;
        let asked_at = Utc::now();
        // The mirror first, so that it cannot seem to have passed its origin.
        let Some(info) = streams::info(jetstream, &config.pull.stream).await? else {
            return Ok(());
        };
        let origin = match &config.origin {
            Some(origin) => streams::info(jetstream, origin).await?,
            None => None,
        };
        let last = number(info.state.last_sequence);
        let origin_last = origin.as_ref().map(|origin| number(origin.state.last_sequence));
        parts.metrics.stream_ends(last, origin_last);
        self.look_at_mirror(last, origin_last);
        if cursor.sequence >= last.max(origin_last.unwrap_or(0)) {
            // The cursor was read before the streams were asked.
            cursor::note_caught_up(&parts.store.pool, cursor, asked_at).await?;
        }
        let messages = (last - cursor.sequence).max(0);
        parts.backlog.store(messages, Ordering::Relaxed);
        let age = match cursor.stored_at {
            Some(stored_at) if messages > 0 => Utc::now() - stored_at,
            _ => chrono::TimeDelta::zero(),
        };
        parts.metrics.lag(messages, age.to_std().unwrap_or_default());
        let published = origin.as_ref().unwrap_or(&info).state.last_sequence;
        let Some(rate) = self.rate(published) else { return Ok(()) };
        let mut loss = time_to_loss(jetstream, &info, cursor.sequence, rate).await;
        if let Some(origin) = &origin {
            // What the mirror has not copied is lost with the origin's oldest message.
            let of_origin = time_to_loss(jetstream, origin, last, rate).await;
            loss = [loss, of_origin].into_iter().flatten().min();
        }
        parts.metrics.time_to_loss(loss);
        self.warn_of_loss(loss);
        Ok(())
    }

    /// A mirror can be stuck and say that it is not; that it does not follow its origin is seen by
    /// where both end.
    fn look_at_mirror(&mut self, last: i64, origin_last: Option<i64>) {
        let Parts { config, health, .. } = &*self.parts;
        let Some(origin) = &config.intake.origin else { return };
        let since = match self.mirror {
            Some((before, since)) if before == last => since,
            _ => Instant::now(),
        };
        self.mirror = Some((last, since));
        let still_for = since.elapsed();
        let notice = match origin_last {
            None => format!("its origin {origin} is gone; what the mirror has is read"),
            Some(origin_last)
                if last < origin_last && still_for > config.intake.identity_every * 2 =>
            {
                let (behind, seconds) = (origin_last - last, still_for.as_secs());
                format!(
                    "it is {behind} behind its origin {origin} and has not moved for {seconds} s"
                )
            }
            Some(_) => return health.forget(Notice::Mirror),
        };
        if !health.notices().contains_key(&Notice::Mirror) {
            tracing::error!(
                mirror = config.intake.pull.stream,
                notice,
                "the mirror does not follow"
            );
        }
        health.notice(Notice::Mirror, notice);
    }

    /// Messages a second over the last minutes; none after the first sample.
    fn rate(&mut self, last: u64) -> Option<f64> {
        let now = Instant::now();
        // A stream that was re-created begins anew.
        if self.samples.back().is_some_and(|(_, before)| *before > last) {
            self.samples.clear();
        }
        self.samples.push_back((now, last));
        while self.samples.front().is_some_and(|(at, _)| now - *at > RATE_OVER) {
            self.samples.pop_front();
        }
        let (since, from) = *self.samples.front()?;
        let seconds = (now - since).as_secs_f64();
        (seconds > 0.0).then(|| (last - from) as f64 / seconds)
    }

    fn warn_of_loss(&mut self, loss: Option<Duration>) {
        let Parts { config, health, .. } = &*self.parts;
        let Some(loss) = loss.filter(|loss| *loss < config.time_to_loss_min) else {
            health.forget(Notice::Loss);
            return;
        };
        let seconds = loss.as_secs();
        let text = format!(
            "unread messages will be dropped in {seconds} s at the rate of the last minutes: raise the \
             stream's limits"
        );
        health.notice(Notice::Loss, text);
        if self.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
            tracing::warn!(
                seconds,
                "unread messages will be dropped at the rate of the last minutes"
            );
            self.warned = Some(Instant::now());
        }
    }
}

/// How long until the stream drops a message after `read_until`.
pub async fn time_to_loss(
    jetstream: &async_nats::jetstream::Context,
    info: &Info,
    read_until: i64,
    rate: f64,
) -> Option<Duration> {
    let state = &info.state;
    let messages = u64::try_from(number(state.last_sequence) - read_until).unwrap_or(0);
    let stream = &info.config.name;
    let oldest = match messages {
        0 => None,
        _ => leader::next(jetstream, stream, read_until + 1).await.ok().flatten(),
    };
    let since = |at: DateTime<Utc>| (Utc::now() - at).to_std().unwrap_or_default();
    let unread = Unread {
        messages: messages.min(state.messages),
        oldest_age: oldest.map_or(Duration::ZERO, |oldest| since(oldest.at)),
        message_bytes: state.bytes as f64 / state.messages.max(1) as f64,
        rate,
    };
    loss::time_to_loss(&Limits::of(info), &unread)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
