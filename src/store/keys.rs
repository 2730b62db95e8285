//! Reads the keys of the ledger back into memory when an engine starts.

use billing::receipt::ReceiptKey;
use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;

use super::{Error, copy, segments};

/// One committed receipt, as far as dedupe needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedKey {
    pub brand_no: i32,
    pub key: ReceiptKey,
    pub digest: u64,
    pub entry: i64,
    pub epoch: i32,
    pub sequence: i64,
}

impl CommittedKey {
    /// From columns of the ledger.
    pub(super) fn of_row(
        brand_no: i32,
        key: &[u8],
        digest: i64,
        (entry, epoch, sequence): (i64, i32, i64),
    ) -> Result<Self, Error> {
        let key: [u8; 16] = key
            .try_into()
            .map_err(|_| Error::Corrupt(format!("entry {entry} has a receipt key that is none")))?;
        let key = ReceiptKey(u128::from_be_bytes(key));
        Ok(Self { brand_no, key, digest: digest.cast_unsigned(), entry, epoch, sequence })
    }
}

/// Bytes of a row's six fields.
const WIDTH: usize = 4 + 16 + 8 + 8 + 4 + 8;

/// Hands the key of every receipt of a segment that an event counted, up to `entry`, to `take`;
/// corrections stand beside them, see [`super::corrections::replacements`]. Streams: the reader's memory
/// does not grow with the ledger.
///
/// # Errors
/// If the database is away.
pub async fn load(
    connection: &mut PgConnection,
    segment: i64,
    entry: i64,
    mut take: impl FnMut(CommittedKey),
) -> Result<(), Error> {
    let table = segments::table_of(segment);
    let statement = format!(
        "copy (select brand_no, receipt_key, digest, entry, epoch, sequence from {table} \
         where entry <= {entry} and source < 3) to stdout (format binary)"
    );
    let mut rows = connection.copy_out_raw(&statement).await?;
    let mut reader = copy::Reader::default();
    while let Some(bytes) = rows.try_next().await? {
        reader.push(&bytes, 6, WIDTH, |row| take(committed_key(row)));
    }
    Ok(())
}

fn committed_key(row: &[u8]) -> CommittedKey {
    let mut rest = row;
    CommittedKey {
        brand_no: i32::from_be_bytes(copy::next(&mut rest)),
        key: ReceiptKey(u128::from_be_bytes(copy::next(&mut rest))),
        digest: u64::from_be_bytes(copy::next(&mut rest)),
        entry: i64::from_be_bytes(copy::next(&mut rest)),
        epoch: i32::from_be_bytes(copy::next(&mut rest)),
        sequence: i64::from_be_bytes(copy::next(&mut rest)),
    }
}
