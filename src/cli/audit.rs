//! `prooftally audit`.

use clap::Args;

use super::output::{Listing, Output};
use super::{Problem, asking, replay};
use crate::bus::reread::Request;
use crate::config::Config;
use crate::store::Store;
use crate::store::audit::{self, CHECKS, Finding, STREAM_CHECK, Severity};
use crate::store::audit_runs;

/// Checks every invariant over the whole database and writes nothing but its own result. Exit code 10
/// on a violation; a note is told and is none.
#[derive(Debug, Args)]
pub struct Audit {
    /// Read the whole stream again too, and compare it position by position (see `replay`)
    #[arg(long)]
    stream: bool,
}

impl Audit {
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
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
