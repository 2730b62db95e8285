//! `prooftally receipts prove` and `prooftally proofs check`: one receipt of a document, shown to
//! somebody who has nothing else.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use billing::evidence::proof::{self, Proof, Proved};
use billing::ids::BrandId;
use clap::{Args, Subcommand};

use super::Problem;
use super::output::{Listing, Output};
use crate::store::Store;
use crate::store::{brands, proving};

#[derive(Debug, Args)]
pub struct Prove {
    brand: String,
    receipt: String,
    /// Prove it on this document; without it on the newest that stands
    #[arg(long, value_name = "NUMBER")]
    document: Option<String>,
    /// Where to write the proof; without it to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where to write the document, which is needed to check the proof
    #[arg(long, value_name = "FILE")]
    document_out: Option<PathBuf>,
}

impl Prove {
    pub async fn run(self, store: &Store) -> anyhow::Result<()> {
        let absent = |text: String| anyhow::Error::from(Problem::NotFound(text));
        let no_brand = || absent(format!("there is no brand {}", self.brand));
        let id = BrandId::new(&self.brand).ok_or_else(no_brand)?;
        let brand = brands::find(&store.pool, &id).await?.ok_or_else(no_brand)?;
        let mut connection = store.connect().await?;
        let found =
            proving::prove(&mut connection, &brand, &self.receipt, self.document.as_deref())
                .await?
                .map_err(|why| {
                    absent(format!("receipt {} of {}: {why}", self.receipt, self.brand))
                })?;
        let text = found.proof.to_text()?;
        match &self.out {
            Some(file) => write(file, text.as_bytes())?,
            None => super::output::print(&text)?,
        }
        if let Some(file) = &self.document_out {
            write(file, &found.document)?;
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub enum Proofs {
    /// Check the proof of a receipt with its document and nothing else; exit code 10 if it proves nothing
    Check {
        proof: PathBuf,
        /// The document's file, byte for byte as it was exported
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
    },
}

impl Proofs {
    pub fn run(self, output: Output) -> anyhow::Result<()> {
        let Proofs::Check { proof: file, document } = self;
        let proof = Proof::read(&read(&file)?)
            .with_context(|| format!("{} is not the proof of a receipt", file.display()))?;
        let Proved { document, leaf } = proof::check(&proof, &read(&document)?)
            .map_err(|refusal| Problem::Mismatch(format!("nothing is proved: {refusal}")))?;
        let mut listing = Listing::new([
            "document",
            "brand",
            "receipt",
            "counted_as",
            "entry",
            "usage_day",
            "predicate",
            "place",
            "of",
        ]);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        listing.row([
            document.number.clone().into(),
            leaf.brand.into(),
            leaf.receipt_id.into(),
            leaf.source.as_str().into(),
            number(leaf.entry).into(),
            leaf.usage_day.into(),
            leaf.predicate.to_string().into(),
            number(proof.index.saturating_add(1)).into(),
            number(proof.size).into(),
        ]);
        listing.print(output)
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("{} cannot be written", file.display()))
}
