//! Answers without an end that is known: rows are written as they come, in parts of some kilobytes, and the
//! reader's pace is the database's.
//!
//! Each holds a connection of the pool for as long as it is read. So there are few at once, fewer for each caller,
//! and one that is not read ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use billing::ids::BrandId;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use sqlx::{PgPool, PgTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::Api;
use super::caller::Caller;
use super::problem::{Kind, Problem};
use crate::store::Error;
use crate::store::reading::{self, Extended};

const PART_BYTES: usize = 16 << 10;
const PARTS_WAITING: usize = 4;
/// Streams of one caller at once.
const OWN_MAX: usize = 2;
/// When to ask again, in seconds.
const RETRY_AFTER: u64 = 5;

/// How long streams may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one part to be taken by the reader.
    pub part: Duration,
    /// From the first part to the last.
    pub whole: Duration,
    /// For a place to become free.
    pub place: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { part: seconds(30), whole: seconds(600), place: seconds(5) }
    }
}

/// The places of the streams: at most half as many as the pool has connections.
pub struct Streams {
    limits: Limits,
    all: Arc<Semaphore>,
    /// Of the callers who have a place or wait for one.
    own: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Leave to stream, until it is dropped.
pub struct Place {
    limits: Limits,
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Streams {
    pub fn new(limits: Limits, connections_max: u32) -> Self {
        let places = (connections_max / 2).max(1) as usize;
        Self { limits, all: Arc::new(Semaphore::new(places)), own: Mutex::default() }
    }

    /// Takes a place for `caller`; to be done before a connection is taken.
    ///
    /// # Errors
    /// If none becomes free in time.
    pub async fn place(&self, caller: &Caller) -> Result<Place, Problem> {
        let own = self.own(&caller.id);
        let Ok(Ok(own)) = timeout(self.limits.place, own.acquire_owned()).await else {
            let detail = format!("{} reads {OWN_MAX} streamed answers already", caller.name);
            let problem = Problem::new(Kind::TooManyRequests, detail);
            return Err(problem.retry_after(RETRY_AFTER));
        };
        let all = Arc::clone(&self.all).acquire_owned();
        let Ok(Ok(all)) = timeout(self.limits.place, all).await else {
            tracing::warn!("a streamed answer found no place: all are being read");
            let detail = "as many answers are streamed as can be at once";
            return Err(Problem::new(Kind::Unavailable, detail).retry_after(RETRY_AFTER));
        };
        Ok(Place { limits: self.limits, _own: own, _all: all })
    }

    fn own(&self, caller: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock();
        own.retain(|_, places| Arc::strong_count(places) > 1);
        let places =
            own.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(OWN_MAX)));
        Arc::clone(places)
    }
}

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
    pub async fn new(api: &Api, snapshot: PgTransaction<'static>) -> Result<Self, Problem> {
        Ok(Self::about(api, snapshot, None).await?.0)
    }

    /// The same, and whether there is a brand of this id, if one is asked about.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn about(
        api: &Api,
        mut snapshot: PgTransaction<'static>,
        brand: Option<&BrandId>,
    ) -> Result<(Self, bool), Problem> {
        let Extended { backend, knows_brand } =
            reading::extend(&mut snapshot, api.config().streams.whole, brand).await?;
        Ok((Self { snapshot, backend, pool: api.store().pool.clone() }, knows_brand))
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
        if let Ok(result) = result {
            sink.end(result).await;
        } else {
            tracing::debug!("a reader has gone away");
        }
    }
}

enum Part {
    More(Bytes),
    Last(Bytes),
    Failed(Error),
}

/// Takes what is to be sent.
pub struct Sink {
    parts: mpsc::Sender<Part>,
    part: Vec<u8>,
    limits: Limits,
}

/// The reader has gone away, or does not read.
#[derive(Debug)]
pub struct Gone;

/// The answer ended before it was whole.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Failed(Error),
    #[error("it was not read in time")]
    Late,
}

impl Sink {
    /// Who is at the other end.
    pub fn reader(&self) -> Reader {
        Reader { parts: self.parts.clone(), limit: self.limits.whole }
    }

    /// Adds bytes; waits while the reader is slow, but not for ever.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.part.extend_from_slice(bytes);
        if self.part.len() < PART_BYTES {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES + 1024));
        self.send(Part::More(part.into())).await
    }

    async fn send(&self, part: Part) -> Result<(), Gone> {
        let Ok(sent) = timeout(self.limits.part, self.parts.send(part)).await else {
            tracing::info!("a streamed answer is ended: its reader has taken nothing for too long");
            return Err(Gone);
        };
        sent.map_err(|_| Gone)
    }

    /// Ends the answer; with an error the connection breaks, so that nobody takes it for whole.
    pub async fn end(mut self, result: Result<(), Error>) {
        let last = match result {
            Ok(()) => Part::Last(std::mem::take(&mut self.part).into()),
            Err(error) => Part::Failed(error),
        };
        let _ = self.send(last).await;
    }
}

/// Who reads an answer.
pub struct Reader {
    parts: mpsc::Sender<Part>,
    limit: Duration,
}

impl Reader {
    /// What `rows` comes to, unless the reader goes away or takes too long meanwhile, also while there is
    /// nothing to send.
    pub async fn unless_gone(
        self,
        rows: impl Future<Output = Result<Result<(), Error>, Gone>>,
    ) -> Result<Result<(), Error>, Gone> {
        tokio::select! {
            result = rows => result,
            () = self.parts.closed() => Err(Gone),
            () = tokio::time::sleep(self.limit) => {
                tracing::info!("a streamed answer is ended: it took too long");
                Err(Gone)
            }
        }
    }
}

/// The answer that `write` writes, in `place`. What fails before the first part is a problem, and so is a first
/// part that takes longer than a request may. If `write` ends before it has ended its sink, the connection breaks.
pub async fn answer<F>(
    api: &Api,
    place: Place,
    content_type: &'static str,
    write: impl FnOnce(Sink) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (parts, mut ready) = mpsc::channel(PARTS_WAITING);
    let part = Vec::with_capacity(PART_BYTES + 1024);
    let writing = write(Sink { parts, part, limits: place.limits });
    let held = async move {
        writing.await;
        drop(place);
    };
    tokio::spawn(held.in_current_span());
    let request_timeout = api.config().request_timeout;
    let first = match timeout(request_timeout, ready.recv()).await {
        Ok(Some(Part::Failed(error))) => return Err(error.into()),
        Ok(first) => first,
        Err(_) => {
            let detail = format!("after {} ms", request_timeout.as_millis());
            return Err(Problem::new(Kind::Timeout, detail));
        }
    };
    let rest = stream::unfold(Some((first, ready)), async |state| {
        let (first, mut ready) = state?;
        let part = match first {
            Some(part) => Some(part),
            None => ready.recv().await,
        };
        Some(match part {
            Some(Part::More(bytes)) => (Ok(bytes), Some((None, ready))),
            Some(Part::Last(bytes)) => (Ok(bytes), None),
            Some(Part::Failed(error)) => (Err(Broken::Failed(error)), None),
            None => (Err(Broken::Late), None),
        })
    });
    // What compresses asks once more after the end.
    let mut response = Body::from_stream(rest.fuse()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}
