//! `prooftally events generate|publish|rejected …`.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Cell, Listing, Output};
use super::{Problem, progress};
use crate::bus::publish::Publisher;
use crate::config::{Config, Subjects};
use crate::store::Store;
use crate::store::commit::NewFailures;
use crate::store::rejections::{self, Filter, Rejection};
use crate::store::requests::{self, Answer, Ask};
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

#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// List them
    List {
        #[command(flatten)]
        which: Which,
        #[arg(long, value_enum, default_value_t)]
        state: State,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
        /// Show the event's bytes too
        #[arg(long)]
        raw: bool,
    },
    /// Read them again and count what can be counted now
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Give them up
    Dismiss {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the rejection
        #[arg(long = "because", value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
        why: String,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum State {
    #[default]
    Open,
    Retried,
    Dismissed,
    Any,
}

impl State {
    fn filter(self) -> Option<String> {
        let state = match self {
            State::Open => "open",
            State::Retried => "retried",
            State::Dismissed => "dismissed",
            State::Any => return None,
        };
        Some(state.to_owned())
    }
}

/// Which rejections are meant.
#[derive(Debug, Args)]
pub struct Which {
    /// Numbers of rejections
    numbers: Vec<i64>,
    /// Only those with this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only those that name this brand
    #[arg(long)]
    brand: Option<String>,
    /// All that are open
    #[arg(long, conflicts_with_all = ["numbers", "reason", "brand"])]
    all: bool,
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
        Box::new(BufWriter::new(std::io::stdout().lock()))
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

impl Rejected {
    async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Rejected::List { which, state, limit, raw } => {
                let filter = which.filter(state.filter(), 0, limit);
                let found = rejections::list(&store.pool, &filter).await?;
                list(&found, raw).print(output)
            }
            Rejected::Retry { which } => {
                ask_in_pages(store, &which, |numbers| Ask::RetryRejections { numbers }).await
            }
            Rejected::Dismiss { which, why } => {
                ask_in_pages(store, &which, |numbers| Ask::DismissRejections {
                    numbers,
                    reason: why.clone(),
                })
                .await
            }
        }
    }
}

impl Which {
    fn filter(&self, state: Option<String>, after: i64, limit: i64) -> Filter {
        Filter {
            numbers: self.numbers.clone(),
            reason: self.reason.clone(),
            brand: self.brand.clone(),
            state,
            after,
            limit,
        }
    }
}

/// Asks the engine for the open rejections that are meant, so many at a time that each makes one
/// chunk.
async fn ask_in_pages(
    store: &Store,
    which: &Which,
    ask: impl Fn(Vec<i64>) -> Ask,
) -> anyhow::Result<()> {
    const PAGE_ROWS: i64 = 1_000;
    const PAGE_BYTES: i64 = 4 << 20;
    if !which.all && which.numbers.is_empty() && which.reason.is_none() && which.brand.is_none() {
        let text = "say which rejections: numbers, --reason, --brand, or --all";
        return Err(Problem::Refused(text.to_owned()).into());
    }
    let mut after = 0;
    loop {
        let filter = which.filter(Some("open".to_owned()), after, PAGE_ROWS);
        let numbers = rejections::numbers(&store.pool, &filter, PAGE_BYTES).await?;
        let Some(&last) = numbers.last() else {
            if after == 0 {
                let text = "no open rejection is meant; `prooftally events rejected list` has them";
                return Err(Problem::NotFound(text.to_owned()).into());
            }
            return Ok(());
        };
        after = last;
        let count = numbers.len();
        let answer = ask_engine(store, &ask(numbers)).await?;
        println!("{count} rejections: {answer}");
    }
}

/// Writes a request and waits for the engine's answer.
///
/// # Errors
/// [`Problem::Refused`] with the engine's reason; [`Problem::Away`] if no engine answers in time.
pub async fn ask_engine(store: &Store, ask: &Ask) -> anyhow::Result<String> {
    const WAIT_MAX: Duration = Duration::from_secs(60);
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let number = requests::ask(&store.pool, ask, &super::operator()).await?;
    let answered = async {
        loop {
            match requests::look(&store.pool, number).await? {
                Answer::Waiting => tokio::time::sleep(LOOK_EVERY).await,
                Answer::Done(text) => return Ok(text),
                Answer::Refused(why) => return Err(anyhow::Error::from(Problem::Refused(why))),
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, answered).await.unwrap_or_else(|_| {
        let text = format!(
            "request {number} is written and no engine has answered it; it is carried out as soon as \
             one runs (`prooftally serve`)"
        );
        Err(Problem::Away(text).into())
    })
}

fn list(found: &[Rejection], raw: bool) -> Listing {
    let mut columns = vec![
        "rejection",
        "epoch",
        "sequence",
        "stored_at",
        "subject",
        "reason",
        "detail",
        "brand",
        "receipt",
        "state",
        "entry",
        "settlement",
    ];
    if raw {
        columns.push("raw");
    }
    let mut listing = Listing::new(columns);
    for rejection in found {
        let mut cells: Vec<Cell> = vec![
            rejection.rejection_no.into(),
            i64::from(rejection.epoch).into(),
            rejection.sequence.into(),
            rejection.stored_at.into(),
            rejection.subject.clone().into(),
            rejection.reason.clone().into(),
            rejection.detail.clone().into(),
            rejection.brand_id.clone().into(),
            rejection.receipt_id.clone().into(),
            rejection.state.clone().into(),
            rejection.entry.into(),
            rejection.settlement.clone().into(),
        ];
        if raw {
            // Escaped, since the bytes are an outsider's and a terminal would obey some of them.
            cells.push(rejection.raw.escape_ascii().to_string().into());
        }
        listing.row(cells);
    }
    listing
}
