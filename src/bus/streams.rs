//! The streams: PROOFS as ADR-004 of the network wants it, and METERING, its mirror. Created when they
//! are missing; drift is reported field by field and never mended silently.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, Info, RetentionPolicy, Source, StorageType,
};

/// A stream as it should be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    /// What it captures; empty for a mirror.
    pub subjects: Vec<String>,
    /// The stream that it copies, if it is a mirror.
    pub mirror_of: Option<String>,
    /// -1 for no limit, as NATS writes it.
    pub messages_max: i64,
    pub bytes_max: i64,
    pub age_max: Duration,
    pub replicas: usize,
}

/// A field of a stream that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    pub stream: String,
    pub field: &'static str,
    pub wanted: String,
    pub found: String,
}

/// What ensuring a stream found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ensured {
    Created,
    AsWanted,
    Drifted(Vec<Drift>),
}

/// Creates the stream if it is missing, or compares it with what is wanted.
///
/// # Errors
/// If the server is away, has no JetStream, or refuses the stream.
pub async fn ensure(jetstream: &Context, wanted: &Wanted) -> anyhow::Result<Ensured> {
    ensure_as(jetstream, &config(wanted)).await
}

/// As [`ensure`], for any stream.
pub(super) async fn ensure_as(
    jetstream: &Context,
    wanted: &StreamConfig,
) -> anyhow::Result<Ensured> {
    if let Some(info) = info(jetstream, &wanted.name).await? {
        let drifts = compare_configs(wanted, &info.config);
        return Ok(if drifts.is_empty() { Ensured::AsWanted } else { Ensured::Drifted(drifts) });
    }
    jetstream
        .create_stream(wanted.clone())
        .await
        .map_err(|error| anyhow::anyhow!("stream {} cannot be created: {error}", wanted.name))?;
    Ok(Ensured::Created)
}

/// The stream's state, or `None` if there is no such stream.
///
/// # Errors
/// If the server is away or has no JetStream.
pub async fn info(jetstream: &Context, name: &str) -> anyhow::Result<Option<Info>> {
    match jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
            _ => Err(anyhow::anyhow!("stream {name} cannot be looked up: {error}")),
        },
    }
}

/// Where `found` is not as `wanted`.
pub fn compare(wanted: &Wanted, found: &StreamConfig) -> Vec<Drift> {
    compare_configs(&config(wanted), found)
}

pub(super) fn compare_configs(wanted: &StreamConfig, found: &StreamConfig) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let mut check = |field: &'static str, wanted_value: String, found_value: String| {
        if wanted_value != found_value {
            drifts.push(Drift {
                stream: wanted.name.clone(),
                field,
                wanted: wanted_value,
                found: found_value,
            });
        }
    };
    let mirror = |config: &StreamConfig| {
        let Some(source) = &config.mirror else { return "none".to_owned() };
        match &source.filter_subject {
            Some(filter) => format!("{} filtered by {filter}", source.name),
            None => source.name.clone(),
        }
    };
    let seconds = |config: &StreamConfig| format!("{} s", config.max_age.as_secs());
    check("subjects", wanted.subjects.join(" "), found.subjects.join(" "));
    check("mirror", mirror(wanted), mirror(found));
    check("retention", debug(wanted.retention), debug(found.retention));
    check("discard", debug(wanted.discard), debug(found.discard));
    check("storage", debug(wanted.storage), debug(found.storage));
    let of_subject = |config: &StreamConfig| config.max_messages_per_subject.max(0).to_string();
    check("max_msgs_per_subject", of_subject(wanted), of_subject(found));
    check("max_msgs", wanted.max_messages.to_string(), found.max_messages.to_string());
    check("max_bytes", wanted.max_bytes.to_string(), found.max_bytes.to_string());
    check("max_age", seconds(wanted), seconds(found));
    check("replicas", wanted.num_replicas.to_string(), found.num_replicas.to_string());
    drifts
}

fn debug(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn config(wanted: &Wanted) -> StreamConfig {
    StreamConfig {
        name: wanted.name.clone(),
        subjects: wanted.subjects.clone(),
        mirror: wanted
            .mirror_of
            .as_ref()
            .map(|name| Source { name: name.clone(), ..Source::default() }),
        retention: RetentionPolicy::Limits,
        // A full mirror that refuses new messages would lose them silently.
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_messages: wanted.messages_max,
        max_bytes: wanted.bytes_max,
        max_age: wanted.age_max,
        num_replicas: wanted.replicas,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "PROOFS".to_owned(),
            subjects: vec!["proofs.>".to_owned()],
            mirror_of: None,
            messages_max: 1_000_000,
            bytes_max: 1_000_000_000,
            age_max: Duration::from_secs(30 * 86_400),
            replicas: 3,
        }
    }

    #[test]
    fn what_is_created_has_no_drift() {
        assert_eq!(compare(&wanted(), &config(&wanted())), []);
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let found = StreamConfig { max_messages: 5, num_replicas: 1, ..config(&wanted()) };
        let drifts = compare(&wanted(), &found);
        let fields: Vec<_> =
            drifts.iter().map(|d| (d.field, d.wanted.as_str(), d.found.as_str())).collect();
        assert_eq!(fields, [("max_msgs", "1000000", "5"), ("replicas", "3", "1")]);
    }
}
