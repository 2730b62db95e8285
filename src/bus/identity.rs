//! Is the stream still the one that the cursor speaks of, and a mirror still that of its origin? And
//! what stands at a position that the client cannot read?

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use chrono::TimeDelta;

use super::leader::{self, State};
use super::pull::Doubt;
use crate::store::cursor::Cursor;

/// Store times are those of whoever led the stream; the clocks of a cluster are no further apart.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(10);

/// Compares the stream with the cursor and, if it is a mirror, with its origin. Returns how far it
/// goes.
///
/// # Errors
/// [`Doubt::Identity`] or [`Doubt::Mirror`] if it is another stream; [`Doubt::Leader`] if that cannot
/// be found out.
pub async fn check(
    jetstream: &Context,
    stream: &str,
    origin: Option<&str>,
    cursor: &Cursor,
) -> Result<State, Doubt> {
    let state = check_cursor(jetstream, stream, origin.is_some(), cursor).await?;
    if let Some(origin) = origin {
        check_mirror(jetstream, stream, origin).await?;
    }
    Ok(state)
}

/// Compares the stream with the cursor. A stream's own times of creation do not identify it, since a
/// mirror keeps them; the store time of the message at the cursor does.
///
/// # Errors
/// [`Doubt::Identity`] if the stream ends before the cursor or has another message there: it was
/// re-created or restored to an earlier state, and its positions mean something else.
pub async fn check_cursor(
    jetstream: &Context,
    stream: &str,
    is_mirror: bool,
    cursor: &Cursor,
) -> Result<State, Doubt> {
    let Some(state) = leader::state(jetstream, stream).await? else {
        return Err(leader::no_stream(stream));
    };
    // Before anything is metered, a new mirror may not have come to where its origin begins.
    let may_come = is_mirror && cursor.stored_at.is_none();
    if state.last < cursor.sequence && !may_come {
        let (last, sequence) = (state.last, cursor.sequence);
        let text = format!("it ends at position {last}, before the cursor at {sequence}");
        return Err(Doubt::Identity(text));
    }
    let Some(stored_at) = cursor.stored_at else { return Ok(state) };
    let Some(found) = leader::next(jetstream, stream, cursor.sequence).await? else {
        return Ok(state);
    };
    if found.sequence == cursor.sequence && found.at != stored_at {
        return Err(Doubt::Identity(format!(
            "the message at the cursor, position {}, was stored at {} and not at {stored_at}",
            cursor.sequence, found.at
        )));
    }
    // A message that is gone identifies nothing by itself, but what follows it must be younger.
    if found.at < stored_at - CLOCKS_APART_MAX {
        return Err(Doubt::Identity(format!(
            "the first message after the cursor, position {}, was stored at {}, long before the one at \
             the cursor, {stored_at}",
            found.sequence, found.at
        )));
    }
    Ok(state)
}

/// Compares a mirror with its origin: it never passes the origin, and both have the same store time at
/// the newest position that both have. An origin that is gone can contradict nothing, and what the
/// mirror still has can be read.
///
/// # Errors
/// [`Doubt::Mirror`] if they are not the same stream.
pub async fn check_mirror(jetstream: &Context, mirror: &str, origin: &str) -> Result<(), Doubt> {
    // The mirror first, so that the origin cannot seem to be behind for having been asked earlier.
    let Some(of_mirror) = leader::state(jetstream, mirror).await? else {
        return Err(leader::no_stream(mirror));
    };
    if of_mirror.mirror_of.as_deref() != Some(origin) {
        let what = of_mirror.mirror_of.map_or("no mirror".to_owned(), |of| format!("one of {of}"));
        return Err(Doubt::Mirror(format!(
            "{mirror} is to be a mirror of {origin}, and is {what}"
        )));
    }
    let Some(of_origin) = leader::state(jetstream, origin).await? else {
        return Ok(());
    };
    if of_mirror.last > of_origin.last {
        return Err(Doubt::Mirror(format!(
            "{mirror} ends at position {}, after its origin {origin}, which ends at {}",
            of_mirror.last, of_origin.last
        )));
    }
    let oldest_common = of_mirror.first.max(of_origin.first);
    for sequence in [of_mirror.last, oldest_common] {
        if sequence < oldest_common || sequence > of_mirror.last || sequence == 0 {
            continue;
        }
        let in_mirror = leader::next(jetstream, mirror, sequence).await?;
        let in_origin = leader::next(jetstream, origin, sequence).await?;
        if let (Some(in_mirror), Some(in_origin)) = (in_mirror, in_origin)
            && in_mirror.sequence == sequence
            && in_origin.sequence == sequence
        {
            if in_mirror.at == in_origin.at {
                return Ok(());
            }
            return Err(Doubt::Mirror(format!(
                "position {sequence} was stored at {} in {mirror} and at {} in its origin {origin}",
                in_mirror.at, in_origin.at
            )));
        }
    }
    Ok(())
}

/// The message at a position that the client cannot be sent, if that is so: its subject is not UTF-8,
/// and the client drops the connection over it each time. Only the server's own answer shows it.
pub async fn unreadable(jetstream: &Context, stream: &str, sequence: i64) -> Option<StreamMessage> {
    let sequence = u64::try_from(sequence).ok()?;
    let handle = jetstream.get_stream(stream).await.ok()?;
    let message = handle.get_raw_message(sequence).await.ok()?;
    message.subject.contains('\u{fffd}').then_some(message)
}
