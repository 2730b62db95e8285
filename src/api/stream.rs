//! Answers without an end that is known: rows are written as they come, in parts of some kilobytes, and the
//! reader's pace is the database's.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::problem::Problem;
use crate::store::Error;

const PART_BYTES: usize = 16 << 10;
const PARTS_WAITING: usize = 4;

/// Takes what is to be sent.
pub struct Sink {
    parts: mpsc::Sender<Result<Bytes, Error>>,
    part: Vec<u8>,
}

/// The reader has gone away.
#[derive(Debug)]
pub struct Gone;

impl Sink {
    /// Adds bytes; waits while the reader is slow.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.part.extend_from_slice(bytes);
        if self.part.len() < PART_BYTES {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES + 1024));
        self.parts.send(Ok(part.into())).await.map_err(|_| Gone)
    }

    /// Ends the answer; with an error the connection breaks, so that nobody takes it for whole.
    pub async fn end(self, result: Result<(), Error>) {
        let last = match result {
            Ok(()) => Ok(Bytes::from(self.part)),
            Err(error) => Err(error),
        };
        let _ = self.parts.send(last).await;
    }
}

/// The answer that `write` writes. What fails before the first part is a problem.
pub async fn answer<F>(
    content_type: &'static str,
    write: impl FnOnce(Sink) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (parts, mut ready) = mpsc::channel(PARTS_WAITING);
    let sink = Sink { parts, part: Vec::with_capacity(PART_BYTES + 1024) };
    tokio::spawn(write(sink));
    let first = match ready.recv().await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(first)) => Some(Ok(first)),
        None => None,
    };
    let rest = stream::unfold((first, ready), async |(first, mut ready)| match first {
        Some(first) => Some((first, (None, ready))),
        None => ready.recv().await.map(|part| (part, (None, ready))),
    });
    // What compresses asks once more after the end.
    let mut response = Body::from_stream(rest.fuse()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// A row of CSV (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe before it.
pub fn csv_row<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let guarded = fields.into_iter().map(|field| {
        let is_formula = field
            .starts_with(['=', '+', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
            || (field.starts_with('-') && field.parse::<rust_decimal::Decimal>().is_err());
        if is_formula { format!("'{field}") } else { field.to_owned() }
    });
    let written = writer.write_record(guarded);
    // Writing to memory cannot fail.
    written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_a_text() {
        let row = csv_row(["=1+1", "-5.00", "-cmd", "a,b", "@x", ""]);
        assert_eq!(String::from_utf8(row).unwrap(), "'=1+1,-5.00,'-cmd,\"a,b\",'@x,\r\n");
    }
}
