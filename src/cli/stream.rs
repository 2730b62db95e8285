//! `prooftally stream ensure|info|adopt`.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Info;
use chrono::Utc;
use clap::Subcommand;

use super::output::{Cell, Listing, Output};
use super::{Problem, asking};
use crate::bus::streams::{self, Drift, Ensured};
use crate::bus::{identity, leader, witness};
use crate::config::Config;
use crate::engine;
use crate::store::cursor::{self, Cursor};
use crate::store::forms::reason;
use crate::store::gaps;
use crate::store::requests::Ask;

#[derive(Debug, Subcommand)]
pub enum Stream {
    /// Create the streams that are missing and report where others are not as configured
    Ensure,
    /// What the streams hold, how far they are read, and where they are not as configured
    Info,
    /// Begin with the stream as it is now, where it is not the one that was metered
    Adopt {
        /// Why; kept with the epoch that ends
        #[arg(long = "because", value_name = "REASON", value_parser = reason)]
        why: String,
    },
}

impl Stream {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Stream::Ensure => {
                let drifts = ensure(&super::bus(config).await?.jetstream, config).await?;
                refuse_drift(&drifts, output)
            }
            Stream::Info => info(&super::bus(config).await?.jetstream, config, output).await,
            Stream::Adopt { why } => {
                let store = super::store(config)?;
                let ask = Ask::AdoptStream { reason: why };
                super::output::print(&format!("{}\n", asking::ask_engine(&store, &ask).await?))?;
                Ok(())
            }
        }
    }
}

/// Creates what is missing, saying so; returns where what is there has drifted.
pub async fn ensure(jetstream: &Context, config: &Config) -> anyhow::Result<Vec<Drift>> {
    let mut drifts = Vec::new();
    let mut say = |what: String, ensured: Ensured| match ensured {
        Ensured::Created => eprintln!("{what}: created"),
        Ensured::AsWanted => eprintln!("{what}: as configured"),
        Ensured::Drifted(found) => drifts.extend(found),
    };
    for wanted in engine::streams_wanted(config) {
        let ensured = streams::ensure(jetstream, &wanted).await?;
        say(format!("stream {}", wanted.name), ensured);
    }
    let witness = engine::witness_config(config);
    let ensured = witness::ensure(jetstream, &witness).await?;
    say(format!("bucket {}", witness.bucket), ensured);
    Ok(drifts)
}

/// Prints what there is to know of the streams.
async fn info(jetstream: &Context, config: &Config, output: Output) -> anyhow::Result<()> {
    let cursor = cursor(config).await;
    let mut listing = Listing::new([
        "stream",
        "messages",
        "bytes",
        "first_sequence",
        "last_sequence",
        "mirror_lag",
        "consumers",
        "cursor",
        "unread",
        "rate_per_s",
        "time_to_loss_s",
        "identity",
    ]);
    let mut drifts = Vec::new();
    // A mirror is asked before its origin, so that it cannot seem to have passed it.
    let mut found = Vec::new();
    for wanted in engine::streams_wanted(config).into_iter().rev() {
        let Some(info) = streams::info(jetstream, &wanted.name).await? else {
            let text =
                format!("there is no stream {}: run `prooftally stream ensure`", wanted.name);
            return Err(Problem::NotFound(text).into());
        };
        drifts.extend(streams::compare(&wanted, &info.config));
        found.insert(0, info);
    }
    let rate = rate(jetstream, &found[0]).await;
    let mirror_last = found.get(1).map(|mirror| number(mirror.state.last_sequence));
    for info in &found {
        let is_read = info.config.name == config.nats.stream;
        let mut row = holds(info, (!is_read || found.len() > 1).then_some(&found[0]));
        let read_until = match &cursor {
            Some(cursor) if is_read => Some(cursor.sequence),
            // What of the origin is unread is what its mirror has not copied.
            _ if !is_read && info.config.name == config.nats.origin.name => mirror_last,
            _ => None,
        };
        row.extend(read(jetstream, info, is_read, cursor.as_ref(), read_until, rate).await);
        row.push(match &cursor {
            Some(cursor) if is_read => identity_of(jetstream, config, cursor).await.into(),
            _ => Cell::Nothing,
        });
        listing.row(row);
    }
    listing.print(output)?;
    eprintln!(
        "rate: over the newest {RATE_MESSAGES} messages of {}, by their store times until now",
        found[0].config.name
    );
    drifts.extend(witness_drift(jetstream, config).await?);
    report(&drifts);
    report_gaps(config).await;
    Ok(())
}

