//! What was found: a table for people, a file for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::Options;
use crate::asking::Answer;
use crate::load::Found;
use crate::questions::Operation;
use crate::world::World;

/// As many faults are shown.
const FAULTS_MAX: usize = 10;

/// Everything that a run found.
#[derive(Serialize)]
pub struct Report {
    cores: usize,
    receipts: i64,
    brands: u32,
    invoices: usize,
    seconds: u64,
    requests_per_second: u32,
    /// Events a second of last month, while they were published.
    filled_per_second: f64,
    /// Events a second that were there already, and what the loads are shares of.
    drained_per_second: f64,
    max: u64,
    loads: Vec<Column>,
    /// What is wrong; the figures are void unless this is empty.
    faults: Vec<String>,
}

/// A load, and the latencies under it.
#[derive(Serialize)]
struct Column {
    #[serde(flatten)]
    found: Found,
    operations: BTreeMap<&'static str, Latency>,
}

/// Milliseconds.
#[derive(Clone, Copy, Serialize)]
struct Latency {
    count: usize,
    p50: f64,
    p99: f64,
    max: f64,
    /// p99 over that of the first load.
    of_idle: Option<f64>,
}

impl Latency {
    fn of(answers: &[Answer], operation: Operation) -> Option<Self> {
        let counted = answers.iter().filter(|one| one.counts && one.operation == operation);
        let mut times: Vec<f64> = counted.map(|one| one.latency.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        // The least that so many are not above.
        let at =
            |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
        let (p50, p99, max) = (at(50)?, at(99)?, at(100)?);
        Some(Self { count: times.len(), p50, p99, max, of_idle: None })
    }
}

impl Report {
    pub fn new(
        options: &Options,
        world: &World,
        invoices: usize,
        rates: [f64; 2],
        max: u64,
    ) -> Self {
        let [filled_per_second, drained_per_second] = rates;
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            receipts: world.billed,
            brands: options.brands,
            invoices,
            seconds: options.seconds,
            requests_per_second: options.requests,
            filled_per_second,
            drained_per_second,
            max,
            loads: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub fn add(&mut self, found: Found) {
        let idle = self.loads.first();
        let latency = |operation: Operation| {
            let of = Latency::of(&found.answers, operation)?;
            let idle = idle.and_then(|idle| idle.operations.get(operation.name()));
            Some((operation.name(), Latency { of_idle: idle.map(|idle| of.p99 / idle.p99), ..of }))
        };
        let operations = Operation::ALL.into_iter().filter_map(latency).collect();
        let faults = found.answers.iter().filter_map(|answer| answer.fault.clone());
        self.faults.extend(faults.take(FAULTS_MAX));
        self.loads.push(Column { found, operations });
    }

    /// Notes what is wrong with what was counted.
    pub fn check(&mut self, faults: Vec<String>) {
        self.faults.extend(faults.into_iter().take(FAULTS_MAX));
    }

    pub fn print(&self) {
        let Self { cores, receipts, brands, invoices, filled_per_second, .. } = self;
        println!("{cores} cores, {receipts} receipts of {brands} brands, {invoices} invoices");
        println!(
            "metered a second: {filled_per_second:.0} while they are published, {:.0} afterwards; \
             maximum taken: {}\n",
            self.drained_per_second, self.max
        );
        let mut head = [format!("{:<30}", "milliseconds"), " ".repeat(30)];
        for Column { found, .. } in &self.loads {
            head[0].push_str(&format!("  {:>34}", format!("{}, {}/s", found.name, found.rate)));
            head[1].push_str(&format!(
                "  {:>7}{:>7}{:>8}{:>5}{:>7}",
                "p50", "p99", "max", "n", "x idle"
            ));
        }
        println!("{}\n{}", head[0], head[1]);
        for operation in Operation::ALL {
            let mut line = format!("{:<30}", operation.name());
            for Column { operations, .. } in &self.loads {
                let Some(latency) = operations.get(operation.name()) else { continue };
                let Latency { count, p50, p99, max, of_idle } = latency;
                let of_idle = of_idle.map_or_else(String::new, |ratio| format!("{ratio:.1}"));
                line.push_str(&format!("  {p50:>7.1}{p99:>7.1}{max:>8.1}{count:>5}{of_idle:>7}"));
            }
            println!("{line}");
        }
        println!();
        for Column { found, .. } in &self.loads {
            found.print();
        }
        for fault in &self.faults {
            println!("VOID: {fault}");
        }
    }

    /// Writes `target/bench/api.json`.
    pub fn write(&self) -> anyhow::Result<()> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("api.json");
        std::fs::write(&file, serde_json::to_string_pretty(self)?)?;
        println!("\n{}", file.display());
        anyhow::ensure!(self.faults.is_empty(), "an answer or the count was wrong: all is void");
        Ok(())
    }
}

impl Found {
    fn print(&self) {
        let Self { name, behind, caught_up_seconds, cores, cores_of_bench, .. } = self;
        println!(
            "{name}: {behind} messages behind at the end, metered and sealed {caught_up_seconds:.1} s \
             later; busy cores: engine {:.2}, PostgreSQL {:.2}, nats-server {:.2}, publisher and \
             client {cores_of_bench:.2}, all {:.2}; engine {} MB at most",
            cores.ours,
            cores.postgres,
            cores.nats,
            cores.sum() + cores_of_bench,
            self.memory_bytes_max / 1_000_000,
        );
    }
}
