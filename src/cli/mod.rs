//! The command line: `prooftally <noun> <verb>`. One file a noun; this one has the whole tree of
//! commands and the exit codes.

mod asking;
mod assignments;
mod audit;
mod brands;
mod config;
mod conflicts;
mod credit_notes;
mod day;
mod demo;
mod events;
mod gaps;
mod holds;
mod invoices;
mod keys;
mod local;
pub mod output;
mod periods;
mod plans;
mod preview;
mod profile;
mod progress;
mod proofs;
mod receipts;
mod rejected;
mod replay;
mod rows;
mod serve;
mod stream;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Loaded, Source};
use crate::store::{self, Store};
use crate::telemetry::{self, LogFormat};
use crate::{bus, engine};
use output::Output;

/// Exact metering and billing of verified proofs: reads NATS JetStream, counts each receipt exactly
/// once, and prices what was counted.
#[derive(Debug, Parser)]
#[command(name = "prooftally", version, after_help = EXIT_CODES)]
pub struct Command {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    noun: Noun,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration, \
    4 not found, 5 refused, 6 database or bus away, 10 audit mismatch.";

#[derive(Debug, Args)]
struct Global {
    /// Configuration file; without one the built-in defaults hold
    #[arg(long, global = true, env = "PROOFTALLY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Run the engine until Ctrl-C or SIGTERM
    Serve,
    /// Show everything at work on private servers, with a month of made-up events
    Demo(demo::Demo),
    /// Bring the database's schema up to date
    Migrate,
    /// The streams on the bus
    #[command(subcommand)]
    Stream(stream::Stream),
    /// Private servers for trying things out
    #[command(subcommand)]
    Local(local::Local),
    /// Events: make them up, publish them, look after rejected ones
    #[command(subcommand)]
    Events(events::Events),
    /// Brands: who pays
    #[command(subcommand)]
    Brands(brands::Brands),
    /// Counted receipts by brand, predicate, supplier, day …
    Usage(usage::Usage),
    /// Single receipts
    #[command(subcommand)]
    Receipts(receipts::Receipts),
    /// Proofs that a document counts a receipt
    #[command(subcommand)]
    Proofs(proofs::Proofs),
    /// Events that contradict a counted receipt
    #[command(subcommand)]
    Conflicts(conflicts::Conflicts),
    /// Check every invariant over the whole database; exit code 10 on a mismatch
    Audit(audit::Audit),
    /// Gaps: positions of the stream whose events may be lost
    #[command(subcommand)]
    Gaps(gaps::Gaps),
    /// Read the stream again and compare it with what was counted; exit code 10 on a difference
    Replay(replay::Replay),
    /// Plans: prices in immutable versions, and the cases that finance keeps of them
    #[command(subcommand)]
    Plans(plans::Plans),
    /// Which plan a brand has from which day, and usage that nobody pays for
    #[command(subcommand)]
    Assignments(assignments::Assignments),
    /// Invoices
    #[command(subcommand)]
    Invoices(invoices::Invoices),
    /// Credit notes
    #[command(subcommand, name = "credit-notes")]
    CreditNotes(credit_notes::CreditNotes),
    /// Periods that have ended, and what speaks against their invoices
    #[command(subcommand)]
    Periods(periods::Periods),
    /// Holds: brands and periods of which nothing is issued
    #[command(subcommand)]
    Holds(holds::Holds),
    /// Keys of the API
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print the API's OpenAPI document
    Openapi,
    /// The configuration
    #[command(subcommand)]
    Config(config::ConfigVerb),
}

/// What a person or a script should be told apart from "failed".
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Mismatch(String),
}

/// The exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = error.chain().find_map(|cause| {
        if cause.is::<crate::config::Error>() {
            return Some(3);
        }
        match cause.downcast_ref::<Problem>() {
            Some(Problem::NotFound(_)) => return Some(4),
            Some(Problem::Refused(_)) => return Some(5),
            Some(Problem::Away(_)) => return Some(6),
            Some(Problem::Mismatch(_)) => return Some(10),
            None => {}
        }
        matches!(cause.downcast_ref(), Some(store::Error::Unavailable(_))).then_some(6)
    });
    ExitCode::from(code.unwrap_or(1))
}

/// Runs the command.
///
/// # Errors
/// What went wrong, in words for the person who typed it.
pub fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command.run())
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        let Global { config, output } = self.global;
        let load = || load(config.clone());
        match self.noun {
            Noun::Serve => serve::serve(&load()?.config).await,
            Noun::Demo(demo) => demo.run().await,
            Noun::Migrate => migrate(&load()?.config).await,
            Noun::Stream(verb) => verb.run(&load()?.config, output).await,
            Noun::Local(verb) => verb.run().await,
            Noun::Events(verb) => verb.run(|| Ok(load()?.config), output).await,
            Noun::Brands(verb) => verb.run(&load()?.config, output).await,
            Noun::Usage(usage) => usage.run(&store(&load()?.config)?, output).await,
            Noun::Receipts(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Proofs(verb) => verb.run(output),
            Noun::Gaps(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Conflicts(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Audit(audit) => {
                let config = load()?.config;
                audit.run(&config, &store(&config)?, output).await
            }
            Noun::Replay(replay) => {
                let config = load()?.config;
                replay.run(&config, &store(&config)?, output).await
            }
            Noun::Plans(verb) => verb.run(|| Ok(load()?.config), output).await,
            Noun::Assignments(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Invoices(verb) => verb.run(&load()?.config, output).await,
            Noun::CreditNotes(verb) => verb.run(&load()?.config, output).await,
            Noun::Periods(verb) => verb.run(&load()?.config, output).await,
            Noun::Holds(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Keys(verb) => verb.run(&store(&load()?.config)?, output).await,
            Noun::Openapi => {
                println!("{}", crate::api::openapi());
                Ok(())
            }
            Noun::Config(verb) => {
                let loaded = load()?;
                verb.run(&loaded)
            }
        }
    }
}

fn load(file: Option<PathBuf>) -> anyhow::Result<Loaded> {
    Ok(Config::load(Source { file, environment_variables: variables() })?)
}

/// The process's variables. One that is not UTF-8 is none of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn store(config: &Config) -> anyhow::Result<Store> {
    Store::new(&engine::store_config(config))
}

async fn bus(config: &Config) -> anyhow::Result<bus::Bus> {
    bus::connect(&engine::bus_config(config), false)
        .await
        .map_err(|error| Problem::Away(format!("{error:#}")).into())
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = store(config)?;
    let missing = store.migrations_missing().await?;
    store.migrate().await?;
    match missing {
        0 => eprintln!("the schema is up to date"),
        missing => eprintln!("{missing} migrations applied; the schema is up to date"),
    }
    Ok(())
}

fn log(config: &Config) -> anyhow::Result<()> {
    let format = match config.telemetry.log_format {
        crate::config::LogFormat::Text => LogFormat::Text,
        crate::config::LogFormat::Json => LogFormat::Json,
    };
    telemetry::log(format, &config.telemetry.log_filter)
}
