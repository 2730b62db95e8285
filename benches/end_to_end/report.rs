//! What was found: a table for people, a file for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::case::Case;
use crate::contestant::{Contestant, Outcome};
use crate::processes::Cpu;
use crate::{Entry, Options};

/// Everything that a run found.
#[derive(Serialize)]
pub struct Report {
    cores: usize,
    rounds: usize,
    chunk_messages_max: usize,
    cases: Vec<CaseReport>,
}

/// What a case's rounds found, by contestant.
#[derive(Serialize)]
pub struct CaseReport {
    case: Case,
    /// 1 / (1/L1 + 1/L2): the two limits after each other, as on processors that both fill.
    ceiling: Option<Spread>,
    /// Cores over the processor time that the two limits take together.
    processor_bound: Option<Spread>,
    ratio_to_ceiling: Option<Spread>,
    ratio_to_drain: Option<Spread>,
    contestants: BTreeMap<String, Line>,
    #[serde(skip)]
    outcomes: BTreeMap<(Contestant, String), Vec<Outcome>>,
}

/// The rate of two things done after each other.
fn in_turn(one: f64, other: f64) -> f64 {
    1.0 / (1.0 / one + 1.0 / other)
}

/// A contestant's line.
#[derive(Serialize)]
struct Line {
    events_per_second: Spread,
    cpu_microseconds_per_event: Cpu,
    memory_bytes_max: u64,
    /// A rate whose result was wrong is void.
    is_void: bool,
    faults: Vec<String>,
}

/// Least, middle and greatest of the rounds.
#[derive(Clone, Copy, Serialize)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { min, median: f64::midpoint(low, high), max })
    }
}

impl Report {
    pub fn new(options: &Options) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Options { rounds, chunk, .. } = *options;
        Self { cores, rounds, chunk_messages_max: chunk, cases: Vec::new() }
    }

    pub fn cores(&self) -> usize {
        self.cores
    }

    pub fn print_head(&self) {
        println!("{} cores, {} rounds after a warm-up", self.cores, self.rounds);
    }

    pub fn add(&mut self, case: CaseReport) {
        self.cases.push(case);
    }

    /// Writes `target/bench/end_to_end.json`.
    pub fn write(&self) -> anyhow::Result<()> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("end_to_end.json");
        std::fs::write(&file, serde_json::to_string_pretty(self)?)?;
        println!("\n{}", file.display());
        let is_void = |case: &CaseReport| case.contestants.values().any(|line| line.is_void);
        anyhow::ensure!(!self.cases.iter().any(is_void), "a result was wrong: its rate is void");
        Ok(())
    }
}

