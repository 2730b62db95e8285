//! `prooftally invoices verify`.

use clap::Args;

use crate::cli::Problem;
use crate::cli::output::{Listing, Output};
use crate::store::Store;
use crate::store::verification::{self, Which};

#[derive(Debug, Args)]
pub struct Verify {
    /// The document's number, or that of its row if it has none
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    number: Option<String>,
    /// Every document of every brand
    #[arg(long)]
    all: bool,
}

impl Verify {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        let which = self.number.clone().map_or(Which::All, Which::Named);
        let mut connection = store.connect().await?;
        let report = verification::verify(&mut connection, &which, |brand| {
            eprintln!("computed again: the documents of {brand}");
        })
        .await?;
        let Some(report) = report else {
            let name = self.number.unwrap_or_default();
            return Err(Problem::NotFound(format!("there is no document {name}")).into());
        };
        let (documents, leaves) = (report.documents, report.leaves);
        eprintln!("{documents} documents computed again, from {leaves} rows of the ledger");
        let mut listing = Listing::new(["document", "difference"]);
        for difference in &report.differences {
            listing.row([difference.document.clone().into(), difference.what.clone().into()]);
        }
        if report.differences.is_empty() {
            return Ok(());
        }
        listing.print(output)?;
        let count = report.differences.len();
        let text = format!("{count} differences: these documents are not what they were issued as");
        Err(Problem::Mismatch(text).into())
    }
}
