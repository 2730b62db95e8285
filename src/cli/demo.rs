//! `prooftally demo`: everything at work, on private servers, with a month of made-up events.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use billing::ids::BrandId;
use billing::period::{Anchor, Change};
use billing::tax::{Category, Dated, Treatment};
use chrono::NaiveDate;
use clap::Args;
use rust_decimal::Decimal;
use secrecy::SecretString;

use super::output::Output;
use super::{Problem, assignments, events, invoices, preview, progress, stream, usage};
use crate::bus::{Bus, streams};
use crate::config::Config;
use crate::engine::{self, Engine};
use crate::local::{Binaries, DATABASE, Stack};
use crate::store::api_keys::{self, Role};
use crate::store::assignments::{New, records};
use crate::store::usage::{Dimension, Query};
use crate::store::{Store, conservation, cursor, plans, profiles};
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
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Another seed makes other events
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Few enough that their usage fits a screen or two.
const BRANDS: u32 = 5;
/// The brand of the workload that has most events.
const PREVIEWED_BRAND: &str = "acme-textiles";

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        step("starting a private nats-server and PostgreSQL");
        let stack = Stack::start(&Binaries::find()?, self.keep.clone())?;
        let config = config(&stack);
        super::log(&config)?;
        super::local::migrate(&stack.postgres.socket_url(DATABASE)).await?;
        let outcome = self.show(&config).await;
        drop(stack);
        outcome
    }

    async fn show(&self, config: &Config) -> anyhow::Result<()> {
        let bus = super::bus(config).await?;
        stream::ensure(&bus.jetstream, config).await?;
        step("starting the engine");
        let mut engine = Engine::start(engine::Config::of(config)).await?;
        let outcome = tokio::select! {
            outcome = self.tour(config, &bus, (engine.admin, engine.api)) => outcome,
            () = super::serve::told_to_stop() => Ok(()),
            () = engine.failed() => Err(anyhow::anyhow!("the engine has ended; its log says why")),
        };
        engine.stop().await;
        outcome
    }

    async fn tour(
        &self,
        config: &Config,
        bus: &Bus,
        (admin, api): (SocketAddr, Option<SocketAddr>),
    ) -> anyhow::Result<()> {
        let store = super::store(config)?;
        let spec = Spec { seed: self.seed, count: self.count, brands: BRANDS, ..Spec::default() };
        let month = spec.from.date_naive();
        if self.is_to_publish(bus, config).await? {
            step(&format!("publishing {} events of {}", self.count, month.format("%B %Y")));
            let mut generator = Generator::new(&spec)?;
            events::publish(bus.client.clone(), &config.nats.subjects, &mut generator).await?;
            self.note_published()?;
        } else {
            step("this folder has been metered before; nothing is published again");
        }
        meter(&bus.jetstream, config, &store).await?;
        show_usage(&store).await?;
        let brand = BrandId::new(PREVIEWED_BRAND).context("the demo's brand has a good id")?;
        self.assign(config, &store, &brand, month).await?;
        step("what it pays for the month\n");
        preview::of_brand(config, &store, &brand, month).await?;
        show_conservation(&store).await?;
        if !self.exit {
            eprintln!("\nmetrics  http://{admin}/metrics\nhealth   http://{admin}/readyz");
            if let Some(api) = api {
                show_api(&store, api).await?;
            }
            show_what_to_try(config);
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Applies the network's price list and gives it to a brand from its first usage day on, unless
    /// that was done when the folder was made.
    async fn assign(
        &self,
        config: &Config,
        store: &Store,
        brand: &BrandId,
        month: NaiveDate,
    ) -> anyhow::Result<()> {
        let known = super::brands::known(store, brand.as_str()).await?;
        if !records(&store.pool, Some(known.no)).await?.is_empty() {
            return Ok(());
        }
        let plan = &config.billing.default_plan;
        step(&format!("applying plan {plan}, and giving it to {brand}"));
        let text = invoices::text_of_plan_file(config, plan)?;
        plans::apply(&store.pool, plan, &text, month, "demo").await?;
        let first = crate::store::usage::first_day(&store.pool, known.no).await?;
        let new = New {
            plan: plan.clone(),
            from: first.context("the brand has usage")?,
            until: None,
            anchor: Anchor::Calendar,
            change: Change::NextPeriod,
            because: Some("the demo shows it".to_owned()),
        };
        assignments::assign(store, brand, &new).await?;
        let treatment = Treatment::new(Category::Standard, Decimal::from(19), None)?;
        let dated = Dated { from: month, treatment };
        profiles::set_tax(&store.pool, brand, &dated, None, "demo").await?;
        Ok(())
    }

    /// The file that says that the whole month was published into the kept folder.
    fn mark(&self) -> Option<PathBuf> {
        self.keep.as_ref().map(|folder| folder.join("published"))
    }

    fn note_published(&self) -> anyhow::Result<()> {
        let Some(mark) = self.mark() else { return Ok(()) };
        std::fs::write(&mark, self.count.to_string())
            .with_context(|| format!("{} cannot be written", mark.display()))
    }

    /// False if the kept folder has a whole month already; refused if it has a part of one.
    async fn is_to_publish(&self, bus: &Bus, config: &Config) -> anyhow::Result<bool> {
        let info = streams::info(&bus.jetstream, &config.nats.stream).await?;
        if info.context("the stream is gone")?.state.last_sequence == 0 {
            return Ok(true);
        }
        if self.mark().is_some_and(|mark| mark.exists()) {
            return Ok(false);
        }
        let text = "this folder has a part of a month, from a demo that was interrupted; remove it or \
            keep the data in another one";
        Err(Problem::Refused(text.to_owned()).into())
    }
}

/// Makes a key, which ends with the demo's servers, and shows what to ask with it.
async fn show_api(store: &Store, api: SocketAddr) -> anyhow::Result<()> {
    let new = api_keys::New {
        name: "demo".to_owned(),
        role: Role::FinanceRead,
        brand_no: None,
        expires_at: None,
    };
    let made = api_keys::create(&store.pool, &new, "demo").await?;
    eprintln!("API      http://{api}/docs\n");
    eprintln!("  curl -H 'Authorization: Bearer {}' \\", made.key);
    eprintln!("    'http://{api}/v1/usage?by=predicate&brand={PREVIEWED_BRAND}'");
    Ok(())
}

fn show_what_to_try(config: &Config) {
    eprintln!("\nTry, from another terminal:\n");
    eprintln!("  export PROOFTALLY__NATS__URL={}", exposed(&config.nats.url));
    eprintln!("  export PROOFTALLY__DATABASE__URL='{}'", exposed(&config.database.url));
    eprintln!("  target/debug/prooftally usage --by day --brand {PREVIEWED_BRAND}");
    eprintln!("  target/debug/prooftally assignments unassigned");
    eprintln!("  target/debug/prooftally events rejected list\n\nserving until Ctrl-C");
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
    // The socket: over TCP the driver waits 40 ms now and then, for want of TCP_NODELAY.
    config.database.url = stack.postgres.application_socket_url(DATABASE).into();
    config.admin.listen = ([127, 0, 0, 1], 0).into();
    config.api.listen = ([127, 0, 0, 1], 0).into();
    "warn".clone_into(&mut config.telemetry.log_filter);
    config
}

/// Waits until the cursor has reached the end of the stream.
async fn meter(
    jetstream: &async_nats::jetstream::Context,
    config: &Config,
    store: &Store,
) -> anyhow::Result<()> {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let info =
        streams::info(jetstream, &config.nats.stream).await?.context("the stream is gone")?;
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

async fn show_usage(store: &Store) -> anyhow::Result<()> {
    step("usage by brand and predicate\n");
    let query = Query { by: vec![Dimension::Brand, Dimension::Predicate], ..Query::default() };
    usage::print(store, &query, Output::Table).await
}

async fn show_conservation(store: &Store) -> anyhow::Result<()> {
    eprintln!();
    step("conservation\n");
    let found = conservation::count(&store.pool).await?;
    super::output::print(&format!("{}\n", conservation_line(&found)))?;
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
