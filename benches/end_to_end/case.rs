//! The cases: which events are read.

use std::time::Duration;

use chrono::TimeDelta;
use prooftally::bus::Bus;
use prooftally::bus::streams::{self, Wanted};
use prooftally::workload::{Generator, Percent, Spec, Truth};
use serde::{Deserialize, Serialize};

use crate::{Options, publishing};

/// The stream that all contestants read.
pub const STREAM: &str = "PROOFS";
/// Its mirror.
pub const MIRROR: &str = "METERING";

/// Events of one kind of traffic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    pub about: String,
    pub count: u64,
    pub brands: u32,
    pub skew: f64,
    /// The events' time span. Live traffic falls on one or two usage days, a backlog on many.
    pub hours: u32,
    /// With repeated, contradicting, malformed and failed events among the others.
    pub is_mixed: bool,
}

/// Receipts of `options`, each once.
pub fn plain(options: &Options, name: &str) -> Case {
    let Options { count, brands, skew, hours, .. } = *options;
    let (name, about) = (name.to_owned(), String::new());
    Case { name, about, count, brands, skew, hours, is_mixed: false }
}

/// The cases that are asked for.
pub fn cases(options: &Options) -> anyhow::Result<Vec<Case>> {
    let Options { brands, skew, hours, .. } = *options;
    let plain = |name: &str, about: String| Case { about, ..plain(options, name) };
    let all = [
        plain("live", format!("{brands} brands, zipf {skew}, {hours} h")),
        Case { hours: 31 * 24, ..plain("month", format!("{brands} brands, zipf {skew}, 31 days")) },
        Case { brands: 1, ..plain("hot", format!("one brand, {hours} h")) },
        Case {
            brands: 10_000,
            skew: 0.0,
            ..plain("wide", format!("10,000 brands, uniform, {hours} h"))
        },
        Case {
            is_mixed: true,
            ..plain(
                "mixed",
                format!("{brands} brands, {hours} h; 10 % repeats, half of them old; 1.3 % others"),
            )
        },
    ];
    for name in &options.cases {
        let known: Vec<&str> = all.iter().map(|case| case.name.as_str()).collect();
        anyhow::ensure!(known.contains(&name.as_str()), "no case {name}; there are {known:?}");
    }
    let is_wanted = |case: &Case| options.cases.is_empty() || options.cases.contains(&case.name);
    Ok(all.into_iter().filter(is_wanted).collect())
}

impl Case {
    pub fn spec(&self) -> Spec {
        let default = Spec::default();
        let until = default.from + TimeDelta::hours(i64::from(self.hours));
        let spec =
            Spec { count: self.count, brands: self.brands, skew: self.skew, until, ..default };
        let none = Percent::ZERO;
        if self.is_mixed {
            let five = Percent::from_basis_points(500);
            return Spec { duplicate: five, reemitted: five, ..spec };
        }
        let (duplicate, reemitted, conflict) = (none, none, none);
        Spec { duplicate, reemitted, conflict, malformed: none, failed: none, ..spec }
    }

    /// A stream without limits.
    pub async fn create_stream(&self, bus: &Bus) -> anyhow::Result<()> {
        let wanted = Wanted {
            name: STREAM.to_owned(),
            subjects: vec!["proofs.>".to_owned()],
            mirror_of: None,
            messages_max: -1,
            bytes_max: -1,
            age_max: Duration::ZERO,
            replicas: 1,
        };
        streams::ensure(&bus.jetstream, &wanted).await?;
        Ok(())
    }

    /// A mirror of it, as the product would make it, but without limits.
    pub async fn create_mirror(&self, bus: &Bus) -> anyhow::Result<()> {
        let wanted = Wanted {
            name: MIRROR.to_owned(),
            subjects: Vec::new(),
            mirror_of: Some(STREAM.to_owned()),
            messages_max: -1,
            bytes_max: -1,
            age_max: Duration::ZERO,
            replicas: 1,
        };
        streams::ensure(&bus.jetstream, &wanted).await?;
        Ok(())
    }

    /// Puts the events into a new stream, and says what metering them must come to.
    pub async fn publish(&self, bus: &Bus) -> anyhow::Result<Truth> {
        self.create_stream(bus).await?;
        let mut generator = Generator::new(&self.spec())?;
        publishing::at_once(bus, &mut generator, self.count).await?;
        Ok(generator.truth())
    }
}
