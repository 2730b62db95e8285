//! How long the API takes to answer while events are metered: with a large ledger, idle, at half of the
//! maximum rate and at 90 % of it.
//!
//! `cargo bench --bench api` starts its own servers, has an engine of a process of its own count the
//! receipts, issues an invoice to each brand, measures the maximum rate, and then asks at a fixed rate
//! while a publisher keeps the engine busy. docs/performance.md has the figures.

mod asking;
mod engine;
mod load;
#[path = "../end_to_end/metered.rs"]
mod metered;
#[path = "../end_to_end/processes.rs"]
mod processes;
#[path = "../end_to_end/publishing.rs"]
mod publishing;
mod questions;
mod report;
#[path = "../invoices/terms.rs"]
mod terms;
mod world;

use std::path::PathBuf;

use clap::Parser;
use prooftally::config::Config;

use load::Load;
use report::Report;
use world::World;

#[derive(Debug, Parser)]
struct Options {
    /// Given by `cargo bench`; without it nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
    /// What a process of its own is to do, as JSON
    #[arg(long, hide = true)]
    order: Option<String>,
    /// Receipts in the ledger before anything is measured
    #[arg(long, default_value_t = 10_000_000)]
    receipts: u64,
    /// Brands, over which receipts and questions are spread by Zipf's law
    #[arg(long, default_value_t = 1_000)]
    brands: u32,
    /// Events by which the rate without a publisher is measured; the maximum rate is at most this
    #[arg(long, default_value_t = 1_000_000)]
    drain: u64,
    /// The maximum rate in events a second, instead of measuring it
    #[arg(long, value_name = "RATE")]
    max: Option<u64>,
    /// How long each load is asked under
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Requests a second, over all operations that do not read the ledger
    #[arg(long, default_value_t = 50)]
    requests: u32,
    /// Entries in a segment of the ledger
    #[arg(long, default_value_t = Config::default().ledger.segment_entries)]
    segment: i64,
    /// Keep the servers' data in this new folder, to look at it afterwards (`prooftally local up --data`)
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` runs this program too, without arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let options = Options::parse();
    // As the product's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &options.order {
        Some(order) => runtime.block_on(engine::obey(&serde_json::from_str(order)?)),
        None => runtime.block_on(measure(&options)),
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut world = World::new(options).await?;
    let filled = world.fill().await?;
    eprintln!("{} receipts, {filled:.0} events/s while they were published", world.billed);
    let invoices = world.issue().await?;
    eprintln!("{invoices} invoices");
    let (mut engine, drained) = world.drain(options.drain).await?;
    eprintln!("{drained:.0} events/s when they are there already");
    // Publisher and engine share the machine under every load, as they do while the ledger is filled.
    let max = options.max.unwrap_or(filled.min(drained) as u64);
    let mut report = Report::new(options, &world, invoices, [filled, drained], max);
    for load in [Load::IDLE, Load::HALF, Load::NINETY] {
        report.add(load.measure(&mut world, &mut engine, options, max).await?);
    }
    engine.stop()?;
    report.check(world.faults().await?);
    report.print();
    report.write()
}
