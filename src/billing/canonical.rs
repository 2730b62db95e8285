//! Canonical JSON by RFC 8785: one value has exactly one text, so that its hash can be defended.
//!
//! Names of an object are sorted by their UTF-16 code units, nothing is escaped that need not be,
//! and there is no white space. Of numbers only whole ones up to 2^53 - 1 are written, which every
//! reader takes exactly; amounts are strings. What was read is canonical if writing it again gives
//! the same bytes, see [`read`].
#![deny(clippy::arithmetic_side_effects)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The greatest whole number that a JSON reader with binary doubles takes exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// Why a value has no canonical text, or a text no value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the number {0} is not a whole one of at most 2^53 - 1; write it as a string")]
    Number(String),
    #[error("it is not the JSON that was expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is not canonical JSON (RFC 8785) from byte {at} on; restore the file as exported")]
    NotCanonical { at: usize },
}

/// The canonical text of `value`.
///
/// # Errors
/// If it has a number that is not a whole one of at most 2^53 - 1.
pub fn write(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    append(&mut text, &serde_json::to_value(value)?)?;
    Ok(text)
}

/// Reads a value from its canonical text, and from no other text that means the same.
///
/// # Errors
/// If `text` is another value, or not canonical: a byte more, another order, a name twice.
pub fn read<T: Serialize + DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let value: T = serde_json::from_slice(text)?;
    let again = write(&value)?;
    if again == text {
        return Ok(value);
    }
    let same = again.iter().zip(text).take_while(|(again, text)| again == text).count();
    Err(Error::NotCanonical { at: same })
}

/// The JSON pointer (RFC 6901) of the first place in which two values differ; a member or element
/// that only one of them has differs there.
pub fn difference(one: &Value, other: &Value) -> Option<String> {
    let below = |name: &dyn std::fmt::Display, one: Option<&Value>, other: Option<&Value>| {
        let name = name.to_string().replace('~', "~0").replace('/', "~1");
        match (one, other) {
            (Some(one), Some(other)) => {
                difference(one, other).map(|place| format!("/{name}{place}"))
            }
            _ => Some(format!("/{name}")),
        }
    };
    match (one, other) {
        (Value::Array(ones), Value::Array(others)) => (0..ones.len().max(others.len()))
            .find_map(|index| below(&index, ones.get(index), others.get(index))),
        (Value::Object(ones), Value::Object(others)) => {
            let mut names: Vec<_> = ones.keys().chain(others.keys()).collect();
            names.sort();
            names.into_iter().find_map(|name| below(name, ones.get(name), others.get(name)))
        }
        _ => (one != other).then(String::new),
    }
}

fn append(text: &mut Vec<u8>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Null => text.extend(b"null"),
        Value::Bool(true) => text.extend(b"true"),
        Value::Bool(false) => text.extend(b"false"),
        Value::String(value) => string(text, value),
        Value::Number(number) => {
            let whole = number.as_i64().filter(|whole| whole.unsigned_abs() <= INTEGER_MAX);
            let whole = whole.ok_or_else(|| Error::Number(number.to_string()))?;
            text.extend(whole.to_string().bytes());
        }
        Value::Array(values) => {
            text.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                append(text, value)?;
            }
            text.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            text.push(b'{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                string(text, name);
                text.push(b':');
                append(text, value)?;
            }
            text.push(b'}');
        }
    }
    Ok(())
}

/// Writes a string: quotes, backslashes and control characters are escaped and nothing else is.
pub(crate) fn string(text: &mut Vec<u8>, value: &str) {
    text.push(b'"');
    // Each part ends with the one byte that is escaped, but for the last. A byte of a longer
    // character is never below 0x80.
    for part in value.as_bytes().split_inclusive(|&byte| is_escaped(byte)) {
        match part.split_last() {
            Some((&byte, plain)) if is_escaped(byte) => {
                text.extend_from_slice(plain);
                escape(text, byte);
            }
            _ => text.extend_from_slice(part),
        }
    }
    text.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(text: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => text.extend_from_slice(b"\\\""),
        b'\\' => text.extend_from_slice(b"\\\\"),
        0x08 => text.extend_from_slice(b"\\b"),
        b'\t' => text.extend_from_slice(b"\\t"),
        b'\n' => text.extend_from_slice(b"\\n"),
        0x0c => text.extend_from_slice(b"\\f"),
        b'\r' => text.extend_from_slice(b"\\r"),
        _ => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
    }
}

#[cfg(test)]
mod tests;
