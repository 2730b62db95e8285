//! The loop of ADR-004 as its authors would run it: TypeScript on Node, nats.js and pg, a transaction
//! a message. A program of its own, in benches/peers/adr004.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::Deserialize;

use crate::case::STREAM;
use crate::contestant::{Order, Outcome};
use crate::processes::Cpu;

/// What it prints.
#[derive(Deserialize)]
struct Taken {
    seconds: f64,
    cpu_micros: f64,
    memory: u64,
}

/// The built program, or what to do to have it.
pub fn program() -> anyhow::Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers/adr004");
    let program = folder.join("built/consumer.js");
    anyhow::ensure!(
        program.exists(),
        "the loop of ADR-004 is not built: run `npm ci && npm run build` in {}, or leave the writers out \
         by --no-writers",
        folder.display()
    );
    Ok(program)
}

/// Lets it read `events` messages.
pub fn run(order: &Order, events: u64) -> anyhow::Result<Outcome> {
    let events = events.min(order.case.count);
    let me = std::process::id();
    let before = Cpu::now(me, order.nats_pid, order.postgres_pid)?;
    let output = Command::new("node")
        .arg(program()?)
        .args([&order.nats_url, &order.database_url, STREAM, &events.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("node cannot be started")?;
    anyhow::ensure!(output.status.success(), "the loop of ADR-004 failed: {}", output.status);
    let taken: Taken = serde_json::from_slice(&output.stdout).context("its answer")?;
    let cpu = Cpu::now(me, order.nats_pid, order.postgres_pid)?.each(before, events);
    Ok(Outcome {
        events,
        seconds: taken.seconds,
        cpu: Cpu { ours: taken.cpu_micros / events as f64, ..cpu },
        memory_bytes_max: taken.memory,
        first_commit_seconds: 0.0,
        faults: Vec::new(),
    })
}
