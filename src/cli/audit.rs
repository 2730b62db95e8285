//! `prooftally audit`.

use clap::{Args, Subcommand};

use super::output::{Listing, Output};
use super::{Problem, asking, replay};
use crate::bus::reread::Request;
use crate::config::Config;
use crate::store::Store;
use crate::store::audit::{self, CHECKS, Finding, STREAM_CHECK, Severity};
use crate::store::forms::reason;
use crate::store::repair::{self, Double};
use crate::store::requests::Ask;
use crate::store::{audit_runs, digests};

/// Checks every invariant over the whole database and writes nothing but its own result. Exit code 10
/// on a violation; a note is told and is none.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    /// Read the whole stream again too, and compare it position by position (see `replay`)
    #[arg(long)]
    stream: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Move entries that count a receipt a second time out of the ledger, with a record; the engine
    /// must run
    Repair {
        /// Why; kept with each row that is moved
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
}

impl Audit {
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        if let Some(Verb::Repair { why }) = self.verb {
            return repair(store, &why, output).await;
        }
        let began_at = chrono::Utc::now();
        let mut audit =
            audit::run(&store.pool, |check| eprintln!("checked: {}", check.replace('_', " ")))
                .await?;
        if self.stream {
            let report = replay::compare(config, store, Request::default()).await?;
            audit.findings.extend(report.findings.into_iter().map(|found| Finding {
                check: STREAM_CHECK,
                severity: Severity::Violation,
                what: format!(
                    "position {}: {}: {}",
                    found.sequence,
                    found.difference.as_str(),
                    found.what
                ),
            }));
        }
        let operator = asking::operator();
        let kept = audit_runs::record(&store.pool, &audit, began_at, &operator, self.stream).await;
        let kept = match kept {
            Ok(()) => digests::keep(&store.pool, &audit.digests).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            eprintln!("the result is not kept: {error}");
        }
        listing(&audit.findings, self.stream).print(output)?;
        match audit.count(Severity::Violation) {
            0 => Ok(()),
            violations => {
                let text =
                    format!("{violations} violations: do not bill before they are explained");
                Err(Problem::Mismatch(text).into())
            }
        }
    }
}

/// Finds the doubles and asks the engine to move them, page by page.
async fn repair(store: &Store, why: &str, output: Output) -> anyhow::Result<()> {
    const PAGE_ROWS: i64 = 1_000;
    let mut listing = Listing::new(["brand", "receipt", "entry_that_stays", "entry_moved"]);
    let stuck = loop {
        let found = repair::doubles(&store.pool, PAGE_ROWS).await?;
        let (stuck, found): (Vec<Double>, Vec<Double>) =
            found.into_iter().partition(|double| double.is_corrected);
        if found.is_empty() {
            break stuck;
        }
        let doubles = found.iter().map(|double| (double.first, double.entry)).collect();
        let ask = Ask::RepairDoubles { doubles, because: why.to_owned() };
        eprintln!("{}", asking::ask_engine(store, &ask).await?);
        for double in found {
            listing.row([
                double.brand_id.into(),
                double.receipt_id.into(),
                double.first.into(),
                double.entry.into(),
            ]);
        }
    };
    if let Some(double) = stuck.first() {
        listing.print(output)?;
        return Err(Problem::Mismatch(format!(
            "{} doubles cannot be moved, since a void or a resolution has taken them back: the first is \
             entry {} of receipt {}, which entry {} has counted",
            stuck.len(),
            double.entry,
            double.receipt_id,
            double.first
        ))
        .into());
    }
    if listing.rows.is_empty() {
        let text = "no receipt is counted twice: there is nothing to repair";
        return Err(Problem::NotFound(text.to_owned()).into());
    }
    listing.print(output)
}

fn listing(findings: &[Finding], with_stream: bool) -> Listing {
    let mut listing = Listing::new(["check", "severity", "result"]);
    let stream = with_stream.then_some((STREAM_CHECK, Severity::Violation));
    for (check, severity) in CHECKS.into_iter().chain(stream) {
        let mut found = findings.iter().filter(|finding| finding.check == check).peekable();
        if found.peek().is_none() {
            listing.row([check.into(), "".into(), "good".into()]);
        }
        for finding in found {
            listing.row([check.into(), severity.as_str().into(), finding.what.clone().into()]);
        }
    }
    listing
}
