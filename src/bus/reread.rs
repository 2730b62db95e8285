//! Reads the stream again, beside the engine and never by its consumer, and compares each position
//! with what the database says became of it. Writes nothing.

use std::sync::Arc;

use async_nats::jetstream::consumer::DeliverPolicy;
use chrono::{DateTime, Utc};

use super::compare::{Expected, Report};
use super::pull::{self, Delivery, Doubt, Pull};
use super::sorter::{self, NewName, Sorter};
use super::{Bus, identity};
use crate::actors::chunk::{Chunk, ChunkBuilder, Rejected, RunKind, Source};
use crate::actors::directory::Directory;
use crate::store::cursor::{self, Cursor};
use crate::store::positions::{Positions, Range};
use crate::store::{self, Store, brands};

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// Where the stream's life in this database begins.
    #[default]
    First,
    Sequence(i64),
    /// With the first message that was stored at or after it.
    Time(DateTime<Utc>),
}

/// What to read again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    pub from: From,
    /// The last position; the cursor's if it is not said, or if it is further on.
    pub to: Option<i64>,
}

/// What reading needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub pull: pull::Config,
    pub sorter: sorter::Config,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing was metered yet from stream {0}: there is nothing to compare")]
    NothingMetered(String),
    #[error("{0}")]
    Stream(#[from] Doubt),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Messages that are compared at a time.
const BLOCK_MESSAGES: usize = 8_192;
/// Reading is begun again so often without any progress before it is given up.
const IN_VAIN_MAX: u32 = 5;
/// After so many it is looked whether the client cannot be sent the message.
const UNREADABLE_FROM: u32 = 2;

/// Reads the stream again and compares. `progress` is told the range once it is known, and then how
/// many positions of it have been passed.
///
/// # Errors
/// If the stream is not the one that was metered, or database or bus are away.
pub async fn compare(
    bus: &Bus,
    store: &Store,
    config: &Config,
    request: Request,
    progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    let stream = &config.pull.stream;
    let cursor = cursor::read(&store.pool).await?;
    if cursor.stream.as_ref() != Some(stream) || cursor.sequence == cursor.began_after {
        return Err(Error::NothingMetered(stream.clone()));
    }
    identity::check(&bus.jetstream, stream, None, &cursor).await?;
    let directory = Directory::default();
    directory.add_brands(brands::all(&store.pool).await?);
    directory.add_predicates(brands::predicates(&store.pool).await?);
    let sorter = Sorter { config: config.sorter.clone(), directory: Arc::new(directory) };
    let reread = Reread { bus, config, sorter, cursor, report: Report::default(), progress };
    reread.run(store, request).await
}

struct Reread<'a, P> {
    bus: &'a Bus,
    config: &'a Config,
    sorter: Sorter,
    cursor: Cursor,
    report: Report,
    progress: P,
}

impl<P: FnMut(u64, u64)> Reread<'_, P> {
    async fn run(mut self, store: &Store, request: Request) -> Result<Report, Error> {
        let to = request.to.unwrap_or(i64::MAX).min(self.cursor.sequence);
        let from = match request.from {
            From::Time(at) => match self.first_since(at).await? {
                Some(first) => first,
                None => return Ok(self.report),
            },
            From::Sequence(sequence) => sequence,
            From::First => 1,
        };
        let from = from.max(self.cursor.began_after + 1);
        self.report.not_metered = self.not_metered(request.to).await?;
        if from > to {
            return Ok(self.report);
        }
        let range = Range { epoch: self.cursor.epoch, first: from, last: to };
        let mut positions = Positions::open(&store.pool, range, self.cursor.entry).await?;
        let mut reader = Reader { from: from - 1, to, pull: None, in_vain: 0 };
        loop {
            let before = reader.from;
            let (block, is_last) = reader.block(self.bus, self.config).await?;
            self.compare(&block, before, &mut positions).await?;
            (self.progress)(between(from, reader.from + 1), between(from, to + 1));
            if is_last {
                break;
            }
        }
        self.report.gone += between(reader.from, to);
        Ok(self.report)
    }

    /// Compares a block of messages after `before`.
    async fn compare(
        &mut self,
        block: &[Read],
        mut before: i64,
        positions: &mut Positions<'_>,
    ) -> Result<(), Error> {
        let mut builder = ChunkBuilder::new(0, self.cursor.epoch, 0);
        let mut unnamed = Vec::new();
        for read in block {
            match read {
                Read::Delivery(delivery) => {
                    let sorted = self.sorter.sort(&mut builder, self.cursor.epoch, delivery);
                    if let Err(NewName) = sorted {
                        unnamed.push(delivery.sequence);
                    }
                }
                Read::Unreadable(rejected) => builder.reject(rejected.clone()),
            }
        }
        let stored_at = DateTime::<Utc>::UNIX_EPOCH;
        let chunk = builder
            .finish(Source::Stream { before, last: before, stored_at: Some(stored_at) }, None);
        let mut expectations = Expectations::of(&chunk, &unnamed);
        for sequence in block.iter().map(Read::sequence) {
            self.report.gone += between(before, sequence - 1);
            before = sequence;
            self.report.compare(sequence, &expectations.next(sequence), positions).await?;
        }
        Ok(())
    }

    /// The position of the first message that was stored at or after `at`.
    async fn first_since(&self, at: DateTime<Utc>) -> Result<Option<i64>, Error> {
        let policy = DeliverPolicy::ByStartTime { start_time: at };
        let mut pull = Pull::beside(self.bus, &self.config.pull, policy).await?;
        if pull.pending_at_first() == 0 {
            return Ok(None);
        }
        Ok(Some(pull.next().await?.sequence))
    }

    async fn not_metered(&self, to: Option<i64>) -> Result<u64, Error> {
        let stream = &self.config.pull.stream;
        let info = super::streams::info(&self.bus.jetstream, stream)
            .await
            .map_err(|error| Doubt::Consumer(format!("{error:#}")))?;
        let last = info.map_or(0, |info| info.state.last_sequence);
        let last = i64::try_from(last).unwrap_or(i64::MAX).min(to.unwrap_or(i64::MAX));
        Ok(between(self.cursor.sequence, last))
    }
}

