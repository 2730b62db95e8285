//! The witness: how far the last commit went, kept on the bus in a small bucket of its own. A database
//! that was restored to an earlier point cannot know it; the bus remembers.
//!
//! Written beside the commits, at most once a second, and never in their way. The consumer's ack floor
//! says the same, but is kept in memory and forgotten with the nats-server.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, LastRawMessageErrorKind, StorageType,
};
use tokio::sync::watch;

use super::pull::Doubt;
use super::streams::{self, Drift, Ensured};
use crate::store::cursor::Place;

/// Where the witness is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// A bucket of NATS' key-value store.
    pub bucket: String,
    pub replicas: usize,
}

/// The witness of one stream.
#[derive(Clone)]
pub struct Witness {
    jetstream: Context,
    config: Config,
    stream: String,
}

/// How often it is written, at most.
const EVERY: Duration = Duration::from_secs(1);

impl Witness {
    pub fn new(jetstream: Context, config: Config, stream: String) -> Self {
        Self { jetstream, config, stream }
    }

    /// What was written last, or `None` if nothing was.
    ///
    /// # Errors
    /// [`Doubt::Witness`] if the bus does not answer.
    pub async fn read(&self) -> Result<Option<Place>, Doubt> {
        let doubt = |error: String| Doubt::Witness(format!("{}: {error}", self.config.bucket));
        let stream = match self.jetstream.get_stream(backing(&self.config.bucket)).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
                    _ => Err(doubt(error.to_string())),
                };
            }
        };
        // Asked of the leader: a replica could say less than was written.
        match stream.get_last_raw_message_by_subject(&self.subject()).await {
            Ok(message) => parse(&message.payload)
                .map(Some)
                .ok_or_else(|| doubt("what it says cannot be read; delete its key".to_owned())),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                _ => Err(doubt(error.to_string())),
            },
        }
    }

    /// Writes how far we are; makes the bucket if it is missing.
    ///
    /// # Errors
    /// If the bus is away or refuses. Nothing depends on it: the next commit is written again.
    pub async fn write(&self, place: Place) -> anyhow::Result<()> {
        if self.put(place).await.is_ok() {
            return Ok(());
        }
        ensure(&self.jetstream, &self.config).await?;
        self.put(place).await
    }

    async fn put(&self, place: Place) -> anyhow::Result<()> {
        self.jetstream.publish(self.subject(), text(place).into()).await?.await?;
        Ok(())
    }

    /// Writes what is committed for as long as the task lives.
    pub async fn keep(self, mut committed: watch::Receiver<Option<Place>>) {
        while committed.changed().await.is_ok() {
            let place = *committed.borrow_and_update();
            if let Some(place) = place
                && let Err(error) = self.write(place).await
            {
                tracing::debug!(%error, "the witness was not written; it is tried again");
                committed.mark_changed();
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn subject(&self) -> String {
        format!("$KV.{}.{}", self.config.bucket, key(&self.stream))
    }
}

/// Creates the bucket if it is missing, or compares it with what is wanted.
///
/// # Errors
/// If the server is away or refuses.
pub async fn ensure(jetstream: &Context, config: &Config) -> anyhow::Result<Ensured> {
    streams::ensure_as(jetstream, &bucket(config)).await
}

/// Where the bucket is not as wanted; `None` if it is missing.
///
/// # Errors
/// If the server is away.
pub async fn drift(jetstream: &Context, config: &Config) -> anyhow::Result<Option<Vec<Drift>>> {
    let info = streams::info(jetstream, &backing(&config.bucket)).await?;
    Ok(info.map(|info| streams::compare_configs(&bucket(config), &info.config)))
}

/// The stream behind a bucket, as NATS' key-value store has it: `nats kv` reads it too.
fn bucket(config: &Config) -> StreamConfig {
    StreamConfig {
        name: backing(&config.bucket),
        description: Some("prooftally: how far each stream is committed".to_owned()),
        subjects: vec![format!("$KV.{}.>", config.bucket)],
        max_messages_per_subject: 1,
        max_messages: -1,
        // Many times what the keys need; some accounts refuse a stream without a limit.
        max_bytes: 1 << 20,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: config.replicas,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

fn backing(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The bucket that belongs to a consumer, where none is named.
pub fn bucket_of(consumer: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    format!("prooftally-{}", consumer.chars().map(plain).collect::<String>())
}

/// A key has letters, digits and few signs; others are written by their code.
fn key(stream: &str) -> String {
    let mut key = String::new();
    for byte in stream.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(byte.into()),
            byte => key.push_str(&format!("={byte:02x}")),
        }
    }
    key
}

fn text(place: Place) -> String {
    let Place { epoch, sequence, entry, fence } = place;
    format!("epoch={epoch} sequence={sequence} entry={entry} fence={fence}")
}

fn parse(text: &[u8]) -> Option<Place> {
    let mut numbers = ["epoch=", "sequence=", "entry=", "fence="].into_iter();
    let mut place = std::str::from_utf8(text)
        .ok()?
        .split(' ')
        .map(|word| word.strip_prefix(numbers.next()?)?.parse::<i64>().ok());
    let mut next = || place.next().flatten();
    let epoch = i32::try_from(next()?).ok()?;
    Some(Place { epoch, sequence: next()?, entry: next()?, fence: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let place = Place { epoch: 2, sequence: 41, entry: 40, fence: 7 };
        assert_eq!(parse(text(place).as_bytes()), Some(place));
        assert_eq!(parse(b"epoch=2 sequence=41 entry=40"), None);
        assert_eq!(parse(b"sequence=41 epoch=2 entry=40 fence=7"), None);
        assert_eq!(parse(b"\xff"), None);
    }

    #[test]
    fn names_have_only_signs_that_are_allowed() {
        assert_eq!(bucket_of("billing-processor"), "prooftally-billing-processor");
        assert_eq!(bucket_of("billing:é"), "prooftally-billing__");
        assert_eq!(key("PROOFS_1-a"), "PROOFS_1-a");
        assert_eq!(key("a:é"), "a=3a=c3=a9");
    }
}
