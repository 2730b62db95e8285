//! `prooftally receipts show`.

use clap::Subcommand;

use super::Problem;
use super::output::{Cell, Listing, Output};
use crate::store::Store;
use crate::store::ledger::{self, CountedReceipt};

#[derive(Debug, Subcommand)]
pub enum Receipts {
    /// Was this receipt counted, when, for whom, and where was it seen again
    Show { receipt_id: String },
}

/// As many later sights of a receipt are shown.
const SIGHTINGS_MAX: i64 = 20;

impl Receipts {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        let Receipts::Show { receipt_id } = self;
        let counted = ledger::receipts(&store.pool, &receipt_id).await?;
        let sightings = ledger::sightings(&store.pool, &receipt_id, SIGHTINGS_MAX).await?;
        if counted.is_empty() && sightings.is_empty() {
            let text = format!(
                "receipt {receipt_id} was never counted; if its event was rejected, \
                 `prooftally events rejected list` has it"
            );
            return Err(Problem::NotFound(text).into());
        }
        let mut listing = Listing::new([
            "seen_as",
            "brand",
            "epoch",
            "sequence",
            "entry",
            "usage_day",
            "predicate",
            "supplier",
            "product",
            "result",
            "verified_at",
        ]);
        for receipt in &counted {
            listing.row(cells(receipt));
        }
        for sighting in sightings {
            let mut cells: Vec<Cell> = vec![
                sighting.kind.into(),
                sighting.brand_id.into(),
                i64::from(sighting.epoch).into(),
                sighting.sequence.into(),
            ];
            cells.resize(listing.columns.len(), Cell::Nothing);
            listing.row(cells);
        }
        listing.print(output)
    }
}

fn cells(receipt: &CountedReceipt) -> Vec<Cell> {
    vec![
        if receipt.source == 0 { "counted" } else { "counted on retry" }.into(),
        receipt.brand_id.clone().into(),
        i64::from(receipt.epoch).into(),
        receipt.sequence.into(),
        receipt.entry.into(),
        receipt.usage_day.into(),
        receipt.predicate.clone().into(),
        receipt.supplier.clone().into(),
        receipt.product.clone().into(),
        receipt.result.into(),
        receipt.verified_at.into(),
    ]
}
