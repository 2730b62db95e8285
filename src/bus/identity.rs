//! Is the stream still the one that the cursor speaks of? And what stands at a position that the
//! client cannot read?

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use chrono::{DateTime, Utc};

use super::pull::Doubt;
use crate::store::cursor::Cursor;

/// Compares the stream with the cursor. A stream's own times of creation do not identify it, since a
/// mirror keeps them; the store time of the message at the cursor does.
///
/// # Errors
/// [`Doubt::Identity`] if the stream ends before the cursor or has another message there: it was
/// re-created or restored to an earlier state, and its positions mean something else.
pub async fn check(jetstream: &Context, stream: &str, cursor: &Cursor) -> Result<(), Doubt> {
    let doubt = |error: String| Doubt::Consumer(error);
    let handle = jetstream
        .get_stream(stream)
        .await
        .map_err(|error| doubt(format!("stream {stream}: {error}")))?;
    let state = &handle.cached_info().state;
    let last = i64::try_from(state.last_sequence).unwrap_or(i64::MAX);
    if last < cursor.sequence {
        return Err(Doubt::Identity(format!(
            "it ends at position {last}, before the cursor at {}",
            cursor.sequence
        )));
    }
    let (Some(stored_at), Ok(sequence)) = (cursor.stored_at, u64::try_from(cursor.sequence)) else {
        return Ok(());
    };
    if sequence < state.first_sequence {
        return Ok(());
    }
    // A message that was deleted by itself identifies nothing.
    let Ok(message) = handle.get_raw_message(sequence).await else { return Ok(()) };
    if microseconds(message.time) == stored_at.timestamp_micros() {
        return Ok(());
    }
    Err(Doubt::Identity(format!(
        "the message at the cursor, position {sequence}, was stored at {} and not at {stored_at}",
        message.time
    )))
}

/// The message at a position that the client cannot be sent, if that is so: its subject is not UTF-8,
/// and the client drops the connection over it each time. Only the server's own answer shows it.
pub async fn unreadable(jetstream: &Context, stream: &str, sequence: i64) -> Option<StreamMessage> {
    let sequence = u64::try_from(sequence).ok()?;
    let handle = jetstream.get_stream(stream).await.ok()?;
    let message = handle.get_raw_message(sequence).await.ok()?;
    message.subject.contains('\u{fffd}').then_some(message)
}

fn microseconds(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}
