//! Answers without an end that is known: rows are written as they come, in parts of some kilobytes, and the
//! reader's pace is the database's.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use sqlx::{PgPool, PgTransaction};
use tokio::sync::mpsc;

use super::Api;
use super::problem::{Kind, Problem};
use crate::store::{Error, reading};

const PART_BYTES: usize = 16 << 10;
const PARTS_WAITING: usize = 4;
/// For how long rows may be read, at their reader's pace. Who is slower than this holds a connection no longer.
const STREAM_MAX: Duration = Duration::from_secs(600);

/// A snapshot whose rows are streamed.
pub struct Source {
    pub snapshot: PgTransaction<'static>,
    /// By which its statement can be ended, on another connection of the pool.
    backend: i32,
    pool: PgPool,
}

impl Source {
    /// Lets the snapshot be read for as long as streams may take.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn new(api: &Api, mut snapshot: PgTransaction<'static>) -> Result<Self, Problem> {
        let backend = reading::extend(&mut snapshot, STREAM_MAX).await?;
        Ok(Self { snapshot, backend, pool: api.store().pool.clone() })
    }

    /// Ends the snapshot and then the answer. What the statement would still give is wanted by nobody if the
    /// reader has `Gone` or it was not read to its end, so the database stops.
    pub async fn end(self, sink: Sink, result: Result<Result<(), Error>, Gone>) {
        if !matches!(result, Ok(Ok(())))
            && let Err(error) = reading::cancel(&self.pool, self.backend).await
        {
            tracing::warn!(%error, "a statement that nobody reads could not be ended");
        }
        // It has written nothing, and what is left of it goes with its connection's next use.
        let _ = self.snapshot.rollback().await;
        match result {
            Ok(result) => sink.end(result).await,
            Err(Gone) => tracing::debug!("a reader has gone away"),
        }
    }
}

/// Takes what is to be sent.
pub struct Sink {
    parts: mpsc::Sender<Result<Bytes, Error>>,
    part: Vec<u8>,
}

/// The reader has gone away.
#[derive(Debug)]
pub struct Gone;

impl Sink {
    /// Who is at the other end.
    pub fn reader(&self) -> Reader {
        Reader(self.parts.clone())
    }

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

/// Who reads an answer.
pub struct Reader(mpsc::Sender<Result<Bytes, Error>>);

impl Reader {
    /// What `rows` comes to, unless the reader goes away or takes too long meanwhile, also while there is
    /// nothing to send.
    pub async fn unless_gone(
        self,
        rows: impl Future<Output = Result<Result<(), Error>, Gone>>,
    ) -> Result<Result<(), Error>, Gone> {
        tokio::select! {
            result = rows => result,
            () = self.0.closed() => Err(Gone),
            () = tokio::time::sleep(STREAM_MAX) => {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                Ok(Err(sqlx::Error::from(late).into()))
            }
        }
    }
}

/// The answer that `write` writes. What fails before the first part is a problem, and so is a first part that
/// takes longer than a request may.
pub async fn answer<F>(
    api: &Api,
    content_type: &'static str,
    write: impl FnOnce(Sink) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (parts, mut ready) = mpsc::channel(PARTS_WAITING);
    let sink = Sink { parts, part: Vec::with_capacity(PART_BYTES + 1024) };
    tokio::spawn(write(sink));
    let timeout = api.config().request_timeout;
    let first = match tokio::time::timeout(timeout, ready.recv()).await {
        Ok(Some(Err(error))) => return Err(error.into()),
        Ok(first) => first,
        Err(_) => {
            let detail = format!("after {} ms", timeout.as_millis());
            return Err(Problem::new(Kind::Timeout, detail));
        }
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