/// The rate is that of so many messages.
const RATE_MESSAGES: i64 = 10_000;

/// Messages a second: how long ago the message so many positions before the last one was stored.
async fn rate(jetstream: &Context, info: &Info) -> f64 {
    let last = number(info.state.last_sequence);
    let from = number(info.state.first_sequence).max(last - RATE_MESSAGES);
    let Ok(Some(oldest)) = leader::next(jetstream, &info.config.name, from).await else {
        return 0.0;
    };
    let seconds = (Utc::now() - oldest.at).num_milliseconds().max(1) as f64 / 1_000.0;
    (last - oldest.sequence + 1) as f64 / seconds
}

async fn cursor(config: &Config) -> Option<Cursor> {
    let read = async { anyhow::Ok(cursor::read(&super::store(config)?.pool).await?) };
    match read.await {
        Ok(cursor) => Some(cursor),
        Err(error) => {
            eprintln!("how far the stream is read is not known: {error:#}");
            None
        }
    }
}

fn holds(info: &Info, origin: Option<&Info>) -> Vec<Cell> {
    // A mirror's own lag can say 0 when it is not; the difference cannot.
    let lag = origin
        .filter(|_| info.config.mirror.is_some())
        .map(|origin| number(origin.state.last_sequence) - number(info.state.last_sequence));
    vec![
        info.config.name.clone().into(),
        number(info.state.messages).into(),
        number(info.state.bytes).into(),
        number(info.state.first_sequence).into(),
        number(info.state.last_sequence).into(),
        lag.into(),
        i64::try_from(info.state.consumer_count).unwrap_or(i64::MAX).into(),
    ]
}

async fn read(
    jetstream: &Context,
    info: &Info,
    is_read: bool,
    cursor: Option<&Cursor>,
    read_until: Option<i64>,
    rate: f64,
) -> Vec<Cell> {
    let last = number(info.state.last_sequence);
    let loss = match read_until {
        Some(until) => engine::time_to_loss(jetstream, info, until, rate).await,
        None => None,
    };
    vec![
        cursor.filter(|_| is_read).map(|cursor| cursor.sequence).into(),
        read_until.map(|until| (last - until).max(0)).into(),
        Cell::Decimal(format!("{rate:.1}")),
        loss.map(|loss| i64::try_from(loss.as_secs()).unwrap_or(i64::MAX)).into(),
    ]
}

async fn identity_of(jetstream: &Context, config: &Config, cursor: &Cursor) -> String {
    let origin = engine::origin_of_mirror(config);
    match identity::check(jetstream, &config.nats.stream, origin.as_deref(), cursor).await {
        Ok(_) => "as metered".to_owned(),
        Err(doubt) => doubt.to_string(),
    }
}

/// A bucket that is missing is made by the engine.
async fn witness_drift(jetstream: &Context, config: &Config) -> anyhow::Result<Vec<Drift>> {
    let witness = engine::witness_config(config);
    Ok(witness::drift(jetstream, &witness).await?.unwrap_or_default())
}

/// Says how many gaps are open, as far as the database can be asked.
async fn report_gaps(config: &Config) {
    let read = async { anyhow::Ok(gaps::open_by_reason(&super::store(config)?.pool).await?) };
    for (reason, count) in read.await.unwrap_or_default() {
        if count > 0 {
            let reason = reason.as_str();
            eprintln!("open gaps: {count} {reason}; `prooftally gaps list` has them");
        }
    }
}

fn refuse_drift(drifts: &[Drift], output: Output) -> anyhow::Result<()> {
    if drifts.is_empty() {
        return Ok(());
    }
    let mut listing = Listing::new(["stream", "field", "wanted", "found"]);
    for drift in drifts {
        listing.row([
            drift.stream.clone().into(),
            drift.field.into(),
            drift.wanted.clone().into(),
            drift.found.clone().into(),
        ]);
    }
    listing.print(output)?;
    let text = "streams are not as configured; nothing was changed: change the configuration, or the \
        streams with `nats stream edit`";
    Err(Problem::Refused(text.to_owned()).into())
}

fn report(drifts: &[Drift]) {
    for Drift { stream, field, wanted, found } in drifts {
        eprintln!("drift: stream {stream} has {field} {found}, not {wanted}");
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
