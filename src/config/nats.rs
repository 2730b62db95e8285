//! The sections about the bus and about what is read from it.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secret;

/// How to reach NATS, and which stream is metered.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// May carry a user and a password, or a token. What `url_file` holds, if that is set.
    #[serde(serialize_with = "secret::serialize")]
    pub url: SecretString,
    #[serde(with = "secret::optional_file")]
    pub url_file: Option<PathBuf>,
    #[serde(with = "secret::optional_file")]
    pub credentials_file: Option<PathBuf>,
    pub ping_interval_ms: u64,
    /// The stream that the engine reads: the origin, or its mirror.
    pub stream: String,
    pub consumer: String,
    /// The key-value bucket that keeps how far the last commit went; empty for one that is named
    /// after the consumer.
    pub witness_bucket: String,
    /// How often it is looked whether the stream is still the one that was metered.
    pub identity_every_ms: u64,
    /// People are warned when unread messages will be dropped within this time.
    pub time_to_loss_ms_min: u64,
    pub subjects: Subjects,
    pub origin: OriginStream,
    pub mirror: MirrorStream,
}

/// Which subjects mean what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subjects {
    /// Metered: this subject and all below it.
    pub verified: String,
    /// Tallied and never billed: this subject and all below it.
    pub failed: String,
}

/// The stream that gateways publish to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OriginStream {
    pub name: String,
    pub subjects: Vec<String>,
    /// -1 for no limit, as NATS writes it; so in all streams.
    pub messages_max: i64,
    pub bytes_max: i64,
    /// 0 for no limit.
    pub age_max_days: u32,
    pub replicas: usize,
}

/// The longer-lived copy of the origin.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MirrorStream {
    pub enabled: bool,
    pub name: String,
    pub messages_max: i64,
    pub bytes_max: i64,
    pub age_max_days: u32,
    pub replicas: usize,
}

/// Limits of what is read, held in memory and accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intake {
    pub chunk_messages_max: usize,
    pub chunk_bytes_max: usize,
    /// Chunks between intake and commit.
    pub credits: usize,
    /// Messages asked for at a time while many wait; half as many again may be on their way then.
    pub pull_messages: usize,
    /// The server says this often, in milliseconds, that it is there when it has nothing to send.
    pub heartbeat_ms: u64,
    /// Longer events are rejected unread.
    pub payload_bytes_max: usize,
    /// How far an event's time may lie after its store time.
    pub future_tolerance_ms: u64,
    pub predicates_max: usize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            url_file: None,
            credentials_file: None,
            ping_interval_ms: 10_000,
            stream: "PROOFS".to_owned(),
            consumer: "billing-processor".to_owned(),
            witness_bucket: String::new(),
            identity_every_ms: 60_000,
            time_to_loss_ms_min: 3_600_000,
            subjects: Subjects::default(),
            origin: OriginStream::default(),
            mirror: MirrorStream::default(),
        }
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self { verified: "proofs.verified".to_owned(), failed: "proofs.failed".to_owned() }
    }
}

impl Default for OriginStream {
    fn default() -> Self {
        Self {
            name: "PROOFS".to_owned(),
            subjects: vec!["proofs.>".to_owned()],
            messages_max: 1_000_000,
            bytes_max: 1_000_000_000,
            age_max_days: 30,
            replicas: 3,
        }
    }
}

impl Default for MirrorStream {
    fn default() -> Self {
        Self {
            enabled: false,
            name: "METERING".to_owned(),
            messages_max: -1,
            bytes_max: 100_000_000_000,
            age_max_days: 400,
            replicas: 3,
        }
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            chunk_messages_max: 16_384,
            chunk_bytes_max: 16_777_216,
            credits: 4,
            pull_messages: 32_768,
            heartbeat_ms: 5_000,
            payload_bytes_max: 65_536,
            future_tolerance_ms: 300_000,
            predicates_max: 10_000,
        }
    }
}
