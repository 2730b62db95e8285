//! Reads the stream through the durable consumer: a pull subscription that is re-created at the
//! cursor whenever there is any doubt that it delivers every message once and in order.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config as ConsumerConfig};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Bus;
use super::asked::Asked;

/// How the stream is read.
#[derive(Clone, Debug)]
pub struct Config {
    pub stream: String,
    pub consumer: String,
    /// Messages asked for at a time while many wait; half as many again may be on their way then.
    pub messages: usize,
    /// Bytes asked for at a time; more if the server takes longer messages.
    pub bytes: usize,
    /// How often the server says that it is there when it has nothing to send.
    pub heartbeat: Duration,
    /// Messages that may be delivered and not yet acknowledged.
    pub ack_pending_max: i64,
}

/// Why reading must begin again from the cursor.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    #[error("the consumer cannot be made: {0}")]
    Consumer(String),
    #[error("the stream cannot be asked about: {0}")]
    Leader(String),
    /// What it says is for a person to decide; reading is tried again in case the stream comes back.
    #[error(
        "the stream is not the one that was metered, it was re-created or restored: {0}; nothing is \
         metered until it is the same again, or `prooftally stream adopt` begins with it anew"
    )]
    Identity(String),
    /// As before, for a mirror and its origin.
    #[error(
        "the stream is not the copy of its origin that it should be: {0}; nothing is metered until it \
         is"
    )]
    Mirror(String),
    #[error("the leader has message {found} among positions {first} to {last}, which were skipped")]
    NotMissing { first: i64, last: i64, found: i64 },
    #[error("messages wait after position {position} and none is delivered")]
    Stalled { position: i64 },
    #[error("the witness cannot be read: {0}")]
    Witness(String),
    #[error("a gap cannot be recorded: {0}")]
    Recording(String),
    #[error("the connection was lost and made again")]
    Reconnected,
    #[error("the subscription has ended")]
    Ended,
    #[error("the server has been silent for {0:?}")]
    Silent(Duration),
    #[error("the server ended the pull: {0}")]
    Status(String),
    #[error("delivery {found} came where {expected} was due")]
    DeliveryGap { expected: u64, found: u64 },
    #[error("position {found} came after {position}")]
    Backwards { position: i64, found: i64 },
    #[error("new brands or predicates cannot be numbered: {0}")]
    Numbering(String),
    #[error("sealed segments cannot be looked up: {0}")]
    Archive(String),
    #[error("earlier lives of the engine cannot be looked up: {0}")]
    Caution(String),
    #[error("a message came without a readable reply subject: {0}")]
    Reply(String),
}

/// A message of the stream.
#[derive(Debug)]
pub struct Delivery {
    pub subject: Subject,
    pub payload: Bytes,
    pub is_encoded: bool,
    /// Where to send the acknowledgement.
    pub reply: Subject,
    pub sequence: i64,
    /// When the stream stored it.
    pub stored_at: DateTime<Utc>,
    /// Messages behind it that were in the stream when it was sent.
    pub pending: u64,
}

/// An open pull subscription.
pub struct Pull {
    config: Config,
    consumer: PullConsumer,
    subscriber: Subscriber,
    inbox: Subject,
    asked: Asked,
    /// True if messages are asked for ahead however few wait.
    is_always_ahead: bool,
    /// Messages that waited in the stream when the last one was sent.
    waiting: u64,
    deliveries: u64,
    /// From when on silence counts, and whether the server was heard or asked since that was noted.
    heard: Instant,
    has_heard: bool,
    connections: watch::Receiver<u64>,
}

/// What a consumer is labelled with: its ack floor is a position of this epoch.
pub const EPOCH_LABEL: &str = "prooftally.epoch";
/// The server keeps a request this long. Well above the heartbeat, so that a request does not end
/// while nothing happens.
const EXPIRES: Duration = Duration::from_secs(30);
/// Longer than any commit, so that nothing is delivered twice for slowness alone.
const ACK_WAIT: Duration = Duration::from_secs(600);
/// So many messages must wait for the next ones to be asked for ahead. With fewer they are fetched together, a
/// chunk at a time: to send and take each by itself as it comes costs the server and us more (decision 23).
const AHEAD_FROM: u64 = 8_192;
/// What is fetched is waited for no longer than this, all together; then whoever gathers goes on without it.
const FETCH_WAIT: Duration = Duration::from_millis(100);

/// The server forgets a consumer that reads beside the engine once nobody has asked it for so long.
const READER_GONE_AFTER: Duration = Duration::from_secs(60);

