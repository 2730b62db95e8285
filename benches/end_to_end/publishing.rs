//! Publishing a workload's events: as fast as the stream takes them, or at a steady rate.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use prooftally::bus::Bus;
use prooftally::bus::publish::Publisher;
use prooftally::workload::Generator;
use tokio::time::MissedTickBehavior;

/// What is due is sent this often.
const TICK: Duration = Duration::from_millis(1);

/// Publishes the next `count` events.
pub async fn at_once(bus: &Bus, generator: &mut Generator, count: u64) -> anyhow::Result<()> {
    let mut publisher = Publisher::new(bus.client.clone());
    for _ in 0..count {
        next(&mut publisher, generator).await?;
    }
    finish(publisher, count).await
}

/// Publishes the next `count` events, `rate` a second; `tell` is told how many were sent, and since when
/// the last of them are on their way.
pub async fn paced(
    bus: &Bus,
    generator: &mut Generator,
    rate: u64,
    count: u64,
    mut tell: impl FnMut(u64, Instant),
) -> anyhow::Result<()> {
    let mut publisher = Publisher::new(bus.client.clone());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let mut sent = 0;
    while sent < count {
        ticks.tick().await;
        let due = u64::try_from(began.elapsed().as_micros())? * rate / 1_000_000;
        let at = Instant::now();
        while sent < due.min(count) {
            next(&mut publisher, generator).await?;
            sent += 1;
        }
        tell(sent, at);
    }
    finish(publisher, count).await
}

async fn next(publisher: &mut Publisher, generator: &mut Generator) -> anyhow::Result<()> {
    let event = generator.next_event().context("the workload has as many events")?;
    let payload = Bytes::copy_from_slice(event.payload);
    publisher.publish(event.subject.to_owned(), payload).await
}

async fn finish(publisher: Publisher, count: u64) -> anyhow::Result<()> {
    let stored = publisher.finish().await?;
    anyhow::ensure!(stored == count, "the stream lacks events");
    Ok(())
}
