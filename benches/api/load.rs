//! A load: events at a steady rate, and what is asked meanwhile.

use std::time::Instant;

use serde::Serialize;

use crate::asking::{self, Answer};
use crate::engine::Running;
use crate::processes::{self, Cpu};
use crate::questions::{self, Subjects};
use crate::world::World;
use crate::{Options, publishing};

/// A share of the maximum rate.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub name: &'static str,
    percent: u64,
}

/// What was found under it.
#[derive(Debug, Serialize)]
pub struct Found {
    pub name: &'static str,
    /// Events published a second.
    pub rate: u64,
    /// Messages that were not metered when the last one was published.
    pub behind: u64,
    /// Seconds from the last answer until all were, and all that is full was sealed.
    pub caught_up_seconds: f64,
    /// Cores that were busy, of the engine as `ours`.
    pub cores: Cpu,
    /// Of the publisher and the client.
    pub cores_of_bench: f64,
    pub memory_bytes_max: u64,
    #[serde(skip)]
    pub answers: Vec<Answer>,
}

impl Load {
    pub const IDLE: Self = Self { name: "idle", percent: 0 };
    pub const HALF: Self = Self { name: "half", percent: 50 };
    pub const NINETY: Self = Self { name: "90 %", percent: 90 };

    /// Publishes at this share of `max`, and asks.
    pub async fn measure(
        self,
        world: &mut World,
        engine: &mut Running,
        options: &Options,
        max: u64,
    ) -> anyhow::Result<Found> {
        let rate = max * self.percent / 100;
        let count = rate * questions::length(options).as_secs();
        let subjects = Subjects::draw(&world.store, world.billed, options, self.percent).await?;
        let asked = subjects.questions(options)?;
        let (address, key) = (engine.address, world.key().await?);
        let me = std::process::id();
        let (before, own_before) = (world.cpu(engine.pid())?, world.cpu(me)?);
        let began = Instant::now();
        let asking = tokio::task::spawn_blocking(move || asking::ask(address, &key, asked));
        publishing::paced(&world.bus, &mut world.live, rate, count, |_, _| ()).await?;
        world.published += count;
        let behind = world.published - world.metered().await?;
        let answers = asking.await??;
        let ended = Instant::now();
        let micros = u64::try_from(began.elapsed().as_micros())?;
        let cores = world.cpu(engine.pid())?.each(before, micros);
        let own = world.cpu(me)?.each(own_before, micros);
        world.catch_up(engine).await?;
        Ok(Found {
            name: self.name,
            rate,
            behind,
            caught_up_seconds: ended.elapsed().as_secs_f64(),
            cores,
            cores_of_bench: own.ours,
            memory_bytes_max: processes::memory_max(engine.pid())?,
            answers,
        })
    }
}
