//! A chunk: the events that are metered and committed together, cut into one slice a brand.
//!
//! A chunk is built once by the intake and then only read: brand actors share it, so a slice that is
//! sent again costs nothing. Its ledger rows are encoded while the events are decoded; entry and
//! usage day, which are decided later, are filled in at fixed places.

use std::collections::BTreeMap;
use std::sync::Arc;

use billing::ids::Predicate;
use billing::receipt::{Content, Reason, ReceiptKey, UsageReceipt};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use hashbrown::HashMap;

use super::archive::Found;
use crate::store::brands::Brand;
use crate::store::commit::LEDGER_COLUMNS;
use crate::store::commit::NewRejection;
use crate::store::copy::{self, Row};
use crate::store::gaps::NewGap;

/// Numbers chunks within a fence; never used twice.
pub type ChunkNo = i64;

/// Where a chunk's events came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The stream: positions after `before` up to and with `last` get their disposition. Without a
    /// store time the last one is in a gap.
    Stream { before: i64, last: i64, stored_at: Option<DateTime<Utc>> },
    /// Rejections that are read again, asked for by a request. Each candidate stands for the
    /// rejection at the same index; `still_rejected` have been read in vain.
    Retry {
        request_no: i64,
        asked_by: String,
        rejections: Vec<i64>,
        still_rejected: Vec<(i64, Reason)>,
    },
    /// Parked events of one brand, the oldest first, asked for by a request.
    /// `rejected` cannot be metered; so many were rejected by the same request before.
    Unpark {
        request_no: i64,
        brand_no: i32,
        left: Left,
        rejected: Vec<NewRejection>,
        rejected_before: usize,
    },
}

/// What is parked of a brand beside the events of a chunk of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There are more, for another chunk.
    More,
    /// No event: the chunk's commit ends the parking.
    Nothing,
}

/// An event that may be counted.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub epoch: i32,
    pub sequence: i64,
    pub key: ReceiptKey,
    pub digest: u64,
    pub verified_at: DateTime<Utc>,
    pub predicate_no: i32,
    /// The result that is billed.
    pub result: bool,
    /// Index of the brand's slice in the chunk.
    pub slice: u32,
}

/// One brand's events in a chunk: indexes of candidates, in stream order.
#[derive(Debug)]
pub struct Slice {
    pub brand: Arc<Brand>,
    pub candidates: Vec<u32>,
}

/// An event that cannot be counted.
#[derive(Clone, Debug)]
pub struct Rejected {
    pub sequence: i64,
    pub stored_at: DateTime<Utc>,
    pub subject: String,
    pub reason: Reason,
    pub detail: String,
    pub brand_id: Option<String>,
    pub receipt_id: Option<String>,
    pub raw: Bytes,
}

/// Positions in a row that have the same disposition and need no row each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: i64,
    pub last: i64,
    pub kind: RunKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Not `proofs.verified`.
    Ignored,
    /// The stream no longer has them.
    Gap,
}

/// What `proofs.failed` is tallied by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    pub failed_on: NaiveDate,
    pub predicate: String,
    pub error_code: String,
}

/// A chunk, complete and immutable.
#[derive(Debug)]
pub struct Chunk {
    pub no: ChunkNo,
    pub epoch: i32,
    pub source: Source,
    pub candidates: Vec<Candidate>,
    pub slices: Vec<Slice>,
    slice_of: HashMap<i32, u32>,
    pub rejected: Vec<Rejected>,
    pub runs: Vec<Run>,
    pub failures: BTreeMap<FailureKey, i64>,
    /// What sealed segments know of the candidates; looked up before the chunk flies.
    pub archived: Found,
    /// What the runs of gaps are recorded as.
    pub gaps: Vec<NewGap>,
    /// Store time of the chunk's first message, where the chunk before it ended with a gap.
    pub gap_ends: Option<DateTime<Utc>>,
    /// Where to send the acknowledgement of the last message.
    pub ack: Option<async_nats::Subject>,
    /// Messages that the bus had still to send when it sent the chunk's last one.
    pub waiting: u64,
    /// Payload and store time of each candidate, for conflicts.
    originals: Vec<(Bytes, DateTime<Utc>)>,
    rows: Vec<u8>,
    row_ends: Vec<usize>,
}