/// What a message has beside its payload, at most.
const SUBJECTS_BYTES_MAX: usize = 64 << 10;

impl Pull {
    /// Makes the consumer anew, to begin with `sequence`, and asks for the first messages. What an
    /// earlier reader was sent and did not commit is so delivered at once, not after its ack wait,
    /// and a request that an earlier reader left open can swallow nothing.
    ///
    /// # Errors
    /// If the stream does not exist or the server is away.
    pub async fn open(
        bus: &Bus,
        config: &Config,
        epoch: i32,
        sequence: i64,
    ) -> Result<Self, Doubt> {
        let mut connections = bus.connections.clone();
        connections.mark_unchanged();
        let consumer = make_consumer(bus, config, epoch, sequence).await?;
        Self::subscribe(bus, config, consumer, connections, false).await
    }

    /// Reads beside the engine, with a consumer of its own that acknowledges nothing and is gone soon
    /// after its reader.
    ///
    /// # Errors
    /// If the stream does not exist or the server is away.
    pub async fn beside(bus: &Bus, config: &Config, from: DeliverPolicy) -> Result<Self, Doubt> {
        let mut connections = bus.connections.clone();
        connections.mark_unchanged();
        let consumer = make_reader(bus, config, from).await?;
        Self::subscribe(bus, config, consumer, connections, true).await
    }

    /// Messages that the consumer had before it when it was made.
    pub fn pending_at_first(&self) -> u64 {
        self.consumer.cached_info().num_pending
    }

