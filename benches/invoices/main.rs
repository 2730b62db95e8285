//! How long an invoice run takes beside one SQL aggregation over the same usage rows, and what the proof of
//! one receipt of a large invoice costs.
//!
//! `cargo bench --bench invoices` starts its own servers and has the engine count what is invoiced. Two
//! cases: `run`, many brands with three tiered charges each, and `proof`, one brand with all receipts.
//! docs/performance.md has the figures.

mod books;
mod proof;
mod run;
mod terms;

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

#[derive(Debug, Parser)]
struct Options {
    /// Given by `cargo bench`; without it nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
    /// Run only this case: run or proof
    #[arg(long = "case", value_name = "NAME")]
    case: Option<String>,
    /// Receipts of a case
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Brands of the case `run`
    #[arg(long, default_value_t = 10_000)]
    brands: u32,
    /// Entries in a segment of the ledger
    #[arg(long, default_value_t = 400_000)]
    segment: i64,
}

/// What is written to `target/bench/invoices.json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    run: Option<run::Figures>,
    proof: Option<proof::Figures>,
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` runs this program too, without arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut report = Report::default();
    let is_wanted = |name: &str| options.case.as_deref().is_none_or(|only| only == name);
    if is_wanted("run") {
        report.run = Some(run::measure(options).await?);
    }
    if is_wanted("proof") {
        report.proof = Some(proof::measure(options).await?);
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("invoices.json");
    std::fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    println!("\n{}", file.display());
    Ok(())
}

/// The shortest of several times, in seconds: what the machine can do when it is left alone.
fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}