impl Chunk {
    /// The brand of a candidate.
    pub fn brand_no(&self, candidate: &Candidate) -> i32 {
        self.slices[candidate.slice as usize].brand.no
    }

    /// The index of the brand's slice, if it has one.
    pub fn slice_of(&self, brand_no: i32) -> Option<usize> {
        self.slice_of.get(&brand_no).map(|slice| *slice as usize)
    }

    pub fn original(&self, candidate: usize) -> &(Bytes, DateTime<Utc>) {
        &self.originals[candidate]
    }

    /// Appends the candidate's ledger row to `bytes`, with its entry and usage day filled in.
    pub fn write_row(&self, candidate: usize, entry: i64, day: NaiveDate, bytes: &mut Vec<u8>) {
        let start = if candidate == 0 { 0 } else { self.row_ends[candidate - 1] };
        let at = bytes.len();
        bytes.extend_from_slice(&self.rows[start..self.row_ends[candidate]]);
        bytes[at + ENTRY_AT..at + ENTRY_AT + 8].copy_from_slice(&entry.to_be_bytes());
        bytes[at + DAY_AT..at + DAY_AT + 4].copy_from_slice(&copy::date_bytes(day));
    }

    /// What the candidate says, read back from its row; `predicate` is the name of its number.
    pub fn content<'a>(&'a self, candidate: usize, predicate: Predicate<'a>) -> Content<'a> {
        let [result, _, _, supplier, product] = self.last_fields(candidate);
        let text = |field: &'a [u8]| std::str::from_utf8(field).expect("written from a str");
        Content {
            predicate,
            supplier: supplier.map(text),
            product: product.map(text),
            result: result.map(|field| field == [1]),
        }
    }

    /// The receipt id of a candidate.
    pub fn receipt_id(&self, candidate: usize) -> &str {
        let [_, _, receipt_id, _, _] = self.last_fields(candidate);
        let receipt_id = receipt_id.expect("a receipt has an id");
        std::str::from_utf8(receipt_id).expect("written from a str")
    }

    /// The fields of a row from `result` on; `None` for NULL.
    fn last_fields(&self, candidate: usize) -> [Option<&[u8]>; 5] {
        /// Bytes before `result`: the field count, and ten fields of 8+4+8+8+8+4+4+4+16+2 bytes.
        const RESULT_AT: usize = 2 + 10 * 4 + 66;
        let start = if candidate == 0 { 0 } else { self.row_ends[candidate - 1] };
        let mut rest = &self.rows[start + RESULT_AT..self.row_ends[candidate]];
        std::array::from_fn(|_| {
            let (length, after) = rest.split_first_chunk::<4>().expect("a field has a length");
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (field, after) = after.split_at(length.unwrap_or(0));
            rest = after;
            length.map(|_| field)
        })
    }

    /// Bytes of all rows, an upper bound for what is counted.
    pub fn row_bytes(&self) -> usize {
        self.rows.len()
    }
}

/// Where a row has its entry: after the field count and the field's length.
const ENTRY_AT: usize = 2 + 4;
/// Where a row has its usage day: after the entry and the field's length.
const DAY_AT: usize = ENTRY_AT + 8 + 4;

/// Gathers a chunk.
pub struct ChunkBuilder {
    chunk: Chunk,
    source: i16,
}

impl ChunkBuilder {
    /// `source` is the ledger's number for where the events come from: 0 stream, 1 retry.
    pub fn new(no: ChunkNo, epoch: i32, source: i16) -> Self {
        let placeholder = Source::Stream { before: 0, last: 0, stored_at: None };
        Self {
            chunk: Chunk {
                no,
                epoch,
                source: placeholder,
                candidates: Vec::new(),
                slices: Vec::new(),
                slice_of: HashMap::new(),
                rejected: Vec::new(),
                runs: Vec::new(),
                failures: BTreeMap::new(),
                archived: Found::default(),
                gaps: Vec::new(),
                gap_ends: None,
                ack: None,
                waiting: 0,
                originals: Vec::new(),
                rows: Vec::new(),
                row_ends: Vec::new(),
            },
            source,
        }
    }

