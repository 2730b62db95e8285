//! `prooftally stream ensure|info`.

use async_nats::jetstream::stream::Info;
use clap::Subcommand;

use super::Problem;
use super::output::{Listing, Output};
use crate::bus::streams::{self, Drift, Ensured};
use crate::config::Config;
use crate::engine;

#[derive(Debug, Subcommand)]
pub enum Stream {
    /// Create the streams that are missing and report where others are not as configured
    Ensure,
    /// What the streams hold, and where they are not as configured
    Info,
}

impl Stream {
    pub async fn run(self, config: &Config, output: Output) -> anyhow::Result<()> {
        let bus = super::bus(config).await?;
        match self {
            Stream::Ensure => {
                let drifts = ensure(&bus.jetstream, config).await?;
                refuse_drift(&drifts, output)
            }
            Stream::Info => {
                let mut listing = Listing::new([
                    "stream",
                    "messages",
                    "bytes",
                    "first_sequence",
                    "last_sequence",
                    "mirror_lag",
                    "consumers",
                ]);
                let mut drifts = Vec::new();
                let mut origin_last = None;
                for wanted in engine::streams_wanted(config) {
                    let Some(info) = streams::info(&bus.jetstream, &wanted.name).await? else {
                        let text = format!(
                            "there is no stream {}: run `prooftally stream ensure`",
                            wanted.name
                        );
                        return Err(Problem::NotFound(text).into());
                    };
                    // A mirror's own lag can say 0 when it is not; the difference cannot.
                    let lag = wanted
                        .mirror_of
                        .as_ref()
                        .and(origin_last)
                        .map(|last: u64| last.saturating_sub(info.state.last_sequence));
                    origin_last = origin_last.or(Some(info.state.last_sequence));
                    listing.row(row(&info, lag));
                    drifts.extend(streams::compare(&wanted, &info.config));
                }
                listing.print(output)?;
                report(&drifts);
                Ok(())
            }
        }
    }
}

/// Creates what is missing, saying so; returns where what is there has drifted.
pub async fn ensure(
    jetstream: &async_nats::jetstream::Context,
    config: &Config,
) -> anyhow::Result<Vec<Drift>> {
    let mut drifts = Vec::new();
    for wanted in engine::streams_wanted(config) {
        match streams::ensure(jetstream, &wanted).await? {
            Ensured::Created => eprintln!("stream {}: created", wanted.name),
            Ensured::AsWanted => eprintln!("stream {}: as configured", wanted.name),
            Ensured::Drifted(found) => drifts.extend(found),
        }
    }
    Ok(drifts)
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

fn row(info: &Info, lag: Option<u64>) -> Vec<super::output::Cell> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    vec![
        info.config.name.clone().into(),
        number(info.state.messages).into(),
        number(info.state.bytes).into(),
        number(info.state.first_sequence).into(),
        number(info.state.last_sequence).into(),
        lag.map(number).into(),
        i64::try_from(info.state.consumer_count).unwrap_or(i64::MAX).into(),
    ]
}
