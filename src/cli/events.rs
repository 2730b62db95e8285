//! `prooftally events generate|publish|rejected …`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::{Args, Subcommand};

use super::output::{Listing, Output};
use super::progress;
use super::rejected::Rejected;
use crate::bus::publish::Publisher;
use crate::config::{Config, Subjects};
use crate::store::commit::NewFailures;
use crate::store::rejections;
use crate::workload::{Generator, Kind, Percent, Spec, line};

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Make up events from a seed, a line each, and what metering them must come to
    Generate {
        #[command(flatten)]
        spec: SpecArguments,
        /// Where to write the events; - is stdout
        #[arg(long, short = 'f', default_value = "-", value_name = "FILE")]
        file: PathBuf,
        /// Where to write the exact expected result, as JSON
        #[arg(long, value_name = "FILE")]
        truth: Option<PathBuf>,
    },
    /// Publish events on the bus: those of a file, or made up like `generate` does
    Publish {
        #[command(flatten)]
        spec: SpecArguments,
        /// Events written by `generate`; - is stdin. Without it events are made up
        #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "truth")]
        file: Option<PathBuf>,
        /// Where to write the exact expected result of made-up events, as JSON
        #[arg(long, value_name = "FILE")]
        truth: Option<PathBuf>,
    },
    /// Proofs that failed, by day (UTC), predicate and error code; they are never billed
    Failed,
    /// Events that could not be counted
    #[command(subcommand)]
    Rejected(Rejected),
}

/// A workload. The same arguments give the same bytes for ever.
#[derive(Debug, Args)]
pub struct SpecArguments {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events in all
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    #[arg(long, default_value_t = 12)]
    brands: u32,
    #[arg(long, default_value_t = 60)]
    suppliers: u32,
    /// Zipf exponent over the brands; 0 treats all alike
    #[arg(long, default_value_t = 1.0)]
    skew: f64,
    /// Percent of events that repeat an earlier one byte for byte
    #[arg(long, default_value = "3")]
    duplicate: Percent,
    /// Percent of events that emit an earlier receipt anew, maybe in the other shape
    #[arg(long, default_value = "2")]
    reemitted: Percent,
    /// Percent of events that contradict an earlier receipt
    #[arg(long, default_value = "0.1")]
    conflict: Percent,
    /// Percent of events that cannot be counted
    #[arg(long, default_value = "0.2")]
    malformed: Percent,
    /// Percent of events on proofs.failed
    #[arg(long, default_value = "1")]
    failed: Percent,
    /// Percent of events in the verify gateway's envelope; the others are flat
    #[arg(long, default_value = "50")]
    envelope: Percent,
    /// Percent of repeated events that reach back over the whole history
    #[arg(long, default_value = "50")]
    old_duplicate: Percent,
    /// Proofs are verified from here
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// … to before here
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
    /// The zone in whose days the truth is given
    #[arg(long, default_value = "UTC")]
    zone: Tz,
}

impl SpecArguments {
    fn spec(&self) -> Spec {
        let default = Spec::default();
        Spec {
            seed: self.seed,
            count: self.count,
            brands: self.brands,
            suppliers: self.suppliers,
            skew: self.skew,
            duplicate: self.duplicate,
            reemitted: self.reemitted,
            conflict: self.conflict,
            malformed: self.malformed,
            failed: self.failed,
            envelope: self.envelope,
            old_duplicate: self.old_duplicate,
            from: self.from.unwrap_or(default.from),
            until: self.until.unwrap_or(default.until),
            zone: self.zone,
        }
    }
}

impl Events {
    pub async fn run(
        self,
        config: impl Fn() -> anyhow::Result<Config>,
        output: Output,
    ) -> anyhow::Result<()> {
        match self {
            Events::Generate { spec, file, truth } => generate(&spec.spec(), &file, truth),
            Events::Publish { spec, file: None, truth } => {
                let config = config()?;
                let bus = super::bus(&config).await?;
                let mut generator = Generator::new(&spec.spec())?;
                let truth = open_truth(truth)?;
                let stored = publish(bus.client, &config.nats.subjects, &mut generator).await?;
                eprintln!("{stored} events published");
                write_truth(&generator, truth)
            }
            Events::Publish { file: Some(file), .. } => {
                let bus = super::bus(&config()?).await?;
                let stored = publish_file(bus.client, &file).await?;
                eprintln!("{stored} events published");
                Ok(())
            }
            Events::Failed => {
                let store = super::store(&config()?)?;
                failed(&rejections::failures(&store.pool).await?).print(output)
            }
            Events::Rejected(verb) => verb.run(&super::store(&config()?)?, output).await,
        }
    }
}

fn generate(spec: &Spec, file: &Path, truth: Option<PathBuf>) -> anyhow::Result<()> {
    let mut generator = Generator::new(spec)?;
    let truth = open_truth(truth)?;
    let bar = progress::bar("generating", spec.count);
    let mut out: Box<dyn Write> = if file == Path::new("-") {
        Box::new(BufWriter::new(super::output::stdout()))
    } else {
        let file =
            File::create(file).with_context(|| format!("{} cannot be written", file.display()))?;
        Box::new(BufWriter::new(file))
    };
    while let Some(event) = generator.next_event() {
        line::write(&event, &mut out)?;
        bar.inc(1);
    }
    out.flush()?;
    bar.finish_and_clear();
    write_truth(&generator, truth)
}

/// Opened before the long work, so that a wrong path is known at once.
fn open_truth(file: Option<PathBuf>) -> anyhow::Result<Option<File>> {
    let Some(file) = file else { return Ok(None) };
    let out = File::create(&file);
    Ok(Some(out.with_context(|| format!("{} cannot be written", file.display()))?))
}

fn write_truth(generator: &Generator, out: Option<File>) -> anyhow::Result<()> {
    let Some(out) = out else { return Ok(()) };
    serde_json::to_writer_pretty(BufWriter::new(out), &generator.truth())?;
    Ok(())
}

/// Publishes made-up events on the configured subjects and says how many were stored.
pub async fn publish(
    client: async_nats::Client,
    subjects: &Subjects,
    generator: &mut Generator,
) -> anyhow::Result<u64> {
    let bar = progress::bar("publishing", generator.remaining());
    let mut publisher = Publisher::new(client);
    while let Some(event) = generator.next_event() {
        let payload = Bytes::copy_from_slice(event.payload);
        let subject = match event.kind {
            Kind::Failed => &subjects.failed,
            _ => &subjects.verified,
        };
        publisher.publish(subject.clone(), payload).await?;
        bar.inc(1);
    }
    let stored = publisher.finish().await?;
    bar.finish_and_clear();
    Ok(stored)
}

async fn publish_file(client: async_nats::Client, file: &Path) -> anyhow::Result<u64> {
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file =
            File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Box::new(BufReader::new(file))
    };
    let mut publisher = Publisher::new(client);
    for (number, text) in (1..).zip(lines.lines()) {
        let text = text.with_context(|| format!("line {number} cannot be read"))?;
        let (subject, payload) = line::read(&text).with_context(|| format!("line {number}"))?;
        publisher.publish(subject.into_owned(), Bytes::copy_from_slice(&payload)).await?;
    }
    publisher.finish().await
}

fn failed(tallies: &[NewFailures]) -> Listing {
    let mut listing = Listing::new(["failed_on", "predicate", "error_code", "failures"]);
    for tally in tallies {
        listing.row([
            tally.failed_on.into(),
            tally.predicate.clone().into(),
            tally.error_code.clone().into(),
            tally.failures.into(),
        ]);
    }
    listing
}
