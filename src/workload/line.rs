//! One event as one line of a file.
//!
//! `{"subject":"proofs.verified","event":{…}}` holds the event's own text, byte for byte; a
//! malformed event is `{"subject":"proofs.verified","hex":"…"}`.

use std::borrow::Cow;
use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Event, Kind};

/// Why a line is not an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the line is not an event: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("the line must have either `event` or `hex`")]
    Payload,
    #[error("`hex` must be pairs of hexadecimal digits")]
    Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    hex: Option<Cow<'a, str>>,
}

/// Writes the event and a line feed.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(event: &Event<'_>, out: &mut impl io::Write) -> io::Result<()> {
    write!(out, "{{\"subject\":\"{}\",", event.subject)?;
    if matches!(event.kind, Kind::Malformed(_)) {
        out.write_all(b"\"hex\":\"")?;
        for byte in event.payload {
            write!(out, "{byte:02x}")?;
        }
        out.write_all(b"\"}\n")
    } else {
        out.write_all(b"\"event\":")?;
        out.write_all(event.payload)?;
        out.write_all(b"}\n")
    }
}

/// Reads a line: the event's subject and bytes.
///
/// # Errors
/// If it is not such a line.
pub fn read(line: &str) -> Result<(Cow<'_, str>, Cow<'_, [u8]>), Error> {
    let line: Line<'_> = serde_json::from_str(line)?;
    let payload = match (line.event, line.hex) {
        (Some(event), None) => Cow::Borrowed(event.get().as_bytes()),
        (None, Some(hex)) => Cow::Owned(unhex(&hex)?),
        _ => return Err(Error::Payload),
    };
    Ok((line.subject, payload))
}

fn unhex(text: &str) -> Result<Vec<u8>, Error> {
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Error::Hex);
    let (pairs, []) = text.as_bytes().as_chunks() else { return Err(Error::Hex) };
    let byte = |&[high, low]: &[u8; 2]| Ok((digit(high)? << 4 | digit(low)?) as u8);
    pairs.iter().map(byte).collect()
}
