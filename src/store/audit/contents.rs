//! Each row of the ledger carries the key of its own receipt id and the digest of its own content: they
//! are computed again. A row whose key was changed would let its receipt be counted again, unseen.

use std::collections::HashMap;

use billing::ids::Predicate;
use billing::receipt::{Content, ReceiptKey};
use futures_util::TryStreamExt;
use sqlx::{FromRow, PgConnection};

use crate::store::Error;

/// So many rows are told one by one.
const FINDINGS_MAX: usize = 20;

#[derive(FromRow)]
struct Row {
    entry: i64,
    receipt_id: String,
    receipt_key: Vec<u8>,
    digest: i64,
    predicate_no: i32,
    supplier: Option<String>,
    product: Option<String>,
    result: Option<bool>,
}

/// Reads the whole ledger once, row by row.
pub(super) async fn contents(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let predicates: Vec<(i32, String)> =
        sqlx::query_as("select predicate_no, name || '@' || version from predicate")
            .fetch_all(&mut *connection)
            .await?;
    let predicates: HashMap<i32, String> = predicates.into_iter().collect();
    let mut rows = sqlx::query_as::<_, Row>(
        "select entry, receipt_id, uuid_send(receipt_key) as receipt_key, digest, predicate_no, \
            supplier, product, result from ledger",
    )
    .fetch(&mut *connection);
    let mut findings = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let entry = row.entry;
        if row.receipt_key != ReceiptKey::of(&row.receipt_id).0.to_be_bytes() {
            findings.push(format!(
                "entry {entry} has the key of another receipt than {}",
                row.receipt_id
            ));
        }
        let predicate = predicates.get(&row.predicate_no).and_then(|name| Predicate::parse(name));
        if predicate.is_none_or(|predicate| row.digest_of(predicate) != row.digest) {
            findings.push(format!("entry {entry} has another digest than its content"));
        }
        if findings.len() >= FINDINGS_MAX {
            break;
        }
    }
    Ok(findings)
}

impl Row {
    fn digest_of(&self, predicate: Predicate<'_>) -> i64 {
        let Row { supplier, product, result, .. } = self;
        let (supplier, product) = (supplier.as_deref(), product.as_deref());
        Content { predicate, supplier, product, result: *result }.digest().cast_signed()
    }
}