    async fn subscribe(
        bus: &Bus,
        config: &Config,
        consumer: PullConsumer,
        connections: watch::Receiver<u64>,
        is_always_ahead: bool,
    ) -> Result<Self, Doubt> {
        let inbox = Subject::from(bus.client.new_inbox());
        let subscriber = bus
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Doubt::Consumer(error.to_string()))?;
        // A request that the next message does not fit would be answered with nothing, for ever.
        let longest = bus.client.server_info().max_payload.saturating_add(SUBJECTS_BYTES_MAX);
        let config = Config { bytes: config.bytes.max(longest), ..config.clone() };
        let mut pull = Self {
            config,
            waiting: consumer.cached_info().num_pending,
            consumer,
            subscriber,
            inbox,
            asked: Asked::default(),
            is_always_ahead,
            deliveries: 0,
            heard: Instant::now(),
            has_heard: false,
            connections,
        };
        pull.ask().await?;
        Ok(pull)
    }

    /// Waits for the next message. Safe to cancel: a message that has come is kept.
    ///
    /// # Errors
    /// Any [`Doubt`]; the pull must then be dropped.
    pub async fn next(&mut self) -> Result<Delivery, Doubt> {
        loop {
            self.ask().await?;
            let message = self.message().await?;
            if let Some(delivery) = self.take(message)? {
                return Ok(delivery);
            }
        }
    }

    /// What the server sends next. Who gives up waiting and begins again does not begin the silence anew.
    async fn message(&mut self) -> Result<Message, Doubt> {
        let silence_max = self.config.heartbeat * 2;
        if std::mem::take(&mut self.has_heard) {
            self.heard = Instant::now();
        }
        tokio::select! {
            biased;
            changed = self.connections.changed() => {
                Err(if changed.is_ok() { Doubt::Reconnected } else { Doubt::Ended })
            }
            message = tokio::time::timeout_at(self.heard + silence_max, self.subscriber.next()) => {
                message.map_err(|_| Doubt::Silent(silence_max))?.ok_or(Doubt::Ended)
            }
        }
    }

    /// Asks for what is in the stream now, up to `messages`, unless some are asked for already. [`Self::more`] gives
    /// it.
    ///
    /// # Errors
    /// Any [`Doubt`]; the pull must then be dropped.
    pub async fn fetch(&mut self, messages: usize) -> Result<(), Doubt> {
        let batch = messages.min(self.config.messages);
        if self.reads_ahead() || self.asked.messages() > 0 || batch == 0 {
            return Ok(());
        }
        self.request(BatchConfig { batch, no_wait: true, ..BatchConfig::default() }).await?;
        self.asked.fetch(batch, Instant::now() + FETCH_WAIT);
        Ok(())
    }

    /// The next message of those that are here, or on their way since they were fetched.
    ///
    /// # Errors
    /// Any [`Doubt`]; the pull must then be dropped.
    pub async fn more(&mut self) -> Result<Option<Delivery>, Doubt> {
        if self.reads_ahead() {
            self.ask().await?;
        }
        loop {
            if let Some(delivery) = self.ready()? {
                return Ok(Some(delivery));
            }
            let Some(until) = self.asked.fetched_until() else { return Ok(None) };
            // Whether the connection was lost is for `next` to see: what has come before that is good, and a chunk of
            // it moves the cursor on to what may have ended the connection.
            let message = tokio::time::timeout_at(until, self.subscriber.next()).await;
            let Ok(Some(message)) = message else { return Ok(None) };
            if let Some(delivery) = self.take(message)? {
                return Ok(Some(delivery));
            }
        }
    }

    /// A message that is here already.
    ///
    /// # Errors
    /// Any [`Doubt`]; the pull must then be dropped.
    pub fn ready(&mut self) -> Result<Option<Delivery>, Doubt> {
        while let Some(message) = self.subscriber.next().now_or_never() {
            if let Some(delivery) = self.take(message.ok_or(Doubt::Ended)?)? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// Asks for more once half of what was asked for has come, so that the server never waits for us. If few
    /// messages wait, asks for the next one, to be sent when it comes.
    ///
    /// # Errors
    /// Any [`Doubt`]; the pull must then be dropped.
    pub async fn ask(&mut self) -> Result<(), Doubt> {
        let (enough, batch) = if self.reads_ahead() {
            (self.config.messages / 2, self.config.messages)
        } else {
            (0, 1)
        };
        if self.asked.messages() > enough || self.asked.fetched_until().is_some() {
            return Ok(());
        }
        let (expires, idle_heartbeat) = (Some(EXPIRES), self.config.heartbeat);
        self.request(BatchConfig { batch, expires, idle_heartbeat, ..BatchConfig::default() })
            .await?;
        self.asked.ahead(batch);
        Ok(())
    }

    fn reads_ahead(&self) -> bool {
        self.is_always_ahead || self.waiting >= AHEAD_FROM
    }

    async fn request(&mut self, request: BatchConfig) -> Result<(), Doubt> {
        let request = BatchConfig { max_bytes: self.config.bytes, ..request };
        self.consumer
            .request_batch(request, self.inbox.clone())
            .await
            .map_err(|error| Doubt::Consumer(error.to_string()))?;
        // From now on there is something to be heard.
        self.has_heard = true;
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<Option<Delivery>, Doubt> {
        self.has_heard = true;
        if let Some(status) = message.status {
            return self.status(status, &message).map(|()| None);
        }
        let reply = message.reply.ok_or_else(|| Doubt::Reply("none".to_owned()))?;
        let place = Place::parse(&reply).ok_or_else(|| Doubt::Reply(reply.to_string()))?;
        let expected = self.deliveries + 1;
        if place.delivery != expected {
            return Err(Doubt::DeliveryGap { expected, found: place.delivery });
        }
        self.deliveries = expected;
        self.asked.came();
        self.waiting = place.pending;
        let is_encoded = message
            .headers
            .as_ref()
            .is_some_and(|headers| headers.get("Content-Encoding").is_some());
        Ok(Some(Delivery {
            subject: message.subject,
            payload: message.payload,
            is_encoded,
            reply,
            sequence: place.sequence,
            stored_at: place.stored_at,
            pending: place.pending,
        }))
    }

    fn status(&mut self, status: StatusCode, message: &Message) -> Result<(), Doubt> {
        match status {
            StatusCode::IDLE_HEARTBEAT => Ok(()),
            // Its messages have been taken off as they came, or will be.
            StatusCode::REQUEST_TERMINATED if describes(message, "Batch Completed") => Ok(()),
            StatusCode::REQUEST_TERMINATED if describes(message, "Exceeds MaxBytes") => {
                self.asked.cut(left(message).unwrap_or(self.asked.messages()));
                Ok(())
            }
            // Its time is over, or there is nothing more to be fetched.
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => {
                self.asked.ended(left(message));
                Ok(())
            }
            status => {
                let text = message.description.clone().unwrap_or_default();
                Err(Doubt::Status(format!("{status} {text}").trim_end().to_owned()))
            }
        }
    }
}

/// How many messages of a request will not come, as the server says.
fn left(message: &Message) -> Option<usize> {
    message.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok()
}

fn describes(message: &Message, what: &str) -> bool {
    message.description.as_deref().is_some_and(|text| text.contains(what))
}

async fn make_consumer(
    bus: &Bus,
    config: &Config,
    epoch: i32,
    sequence: i64,
) -> Result<PullConsumer, Doubt> {
    let doubt = |error: String| Doubt::Consumer(error);
    let stream = bus
        .jetstream
        .get_stream(&config.stream)
        .await
        .map_err(|error| doubt(format!("stream {}: {error}", config.stream)))?;
    // Deleting what is not there is an error that means nothing.
    let _ = stream.delete_consumer(&config.consumer).await;
    let start_sequence = u64::try_from(sequence).unwrap_or(1).max(1);
    stream
        .create_consumer(ConsumerConfig {
            durable_name: Some(config.consumer.clone()),
            description: Some(
                "prooftally reads the stream and acknowledges what is committed".into(),
            ),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: config.ack_pending_max,
            // How far we are is in the database. On disk, the server would write all that is not yet
            // acknowledged ten times a second.
            memory_storage: true,
            metadata: [(EPOCH_LABEL.to_owned(), epoch.to_string())].into(),
            ..ConsumerConfig::default()
        })
        .await
        .map_err(|error| doubt(format!("consumer {}: {error}", config.consumer)))
}

async fn make_reader(
    bus: &Bus,
    config: &Config,
    from: DeliverPolicy,
) -> Result<PullConsumer, Doubt> {
    let doubt = |error: String| Doubt::Consumer(error);
    let stream = bus
        .jetstream
        .get_stream(&config.stream)
        .await
        .map_err(|error| doubt(format!("stream {}: {error}", config.stream)))?;
    stream
        .create_consumer(ConsumerConfig {
            description: Some("prooftally compares the stream with its ledger".into()),
            deliver_policy: from,
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_GONE_AFTER,
            memory_storage: true,
            ..ConsumerConfig::default()
        })
        .await
        .map_err(|error| doubt(format!("a consumer beside the engine's: {error}")))
}

/// What a reply subject says of its message.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    delivery: u64,
    sequence: i64,
    stored_at: DateTime<Utc>,
    pending: u64,
}

/// `$JS.ACK`, then from 2.15 on a domain and an account, then stream, consumer, times delivered,
/// stream sequence, consumer sequence, store time and messages pending.
impl Place {
    fn parse(reply: &str) -> Option<Self> {
        /// No form has more; what is behind the twelfth is nothing that is read.
        const TOKENS_MAX: usize = 12;
        let rest = reply.strip_prefix("$JS.ACK.")?;
        // One pass, as this is done for each message.
        let mut ends = [rest.len(); TOKENS_MAX];
        let mut count = 1;
        for (end, at) in ends.iter_mut().zip(memchr::memchr_iter(b'.', rest.as_bytes())) {
            *end = at;
            count += 1;
        }
        // Without domain and account there are seven tokens, with them nine or more.
        let skip = match count {
            7 => 3,
            9.. => 5,
            _ => return None,
        };
        let token = |at: usize| rest.get(ends[skip + at - 1] + 1..ends[skip + at]);
        let sequence = token(0)?.parse().ok()?;
        let delivery = token(1)?.parse().ok()?;
        let nanos: i64 = token(2)?.parse().ok()?;
        let pending = token(3)?.parse().ok()?;
        // Microseconds are what PostgreSQL keeps; the rest would make stored and read times differ.
        let stored_at = DateTime::from_timestamp_micros(nanos / 1_000)?;
        Some(Self { delivery, sequence, stored_at, pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &str, expected: Option<(i64, u64)>) {
        let found = Place::parse(reply).map(|place| (place.sequence, place.delivery));
        assert_eq!(found, expected, "{reply}");
    }

    #[test]
    fn both_forms_of_reply_are_read() {
        check("$JS.ACK.PROOFS.billing.1.41.7.1690000000000000123.0", Some((41, 7)));
        check("$JS.ACK.hub.AbC.PROOFS.billing.1.41.7.1690000000000000123.0", Some((41, 7)));
        check("$JS.ACK._.AbC.PROOFS.billing.1.41.7.1690000000000000123.0.x", Some((41, 7)));
        check("$JS.ACK.PROOFS.billing.1.x.7.1690000000000000123.0", None);
        check("$JS.ACK._.AbC.PROOFS.billing.1.41.7.1690000000000000123.0.x.y.z", Some((41, 7)));
        check("$JS.ACK.PROOFS.billing.1.41.7.1690000000000000123", None);
        check("$JS.ACK.AbC.PROOFS.billing.1.41.7.1690000000000000123.0", None);
        check("_INBOX.abc", None);
        check("$JS.ACK.PROOFS", None);
    }

    #[test]
    fn store_time_is_cut_to_microseconds() {
        let place = Place::parse("$JS.ACK.S.c.1.1.1.1690000000123456789.0").unwrap();
        assert_eq!(place.stored_at.timestamp_micros(), 1_690_000_000_123_456);
        assert_eq!(place.stored_at.timestamp_subsec_nanos(), 123_456_000);
    }
}
