//! Finds the entries of a receipt by its id, however large the ledger is.
//!
//! Sealed segments have an index that begins with the receipt's key, and corrections are few. What is not
//! sealed has no such index: the engine that writes it has its keys in memory and lends them. Where no engine
//! does, those segments are read.

use std::sync::{Arc, Weak};

use billing::receipt::ReceiptKey;
use parking_lot::RwLock;
use sqlx::PgConnection;

use super::Error;
use super::brand_entries::{Bounds, Unsealed};
use super::ledger::{COUNTED_RECEIPT, CountedReceipt};

/// Where a receipt may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its entries between the bounds.
    pub entries: Vec<i64>,
    pub bounds: Bounds,
}

/// What an engine has in memory of the receipts that are counted.
pub trait Memory: Send + Sync {
    /// Where the receipt may be, for one brand or for all of them. It holds in every snapshot that is taken
    /// afterwards.
    fn find(&self, brand_no: Option<i32>, key: ReceiptKey) -> Known;

    /// Which entries are a brand's, of the segments that are not sealed. They hold in every snapshot that is taken
    /// afterwards.
    fn unsealed(&self) -> Unsealed;
}

/// The memory of this process's engine, while it has one.
#[derive(Clone, Default)]
pub struct Lent {
    memory: Arc<RwLock<Option<Weak<dyn Memory>>>>,
}

impl Lent {
    /// Lends what a new life has, for as long as it is held.
    pub fn lend(&self, memory: &Arc<dyn Memory>) {
        *self.memory.write() = Some(Arc::downgrade(memory));
    }

    /// Where the receipt may be; `None` if nobody lends anything. To be asked before a snapshot is taken.
    pub fn find(&self, brand_no: Option<i32>, receipt_id: &str) -> Option<Known> {
        Some(self.memory()?.find(brand_no, ReceiptKey::of(receipt_id)))
    }

    /// Which entries are a brand's; `None` if nobody lends anything. To be asked before a snapshot is taken.
    pub fn unsealed(&self) -> Option<Unsealed> {
        Some(self.memory()?.unsealed())
    }

    fn memory(&self) -> Option<Arc<dyn Memory>> {
        self.memory.read().as_ref().and_then(Weak::upgrade)
    }
}

/// The entries of a receipt id, one for each brand that it was counted for, or those of one brand; and those
/// that took one back or came in its place. Without `known` what is not sealed is read whole.
///
/// # Errors
/// If the database is away.
pub async fn receipts(
    connection: &mut PgConnection,
    known: Option<Known>,
    brand_no: Option<i32>,
    receipt_id: &str,
) -> Result<Vec<CountedReceipt>, Error> {
    let Known { entries, bounds: Bounds { sealed_until, unknown_from } } = match known {
        Some(known) => known,
        None => unsealed(&mut *connection).await?,
    };
    // The bounds are values, so that each part looks at its own segments only. An end that is far away tells
    // the planner, who may know nothing of a new segment yet, that the last part is a short range of the key.
    let statement = format!(
        "{COUNTED_RECEIPT} where l.entry in ( \
            select entry from ledger where receipt_key = encode($1, 'hex')::uuid \
                and source < 3 and entry < $4 \
            union select entry from ledger where receipt_key = encode($1, 'hex')::uuid \
                and source < 3 and entry >= $5 and entry < $7 \
            union select unnest($6::bigint[]) \
            union select unnest(array[entry, of_entry]) from correction \
                where receipt_key = encode($1, 'hex')::uuid) \
            and l.receipt_id = $2 and ($3::int is null or l.brand_no = $3) order by l.entry"
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(ReceiptKey::of(receipt_id).0.to_be_bytes().as_slice())
        .bind(receipt_id)
        .bind(brand_no)
        .bind(sealed_until)
        .bind(unknown_from)
        .bind(entries)
        .bind(i64::MAX)
        .fetch_all(connection)
        .await?)
}

/// What is known without an engine: which segments are sealed.
async fn unsealed(connection: &mut PgConnection) -> Result<Known, Error> {
    // The segment after the last one is never sealed.
    let first: Option<i64> = sqlx::query_scalar(
        "select c.segment_entries * min(n) \
         from cursor c, generate_series(0, c.entry / c.segment_entries + 1) n \
         where not exists (select from segment s where s.segment = n and s.sealed_at is not null) \
         group by c.segment_entries",
    )
    .fetch_optional(connection)
    .await?;
    let first = first.unwrap_or(0);
    let bounds = Bounds { sealed_until: first, unknown_from: first };
    Ok(Known { entries: Vec::new(), bounds })
}
