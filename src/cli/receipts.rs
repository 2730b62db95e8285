//! `prooftally receipts show|void|prove`.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::output::{Cell, Listing, Output};
use super::proofs::Prove;
use super::{Problem, asking};
use crate::store::Store;
use crate::store::corrections::VOIDS_MAX;
use crate::store::finding;
use crate::store::forms::reason;
use crate::store::ledger::{self, CountedReceipt};
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Receipts {
    /// Was this receipt counted, when, for whom, and where was it seen again
    Show { receipt_id: String },
    /// Take receipts back that should not have been counted; each by an entry of its own. One that is
    /// delivered again stays a duplicate
    Void(Void),
    /// Write the proof that a document counts this receipt, for `proofs check`
    Prove(Prove),
}

#[derive(Debug, Args)]
pub struct Void {
    brand: String,
    /// Ids of receipts
    #[arg(required_unless_present = "file")]
    receipts: Vec<String>,
    /// A file with an id a line
    #[arg(long, conflicts_with = "receipts")]
    file: Option<PathBuf>,
    /// Why; kept with each entry
    #[arg(long = "because", value_name = "REASON", value_parser = reason)]
    why: String,
}

impl Void {
    /// Asks in pages, so that metering is not kept waiting for long. What is refused ends it; pages
    /// before it stay done.
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        let mut receipts = self.receipts;
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            receipts = text
                .lines()
                .map(|line| line.trim_end_matches('\r').to_owned())
                .filter(|line| !line.is_empty())
                .collect();
        }
        let mut seen = HashSet::new();
        receipts.retain(|id| seen.insert(id.clone()));
        anyhow::ensure!(!receipts.is_empty(), "no receipt is named");
        super::brands::must_exist(store, &self.brand).await?;
        for page in receipts.chunks(VOIDS_MAX) {
            let ask = Ask::VoidReceipts {
                brand: self.brand.clone(),
                receipts: page.to_vec(),
                because: self.why.clone(),
            };
            super::output::print(&format!("{}\n", asking::ask_engine(store, &ask).await?))?;
        }
        Ok(())
    }
}

/// As many later sights of a receipt are shown.
const SIGHTINGS_MAX: i64 = 20;

impl Receipts {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        let receipt_id = match self {
            Receipts::Show { receipt_id } => receipt_id,
            Receipts::Void(void) => return void.run(store).await,
            Receipts::Prove(prove) => return prove.run(store).await,
        };
        let mut connection = store.connect().await?;
        let counted = finding::receipts(&mut connection, None, None, &receipt_id).await?;
        let sightings =
            ledger::sightings(&mut connection, None, &receipt_id, SIGHTINGS_MAX).await?;
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

fn seen_as(source: i16) -> &'static str {
    match source {
        0 => "counted",
        1 => "counted on retry",
        2 => "counted when unparked",
        3 => "counted instead",
        _ => "voided",
    }
}

fn cells(receipt: &CountedReceipt) -> Vec<Cell> {
    vec![
        seen_as(receipt.source).into(),
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
