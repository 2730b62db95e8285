//! `prooftally demo`: everything at work, on private servers, with a month of made-up events.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;

use super::output::Output;
use super::{events, invoices, progress, stream, usage};
use crate::config::Config;
use crate::engine::{self, Engine};
use crate::local::{Binaries, Stack};
use crate::store::usage::{Dimension, Query};
use crate::store::{Store, conservation, cursor};
use crate::workload::{Generator, Spec};

#[derive(Debug, Args)]
pub struct Demo {
    /// End when everything has been shown, instead of serving until Ctrl-C
    #[arg(long)]
    exit: bool,
    /// Keep the servers' data in this folder; a folder that was kept before is shown again
    #[arg(long, value_name = "DATA")]
    keep: Option<PathBuf>,
    /// Events of the month
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Another seed makes other events
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        step("starting a private nats-server and PostgreSQL");
        let stack = Stack::start(&Binaries::find()?, self.keep.clone())?;
        let config = config(&stack);
        super::log(&config)?;
        let outcome = self.show(&config, output).await;
        drop(stack);
        outcome
    }

    async fn show(&self, config: &Config, output: Output) -> anyhow::Result<()> {
        let bus = super::bus(config).await?;
        stream::ensure(&bus.jetstream, config).await?;
        step("starting the engine");
        let mut engine = Engine::start(engine::Config::of(config)).await?;
        let store = super::store(config)?;
        let spec = Spec { seed: self.seed, count: self.count, ..Spec::default() };
        if is_new(&store).await {
            step(&format!("publishing {} events of {:.7}", self.count, spec.from.to_string()));
            let mut generator = Generator::new(&spec)?;
            events::publish(bus.client.clone(), &config.nats.subjects, &mut generator).await?;
        } else {
            step("this folder has been metered before; nothing is published again");
        }
        let metered = meter(&bus.jetstream, config, &store);
        tokio::select! {
            outcome = metered => outcome?,
            () = engine.failed() => anyhow::bail!("the engine has ended; its log says why"),
        }
        show_usage(&store, output).await?;
        invoices::show_demo_preview(config, &store, spec.from.date_naive(), output).await?;
        show_conservation(&store).await?;
        eprintln!("\nmetrics  http://{}/metrics\nhealth   http://{}/readyz", engine.admin, engine.admin);
        if !self.exit {
            eprintln!("\nTry, from another terminal:\n");
            eprintln!("  export PROOFTALLY__NATS__URL={}", exposed(&config.nats.url));
            eprintln!("  export PROOFTALLY__DATABASE__URL={}", exposed(&config.database.url));
            eprintln!("  prooftally usage --by day --brand acme-textiles");
            eprintln!("  prooftally events rejected list\n\nserving until Ctrl-C");
            tokio::select! {
                () = super::serve::told_to_stop() => {}
                () = engine.failed() => anyhow::bail!("the engine has ended; its log says why"),
            }
        }
        engine.stop().await;
        Ok(())
    }
}

fn step(text: &str) {
    eprintln!("==> {text}");
}

fn exposed(url: &SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(url)
}

/// The defaults, pointed at the private servers.
fn config(stack: &Stack) -> Config {
    let mut config = Config::default();
    "demo".clone_into(&mut config.service.environment);
    config.nats.url = stack.nats_url().into();
    config.nats.origin.replicas = 1;
    config.nats.mirror.replicas = 1;
    config.database.url = stack.postgres_url().into();
    config.admin.listen = ([127, 0, 0, 1], 0).into();
    "warn".clone_into(&mut config.telemetry.log_filter);
    config
}

/// True if the database has metered nothing. One that is not migrated yet has not.
async fn is_new(store: &Store) -> bool {
    cursor::read(&store.pool).await.map_or(true, |cursor| cursor.sequence == 0)
}

/// Waits until the cursor has reached the end of the stream.
async fn meter(
    jetstream: &async_nats::jetstream::Context,
    config: &Config,
    store: &Store,
) -> anyhow::Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let info = crate::bus::streams::info(jetstream, &config.nats.stream)
        .await?
        .context("the stream is gone")?;
    let bar = progress::bar("metering", info.state.last_sequence);
    loop {
        let metered = cursor::read(&store.pool).await.map_or(0, |cursor| cursor.sequence);
        let metered = u64::try_from(metered).unwrap_or(0);
        bar.set_position(metered);
        if metered >= info.state.last_sequence {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn show_usage(store: &Store, output: Output) -> anyhow::Result<()> {
    step("usage by brand and predicate\n");
    let query = Query { by: vec![Dimension::Brand, Dimension::Predicate], ..Query::default() };
    let rows = crate::store::usage::query(&store.pool, &query).await?;
    usage::listing(&query, &rows).print(output)
}

async fn show_conservation(store: &Store) -> anyhow::Result<()> {
    eprintln!();
    step("conservation\n");
    let found = conservation::count(&store.pool).await?;
    println!("{}", conservation_line(&found));
    let violations = found.violations();
    anyhow::ensure!(violations.is_empty(), "conservation is broken: {}", violations.join("; "));
    Ok(())
}

fn conservation_line(found: &conservation::Conservation) -> String {
    let rows = &found.rows;
    format!(
        "{} positions = {} counted + {} duplicates + {} conflicts + {} rejected + {} ignored \
         + {} parked + {} gap",
        found.positions,
        rows.counted,
        rows.duplicate,
        rows.conflict,
        rows.rejected,
        rows.ignored,
        rows.parked,
        rows.gap
    )
}
