//! `prooftally audit`.

use clap::Args;

use super::Problem;
use super::output::{Listing, Output};
use crate::store::Store;
use crate::store::audit::{self, CHECKS};

/// Checks every invariant over the whole database and writes nothing. Exit code 10 on a mismatch.
#[derive(Debug, Args)]
pub struct Audit {}

impl Audit {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        let Audit {} = self;
        let findings =
            audit::run(&store.pool, |check| eprintln!("checked: {}", check.replace('_', " ")))
                .await?;
        let mut listing = Listing::new(["check", "result"]);
        for check in CHECKS {
            let mut found = findings.iter().filter(|finding| finding.check == check).peekable();
            if found.peek().is_none() {
                listing.row([check.into(), "good".into()]);
            }
            for finding in found {
                listing.row([check.into(), finding.what.clone().into()]);
            }
        }
        listing.print(output)?;
        if findings.is_empty() {
            return Ok(());
        }
        let text = format!("{} findings: do not bill before they are explained", findings.len());
        Err(Problem::Mismatch(text).into())
    }
}