impl CaseReport {
    pub fn new(case: &Case) -> Self {
        Self {
            case: case.clone(),
            ceiling: None,
            processor_bound: None,
            ratio_to_ceiling: None,
            ratio_to_drain: None,
            contestants: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    pub fn print_progress(&self, round: usize, entry: &Entry, outcome: &Outcome) {
        let name = entry.name();
        let Case { name: case, .. } = &self.case;
        eprintln!("{case} round {round}: {name} {:.0} events/s", outcome.rate());
    }

    pub fn add(&mut self, entry: &Entry, outcome: Outcome) {
        self.outcomes.entry((entry.contestant, entry.name())).or_default().push(outcome);
    }

    /// Works the lines out and prints them.
    pub fn print(&mut self, cores: usize) {
        let Case { name, about, count, .. } = &self.case;
        println!("\n{name}: {count} events, {about}\n");
        println!(
            "  {:<16}{:>10}{:>10}{:>10}   {:>6}{:>7}{:>10}{:>7}{:>9}{:>8}",
            "events/s",
            "min",
            "median",
            "max",
            "µs/ev",
            "ours",
            "postgres",
            "nats",
            "MB max",
            "of H"
        );
        self.bounds(cores);
        for ((contestant, name), outcomes) in &self.outcomes {
            let line = Line::of(outcomes);
            let of_ceiling = self.ratio(*contestant, name, in_turn);
            line.print(name, of_ceiling);
            self.contestants.insert(name.clone(), line);
        }
        for (name, bound) in [("H", self.ceiling), ("processor bound", self.processor_bound)] {
            let Some(Spread { min, median, max }) = bound else { continue };
            println!("  {name:<16}{min:>10.0}{median:>10.0}{max:>10.0}");
        }
        let ratios =
            [("ratio to ceiling", self.ratio_to_ceiling), ("ratio to drain", self.ratio_to_drain)];
        for (name, ratio) in ratios {
            let Some(Spread { min, median, max }) = ratio else { continue };
            println!("  {name:<16}{min:>10.3}{median:>10.3}{max:>10.3}");
        }
    }

    fn bounds(&mut self, cores: usize) {
        let pairs = |of: fn(&Outcome) -> f64| {
            let of_all = |contestant| self.of(contestant).iter().map(of).collect::<Vec<_>>();
            of_all(Contestant::Drain).into_iter().zip(of_all(Contestant::Copy))
        };
        let rates = pairs(Outcome::rate).map(|(drain, copy)| in_turn(drain, copy)).collect();
        let second = 1e6 * cores as f64;
        let costs = pairs(|outcome| outcome.cpu.sum());
        let processors = costs.map(|(drain, copy)| second / (drain + copy)).collect();
        let (me, name) = (Contestant::Prooftally, Contestant::Prooftally.name());
        let to_ceiling = self.ratio(me, name, in_turn);
        let to_drain = self.ratio(me, name, |drain, _| drain);
        (self.ceiling, self.processor_bound) = (Spread::of(rates), Spread::of(processors));
        (self.ratio_to_ceiling, self.ratio_to_drain) = (to_ceiling, to_drain);
    }

    fn of(&self, contestant: Contestant) -> &[Outcome] {
        let key = (contestant, contestant.name().to_owned());
        self.outcomes.get(&key).map_or(&[], Vec::as_slice)
    }

    /// A contestant's rate over what `limit` makes of the same round's drain and copy.
    fn ratio(
        &self,
        contestant: Contestant,
        name: &str,
        limit: fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let outcomes = self.outcomes.get(&(contestant, name.to_owned()))?;
        let limits = self.of(Contestant::Drain).iter().zip(self.of(Contestant::Copy));
        let ratios = outcomes
            .iter()
            .zip(limits)
            .map(|(outcome, (drain, copy))| outcome.rate() / limit(drain.rate(), copy.rate()));
        Spread::of(ratios.collect())
    }
}

impl Line {
    fn of(outcomes: &[Outcome]) -> Self {
        let spread = |of: fn(&Outcome) -> f64| {
            Spread::of(outcomes.iter().map(of).collect()).expect("a contestant has an outcome")
        };
        let faults: Vec<String> =
            outcomes.iter().flat_map(|outcome| outcome.faults.clone()).take(10).collect();
        Self {
            events_per_second: spread(Outcome::rate),
            cpu_microseconds_per_event: Cpu {
                ours: spread(|outcome| outcome.cpu.ours).median,
                nats: spread(|outcome| outcome.cpu.nats).median,
                postgres: spread(|outcome| outcome.cpu.postgres).median,
            },
            memory_bytes_max: outcomes.iter().map(|o| o.memory_bytes_max).max().unwrap_or(0),
            is_void: !faults.is_empty(),
            faults,
        }
    }

    fn print(&self, name: &str, of_ceiling: Option<Spread>) {
        let Spread { min, median, max } = self.events_per_second;
        let Cpu { ours, nats, postgres } = self.cpu_microseconds_per_event;
        let sum = self.cpu_microseconds_per_event.sum();
        let megabytes = self.memory_bytes_max / 1_000_000;
        let of_ceiling =
            of_ceiling.map_or_else(String::new, |ratio| format!("{:.3}", ratio.median));
        println!(
            "  {name:<16}{min:>10.0}{median:>10.0}{max:>10.0}   {sum:>6.2}{ours:>7.2}{postgres:>10.2}\
             {nats:>7.2}{megabytes:>9}{of_ceiling:>8}{}",
            if self.is_void { "  VOID" } else { "" }
        );
        for fault in &self.faults {
            println!("    {fault}");
        }
    }
}
