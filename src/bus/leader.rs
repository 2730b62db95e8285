//! What a stream's leader says. Deliveries and direct reads may be answered by a replica that is
//! behind, and prove nothing about what is not there; these requests are answered by the leader.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::pull::Doubt;
use super::streams;

/// How far a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The first message that it has; one after `last` if it has none.
    pub first: i64,
    /// The last position that it has ever given out.
    pub last: i64,
    pub mirror_of: Option<String>,
}

/// A message's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sequence: i64,
    /// To the microsecond, as the database keeps it.
    pub at: DateTime<Utc>,
}

/// What is wrong where a stream should be.
pub fn no_stream(stream: &str) -> Doubt {
    Doubt::Leader(format!("there is no stream {stream}: run `prooftally stream ensure`"))
}

/// How far the stream goes, or `None` if there is no such stream.
///
/// # Errors
/// [`Doubt::Leader`] if the leader does not answer.
pub async fn state(jetstream: &Context, stream: &str) -> Result<Option<State>, Doubt> {
    let info = streams::info(jetstream, stream)
        .await
        .map_err(|error| Doubt::Leader(format!("{error:#}")))?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Ok(info.map(|info| State {
        first: number(info.state.first_sequence),
        last: number(info.state.last_sequence),
        mirror_of: info.config.mirror.map(|of| of.name),
    }))
}

/// The first message at `sequence` or after it, or `None` if there is none: so all positions from
/// `sequence` to that message, or to the stream's end, are gone.
///
/// # Errors
/// [`Doubt::Leader`] if the leader does not answer.
pub async fn next(
    jetstream: &Context,
    stream: &str,
    sequence: i64,
) -> Result<Option<Stored>, Doubt> {
    #[derive(Serialize)]
    struct Ask {
        seq: i64,
        next_by_subj: &'static str,
    }
    // Neither subject, headers nor payload: a message that cannot be read still has a place.
    #[derive(Deserialize)]
    struct Answer {
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        seq: i64,
        time: DateTime<Utc>,
    }
    let doubt = |error: String| Doubt::Leader(format!("the leader of {stream}: {error}"));
    let ask = Ask { seq: sequence.max(1), next_by_subj: ">" };
    let answer = jetstream.request(format!("STREAM.MSG.GET.{stream}"), &ask).await.map_err(
        |error: async_nats::jetstream::context::RequestError| match error.kind() {
            RequestErrorKind::NoResponders => doubt("it has none".to_owned()),
            _ => doubt(error.to_string()),
        },
    )?;
    match answer {
        Response::Ok(Answer { message: Message { seq, time } }) => {
            let micros = time.timestamp_micros();
            let at = DateTime::from_timestamp_micros(micros).unwrap_or(time);
            Ok(Some(Stored { sequence: seq, at }))
        }
        Response::Err { error }
            if error.error_code() == async_nats::jetstream::ErrorCode::NO_MESSAGE_FOUND =>
        {
            Ok(None)
        }
        Response::Err { error } => Err(doubt(error.to_string())),
    }
}
