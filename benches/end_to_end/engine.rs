//! prooftally itself: the whole engine, from the first commit to the last.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use prooftally::config::Config;
use prooftally::engine::{self, Engine};
use prooftally::store::{Store, cursor};
use prooftally::workload::Truth;

use crate::contestant::{Order, Outcome, Watch};
use crate::metered;

/// Seldom enough to cost nothing; the rate is off by this much at most.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub async fn run(order: &Order) -> anyhow::Result<Outcome> {
    // The schema is there before, as it is in production, so that the cursor can be looked at.
    let store = order.store()?;
    store.migrate().await?;
    let mut connection = store.connect().await?;
    let mut engine = Engine::start(order.config()).await?;
    let started = Instant::now();
    let last = i64::try_from(order.case.count)?;
    let before = cursor::read(&mut connection).await?.sequence;
    let (mut begun, mut position) = (None, before);
    let mut first_commit_seconds = 0.0;
    while position < last || !metered::is_done(&mut connection).await? {
        tokio::select! {
            () = engine.failed() => anyhow::bail!("the engine has ended"),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        position = cursor::read(&mut connection).await?.sequence;
        if position > before && begun.is_none() {
            first_commit_seconds = started.elapsed().as_secs_f64();
            begun = Some((position, Watch::start(order)?));
        }
    }
    let (first, watch) = begun.context("nothing was committed")?;
    let outcome = watch.stop(u64::try_from(last - first)?)?;
    engine.stop().await;
    Ok(Outcome { first_commit_seconds, ..outcome })
}

/// Where what was counted differs from the truth, or does not add up.
pub async fn faults(database_url: &str, truth: &Truth) -> anyhow::Result<Vec<String>> {
    let mut config = Config::default();
    config.database.url = database_url.into();
    let store = Store::new(&engine::store_config(&config))?;
    let faults = metered::faults(&store, truth).await?;
    store.pool.close().await;
    Ok(faults)
}
