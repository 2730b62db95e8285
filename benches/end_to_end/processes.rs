//! What the processes use, as the kernel counts it.

use std::fs;

use serde::{Deserialize, Serialize};

/// Processor time so far, in microseconds, of an engine, nats-server and all of PostgreSQL.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    pub ours: f64,
    pub nats: f64,
    pub postgres: f64,
}

/// One tick of the kernel's counters: USER_HZ is 100 on every Linux.
const TICK_MICROS: f64 = 10_000.0;

impl Cpu {
    pub fn now(our_pid: u32, nats_pid: u32, postgres_pid: u32) -> anyhow::Result<Self> {
        let ours = Times::of(our_pid)?;
        let nats = Times::of(nats_pid)?;
        // What a backend used that has ended is counted in its parent's `children`.
        let postmaster = Times::of(postgres_pid)?;
        let mut postgres = postmaster.own + postmaster.children;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end between being listed and being read.
            let Ok(times) = Times::of(pid) else { continue };
            if times.parent == postgres_pid {
                postgres += times.own;
            }
        }
        Ok(Self {
            ours: ours.own * TICK_MICROS,
            nats: nats.own * TICK_MICROS,
            postgres: postgres * TICK_MICROS,
        })
    }

    /// What was used since `earlier`, for each of `events`.
    pub fn each(self, earlier: Self, events: u64) -> Self {
        let each = |later: f64, earlier: f64| (later - earlier) / events as f64;
        Self {
            ours: each(self.ours, earlier.ours),
            nats: each(self.nats, earlier.nats),
            postgres: each(self.postgres, earlier.postgres),
        }
    }

    pub fn sum(self) -> f64 {
        self.ours + self.nats + self.postgres
    }
}

struct Times {
    parent: u32,
    own: f64,
    children: f64,
}

impl Times {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in parentheses, which may hold spaces.
        let (_, fields) = text.rsplit_once(')').unwrap_or_default();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| -> anyhow::Result<f64> {
            Ok(fields.get(place).copied().unwrap_or_default().parse()?)
        };
        Ok(Self {
            parent: fields.get(1).copied().unwrap_or_default().parse()?,
            own: ticks(11)? + ticks(12)?,
            children: ticks(13)? + ticks(14)?,
        })
    }
}

/// The most memory that a process has had at once, in bytes.
pub fn memory_max(pid: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1_024)
}
