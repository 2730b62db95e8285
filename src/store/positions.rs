//! What the database says became of each position, in the order of the stream, to be walked beside it.
//!
//! The ledger is ordered by entry, which is the stream's order for what came from the stream, so
//! neither side needs an index on positions.

use std::collections::VecDeque;

use billing::receipt::ReceiptKey;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{FromRow, PgPool};

use super::{Error, copy};

/// A range of positions of one epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub epoch: i32,
    pub first: i64,
    pub last: i64,
}

/// A position that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedPosition {
    pub entry: i64,
    pub sequence: i64,
    pub brand_no: i32,
    pub key: ReceiptKey,
    pub digest: u64,
    pub verified_at: DateTime<Utc>,
    pub usage_day: NaiveDate,
}

/// A run of positions that were not counted.
#[derive(Clone, Debug, FromRow)]
pub struct Disposed {
    pub first: i64,
    pub last: i64,
    pub kind: String,
    pub brand_no: Option<i32>,
    receipt_key: Option<Vec<u8>>,
    /// Why it was rejected, and its bytes, if it was and is kept.
    pub reason: Option<String>,
    pub raw: Option<Vec<u8>>,
}

impl Disposed {
    pub fn key(&self) -> Option<ReceiptKey> {
        let bytes: [u8; 16] = self.receipt_key.as_deref()?.try_into().ok()?;
        Some(ReceiptKey(u128::from_be_bytes(bytes)))
    }
}

/// Both kinds, each read once from front to back.
pub struct Positions<'a> {
    rows: BoxStream<'static, Result<Bytes, sqlx::Error>>,
    reader: copy::Reader,
    counted: VecDeque<CountedPosition>,
    dispositions: BoxStream<'a, Result<Disposed, sqlx::Error>>,
    disposed: Option<Disposed>,
}

/// Fields of a row of the ledger as it is copied out, and their bytes together.
const FIELDS: usize = 7;
const WIDTH: usize = 8 + 8 + 4 + 16 + 8 + 8 + 4;

impl<'a> Positions<'a> {
    /// Begins to read `range`; entries beyond `entry` are not looked at.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn open(pool: &'a PgPool, range: Range, entry: i64) -> Result<Self, Error> {
        let Range { epoch, first, last } = range;
        let from = entry_of(pool, epoch, first, entry).await?;
        let statement = format!(
            "copy (select entry, sequence, brand_no, receipt_key, digest, verified_at, usage_day \
             from ledger where entry between {from} and {entry} and source = 0 \
                and epoch = {epoch} and sequence between {first} and {last} \
             order by entry) to stdout (format binary)"
        );
        let rows = pool.copy_out_raw(&statement).await?;
        let dispositions = sqlx::query_as(
            "select d.first, d.last, d.kind, d.brand_no, uuid_send(d.receipt_key) as receipt_key, \
                r.reason, r.raw \
             from disposition d left join rejection r \
                on d.kind = 'rejected' and r.epoch = d.epoch and r.sequence = d.first \
             where d.epoch = $1 and d.last >= $2 and d.first <= $3 order by d.first",
        )
        .bind(epoch)
        .bind(first)
        .bind(last)
        .fetch(pool);
        Ok(Self {
            rows,
            reader: copy::Reader::default(),
            counted: VecDeque::new(),
            dispositions,
            disposed: None,
        })
    }

    /// The next counted position, which stays the next one until it is taken.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn counted(&mut self) -> Result<Option<CountedPosition>, Error> {
        while self.counted.is_empty() {
            let Some(bytes) = self.rows.try_next().await? else { return Ok(None) };
            let counted = &mut self.counted;
            self.reader.push(&bytes, FIELDS, WIDTH, |row| counted.push_back(position(row)));
        }
        Ok(self.counted.front().copied())
    }

    pub fn take_counted(&mut self) {
        self.counted.pop_front();
    }

    /// The next run of positions that were not counted, which stays until it is taken.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn disposed(&mut self) -> Result<Option<&Disposed>, Error> {
        if self.disposed.is_none() {
            self.disposed = self.dispositions.try_next().await?;
        }
        Ok(self.disposed.as_ref())
    }

    pub fn take_disposed(&mut self) {
        self.disposed = None;
    }
}

/// The first entry that came from the stream at or after `sequence`, found by halving.
async fn entry_of(pool: &PgPool, epoch: i32, sequence: i64, last: i64) -> Result<i64, Error> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i32, i64)> = sqlx::query_as(
            "select entry, epoch, sequence from ledger \
             where entry >= $1 and entry < $2 and source = 0 order by entry limit 1",
        )
        .bind(middle)
        .bind(high)
        .fetch_optional(pool)
        .await?;
        match found {
            Some((entry, of_epoch, at)) if (of_epoch, at) < (epoch, sequence) => low = entry + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn position(row: &[u8]) -> CountedPosition {
    let mut rest = row;
    CountedPosition {
        entry: i64::from_be_bytes(copy::next(&mut rest)),
        sequence: i64::from_be_bytes(copy::next(&mut rest)),
        brand_no: i32::from_be_bytes(copy::next(&mut rest)),
        key: ReceiptKey(u128::from_be_bytes(copy::next(&mut rest))),
        digest: u64::from_be_bytes(copy::next(&mut rest)),
        verified_at: copy::timestamptz(copy::next(&mut rest)),
        usage_day: copy::date(copy::next(&mut rest)),
    }
}
