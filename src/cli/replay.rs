//! `prooftally replay`.

use chrono::{DateTime, Utc};
use clap::Args;

use super::output::{Listing, Output};
use super::{Problem, progress};
use crate::bus::compare::{Difference, Report};
use crate::bus::reread::{self, From, Request};
use crate::config::Config;
use crate::engine;
use crate::store::Store;

/// Reads the stream again and compares each position with what became of it. Writes nothing and does
/// not touch the engine's consumer. Exit code 10 on a difference.
#[derive(Debug, Args)]
#[command(after_long_help = LIMITS)]
pub struct Replay {
    /// First position; without one the whole stream is read
    #[arg(long, value_name = "N", conflicts_with = "from_time")]
    from_sequence: Option<i64>,
    /// Begin with the first message that was stored at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from_time: Option<DateTime<Utc>>,
    /// Last position; not beyond what is metered
    #[arg(long, value_name = "N")]
    to_sequence: Option<i64>,
}

const LIMITS: &str = "\
Differences: missing, twice, other_receipt, other_content, other_time, other_day, other_disposition, \
other_reason, other_bytes. Messages behind the cursor are progress (not_metered), and positions that \
the stream no longer has are told as gone; neither is a difference.

What it cannot compare: earlier epochs of the stream, whose messages are gone; expiresAt, which nothing \
is billed by; the tally of failed proofs; whether a duplicate's first sight was counted, which `audit` \
checks; what depended on the day (unknown_brand, unknown_predicate, poison, store_refused). Limits that \
were changed since, such as intake.payload_bytes_max, show as differences.";

impl Replay {
    pub async fn run(self, config: &Config, store: &Store, output: Output) -> anyhow::Result<()> {
        let from = match (self.from_sequence, self.from_time) {
            (Some(sequence), _) => From::Sequence(sequence),
            (None, Some(at)) => From::Time(at),
            (None, None) => From::First,
        };
        let report = compare(config, store, Request { from, to: self.to_sequence }).await?;
        let mut listing = Listing::new(["sequence", "difference", "what"]);
        for finding in &report.findings {
            listing.row([
                finding.sequence.into(),
                finding.difference.as_str().into(),
                finding.what.clone().into(),
            ]);
        }
        listing.print(output)?;
        match report.differing() {
            0 => Ok(()),
            differing => Err(Problem::Mismatch(format!("{differing} positions differ")).into()),
        }
    }
}

/// Reads the stream again with a bar on stderr, and tells there what it came to.
pub async fn compare(config: &Config, store: &Store, request: Request) -> anyhow::Result<Report> {
    let bus = super::bus(config).await?;
    let settings = engine::Config::of(config);
    let reading = reread::Config { pull: settings.intake.pull, sorter: settings.sorter };
    let bar = progress::bar("comparing with the stream", 0);
    let compared = reread::compare(&bus, store, &reading, request, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    let report = compared.await.map_err(|error| match error {
        reread::Error::NothingMetered(_) => Problem::NotFound(error.to_string()).into(),
        reread::Error::Stream(doubt @ crate::bus::pull::Doubt::Identity(_)) => {
            Problem::Refused(doubt.to_string()).into()
        }
        reread::Error::Stream(doubt) => Problem::Away(doubt.to_string()).into(),
        reread::Error::Store(error) => anyhow::Error::from(error),
    })?;
    bar.finish_and_clear();
    tell(&report);
    Ok(report)
}

fn tell(report: &Report) {
    let agree: Vec<String> = report.agree.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    eprintln!("{} positions compared: {}", report.compared(), agree.join(", "));
    for difference in Difference::ALL {
        if let Some(n) = report.differences.get(&difference) {
            eprintln!("difference: {n} {}", difference.as_str());
        }
    }
    let shown = report.findings.len();
    if u64::try_from(shown).unwrap_or(u64::MAX) < report.differing() {
        eprintln!("the first {shown} differences are listed");
    }
    if report.gone > 0 {
        eprintln!("gone: {} positions are no longer in the stream", report.gone);
    }
    if report.not_metered > 0 {
        eprintln!("not_metered: {} positions are behind the cursor", report.not_metered);
    }
}
