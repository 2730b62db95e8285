//! Corrections that were asked for, made ready for the ledger actor: the events of conflicts are read
//! here, by the same code as those of the stream.

use billing::usage::usage_day;
use bytes::Bytes;

use super::decode;
use super::intake::Intake;
use crate::actors::ledger::LedgerMsg;
use crate::store;
use crate::store::conflicts::{self, Conflict, Filter};
use crate::store::corrections::{Correction, RightContent, Work};

impl Intake {
    /// Has `correction` carried out once nothing is in flight.
    pub(super) async fn correct(&mut self, correction: Correction) {
        self.flight.idle().await;
        let correction = Box::new(correction);
        // If the ledger is gone this intake is about to be ended with it; the request waits.
        let _ = self.ledger.call(|reply| LedgerMsg::Correct { correction, reply }, None).await;
    }

    /// Reads the events of these conflicts again.
    pub(super) async fn right_contents(&self, numbers: &[i64]) -> Result<Work, store::Error> {
        let filter = Filter {
            numbers: numbers.to_vec(),
            limit: i64::try_from(numbers.len()).unwrap_or(i64::MAX),
            ..Filter::default()
        };
        let found = conflicts::list(&self.store.pool, &filter).await?;
        let payloads: Vec<Bytes> =
            found.iter().map(|conflict| Bytes::copy_from_slice(&conflict.raw)).collect();
        let named = payloads.iter().zip(&found).map(|(raw, of)| (raw, of.stored_at));
        self.sorter.number_names(&self.store, named, &self.health).await?;
        let (mut contents, mut unread) = (Vec::new(), Vec::new());
        for conflict in &found {
            match self.right_content(conflict) {
                Some(content) => contents.push(content),
                None => unread.push(conflict.conflict_no),
            }
        }
        Ok(Work::ResolveConflicts { contents, unread })
    }

    /// The content of the conflict's event; nothing if it cannot be read any more, since a limit was
    /// lowered or a name has no number.
    fn right_content(&self, conflict: &Conflict) -> Option<RightContent> {
        let limits = &self.sorter.config.limits;
        let read = decode::receipt(&conflict.raw, conflict.stored_at, limits, |receipt| {
            let brand = self.sorter.directory.brand(receipt.brand)?;
            let predicate_no = self.sorter.directory.predicate_no(receipt.predicate)?;
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(RightContent {
                conflict_no: conflict.conflict_no,
                brand_no: brand.no,
                key: receipt.key(),
                digest: receipt.digest(),
                epoch: conflict.epoch,
                sequence: conflict.sequence,
                receipt_id: receipt.receipt_id.to_owned(),
                predicate_no,
                supplier: owned(receipt.supplier),
                product: owned(receipt.product),
                result: receipt.result,
                verified_at: receipt.verified_at,
                expires_at: receipt.expires_at,
                usage_day: usage_day(receipt.verified_at, brand.zone),
            })
        });
        read.ok().flatten().filter(|content| content.brand_no == conflict.brand_no)
    }
}
