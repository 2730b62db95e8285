//! Corrections of what was counted.

use billing::receipt::ReceiptKey;
use sqlx::PgPool;

use super::Error;
use super::keys::CommittedKey;

/// What counts under each receipt id whose conflict was resolved, in the order of the resolutions: of
/// several of one receipt the last holds.
///
/// # Errors
/// If the database is away.
pub async fn replacements(pool: &PgPool) -> Result<Vec<CommittedKey>, Error> {
    let rows: Vec<(i32, Vec<u8>, i64, i64, i32, i64)> = sqlx::query_as(
        "select l.brand_no, uuid_send(l.receipt_key), l.digest, l.entry, l.epoch, l.sequence \
         from correction c join ledger l using (entry) where c.kind = 'resolution' order by entry",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(brand_no, key, digest, entry, epoch, sequence)| {
            let key: [u8; 16] = key.try_into().map_err(|_| {
                Error::Corrupt(format!("entry {entry} has a receipt key that is none"))
            })?;
            Ok(CommittedKey {
                brand_no,
                key: ReceiptKey(u128::from_be_bytes(key)),
                digest: digest.cast_unsigned(),
                entry,
                epoch,
                sequence,
            })
        })
        .collect()
}