/// Positions after `from` up to and with `to`.
fn between(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

/// A message as it was read.
enum Read {
    Delivery(Delivery),
    /// The client cannot be sent it; the server's own answer shows it.
    Unreadable(Rejected),
}

impl Read {
    fn sequence(&self) -> i64 {
        match self {
            Read::Delivery(delivery) => delivery.sequence,
            Read::Unreadable(rejected) => rejected.sequence,
        }
    }
}

/// Reads on after `from`, whatever happens to the subscription.
struct Reader {
    from: i64,
    to: i64,
    pull: Option<Pull>,
    in_vain: u32,
}

impl Reader {
    /// The next messages, and whether they are the last ones.
    async fn block(&mut self, bus: &Bus, config: &Config) -> Result<(Vec<Read>, bool), Error> {
        let mut block = Vec::new();
        loop {
            match self.fill(bus, config, &mut block).await {
                Ok(is_last) => return Ok((block, is_last)),
                Err(_) if !block.is_empty() => return Ok((block, false)),
                Err(doubt) => {
                    self.pull = None;
                    self.in_vain += 1;
                    if self.in_vain >= UNREADABLE_FROM
                        && let Some(read) = self.unreadable(bus, &config.pull.stream).await
                    {
                        self.from = read.sequence();
                        return Ok((vec![read], self.from >= self.to));
                    }
                    if self.in_vain > IN_VAIN_MAX {
                        return Err(doubt.into());
                    }
                }
            }
        }
    }

    async fn fill(
        &mut self,
        bus: &Bus,
        config: &Config,
        block: &mut Vec<Read>,
    ) -> Result<bool, Doubt> {
        let mut pull = if let Some(pull) = self.pull.take() {
            pull
        } else {
            let start_sequence = u64::try_from(self.from + 1).unwrap_or(1);
            let policy = DeliverPolicy::ByStartSequence { start_sequence };
            let pull = Pull::beside(bus, &config.pull, policy).await?;
            if pull.pending_at_first() == 0 {
                return Ok(true);
            }
            pull
        };
        let mut delivery = pull.next().await?;
        loop {
            if delivery.sequence > self.to {
                return Ok(true);
            }
            let is_last = delivery.sequence == self.to || delivery.pending == 0;
            self.from = delivery.sequence;
            self.in_vain = 0;
            block.push(Read::Delivery(delivery));
            if is_last {
                return Ok(true);
            }
            if block.len() >= BLOCK_MESSAGES {
                break;
            }
            pull.ask().await?;
            match pull.ready()? {
                Some(next) => delivery = next,
                None => break,
            }
        }
        self.pull = Some(pull);
        Ok(false)
    }

    async fn unreadable(&self, bus: &Bus, stream: &str) -> Option<Read> {
        let sequence = self.from + 1;
        let message = identity::unreadable(&bus.jetstream, stream, sequence).await?;
        Some(Read::Unreadable(Rejected {
            sequence,
            stored_at: message.time,
            subject: message.subject.to_string(),
            reason: billing::receipt::Reason::Subject,
            detail: String::new(),
            brand_id: None,
            receipt_id: None,
            raw: message.payload,
        }))
    }
}

/// What the messages of a block call for, in their order.
struct Expectations<'a> {
    chunk: &'a Chunk,
    unnamed: &'a [i64],
    candidates: usize,
    rejected: usize,
}

impl<'a> Expectations<'a> {
    fn of(chunk: &'a Chunk, unnamed: &'a [i64]) -> Self {
        debug_assert!(chunk.runs.iter().all(|run| run.kind == RunKind::Ignored));
        Self { chunk, unnamed, candidates: 0, rejected: 0 }
    }

    fn next(&mut self, sequence: i64) -> Expected<'a> {
        if let Some(candidate) = self.chunk.candidates.get(self.candidates)
            && candidate.sequence == sequence
        {
            self.candidates += 1;
            let brand = &self.chunk.slices[candidate.slice as usize].brand;
            return Expected::Receipt { candidate, brand_no: brand.no, zone: brand.zone };
        }
        if let Some(rejected) = self.chunk.rejected.get(self.rejected)
            && rejected.sequence == sequence
        {
            self.rejected += 1;
            return Expected::Refused(rejected);
        }
        if let Some((first, rest)) = self.unnamed.split_first()
            && *first == sequence
        {
            self.unnamed = rest;
            return Expected::Unnamed;
        }
        Expected::Ignored
    }
}