    /// Makes room for so many events.
    pub fn reserve(&mut self, events: usize) {
        /// A row with a UUID for its id and short names, in bytes.
        const ROW_BYTES: usize = 256;
        self.chunk.candidates.reserve(events);
        self.chunk.originals.reserve(events);
        self.chunk.row_ends.reserve(events);
        self.chunk.rows.reserve(events * ROW_BYTES);
    }

    /// Adds an event that may be counted for `brand`.
    pub fn count(
        &mut self,
        position: (i32, i64),
        receipt: &UsageReceipt<'_>,
        brand: &Arc<Brand>,
        predicate_no: i32,
        original: (Bytes, DateTime<Utc>),
    ) {
        let (epoch, sequence) = position;
        let candidate = u32::try_from(self.chunk.candidates.len()).expect("a chunk is bounded");
        let slice = self.slice(brand);
        self.chunk.slices[slice as usize].candidates.push(candidate);
        let candidate = Candidate {
            epoch,
            sequence,
            key: receipt.key(),
            digest: receipt.digest(),
            verified_at: receipt.verified_at,
            predicate_no,
            result: receipt.billed_result(),
            slice,
        };
        self.encode(&candidate, receipt, brand.no);
        self.chunk.candidates.push(candidate);
        self.chunk.originals.push(original);
    }

    pub fn reject(&mut self, rejected: Rejected) {
        self.chunk.rejected.push(rejected);
    }

    /// Adds positions without a row each; joins them to the run before where it has the same kind.
    pub fn run(&mut self, first: i64, last: i64, kind: RunKind) {
        if let Some(run) = self.chunk.runs.last_mut()
            && run.kind == kind
            && run.last + 1 == first
        {
            run.last = last;
            return;
        }
        self.chunk.runs.push(Run { first, last, kind });
    }

    /// Adds positions that the stream no longer has.
    pub fn miss(&mut self, gap: NewGap) {
        let last = gap.last.unwrap_or(gap.first);
        self.run(gap.first, last, RunKind::Gap);
        self.chunk.gaps.push(gap);
    }

    /// The gaps that were added.
    pub fn gaps(&self) -> &[NewGap] {
        &self.chunk.gaps
    }

    /// Says that the chunk before ended with a gap, and when the first message after it was stored.
    pub fn ends_gap(&mut self, stored_at: DateTime<Utc>) {
        self.chunk.gap_ends = Some(stored_at);
    }

    pub fn fail(&mut self, failure: FailureKey) {
        *self.chunk.failures.entry(failure).or_default() += 1;
    }

    /// So many messages wait behind the chunk.
    pub fn waiting(&mut self, messages: u64) {
        self.chunk.waiting = messages;
    }

    pub fn finish(mut self, source: Source, ack: Option<async_nats::Subject>) -> Chunk {
        self.chunk.source = source;
        self.chunk.ack = ack;
        self.chunk
    }

    fn slice(&mut self, brand: &Arc<Brand>) -> u32 {
        let Chunk { slices, slice_of, .. } = &mut self.chunk;
        *slice_of.entry(brand.no).or_insert_with(|| {
            slices.push(Slice { brand: Arc::clone(brand), candidates: Vec::new() });
            u32::try_from(slices.len() - 1).expect("a chunk is bounded")
        })
    }

    fn encode(&mut self, candidate: &Candidate, receipt: &UsageReceipt<'_>, brand_no: i32) {
        let rows = &mut self.chunk.rows;
        // Entry and usage day come first, so that they stand at the same place in every row.
        Row::start(rows, LEDGER_COLUMNS)
            .int8(0)
            .date(NaiveDate::default())
            .int8(candidate.sequence)
            .int8(candidate.digest.cast_signed())
            .timestamptz(receipt.verified_at)
            .int4(candidate.epoch)
            .int4(brand_no)
            .int4(candidate.predicate_no)
            .uuid(candidate.key.0)
            .int2(self.source)
            .nullable(receipt.result, Row::boolean)
            .nullable(receipt.expires_at, Row::timestamptz)
            .text(receipt.receipt_id)
            .nullable(receipt.supplier, Row::text)
            .nullable(receipt.product, Row::text);
        self.chunk.row_ends.push(self.chunk.rows.len());
    }
}
