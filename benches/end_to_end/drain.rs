//! L1: reads the stream with the product's own consumer, acknowledges, and does nothing else.

use bytes::Bytes;
use prooftally::bus;

use crate::contestant::{Order, Outcome, Watch};

pub async fn run(order: &Order) -> anyhow::Result<Outcome> {
    let config = order.config();
    let bus = bus::connect(&config.bus, false).await?;
    let mut pull = crate::open(&bus, &config).await?;
    let watch = Watch::start(order)?;
    let mut events = 0;
    while events < order.case.count {
        let mut last = pull.next().await?;
        events += 1;
        // As the intake does: tokio's budget would end a chunk after 128 messages.
        let chunk = async {
            for _ in 1..order.chunk {
                pull.ask().await?;
                let Some(delivery) = pull.ready()? else { break };
                last = delivery;
                events += 1;
            }
            anyhow::Ok(())
        };
        tokio::task::unconstrained(chunk).await?;
        bus.client.publish(last.reply, Bytes::new()).await?;
    }
    let outcome = watch.stop(events)?;
    bus.client.flush().await?;
    Ok(outcome)
}
