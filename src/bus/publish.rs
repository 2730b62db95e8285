//! Publishes events and waits for the stream's acknowledgement of each, with many on their way.

use std::collections::VecDeque;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;

/// Acknowledgements that may be outstanding; below the client's own limit of 5,000.
const OUTSTANDING_MAX: usize = 2_048;

/// Publishes in order. [`Publisher::finish`] must be called to know that all was stored.
pub struct Publisher {
    jetstream: Context,
    outstanding: VecDeque<PublishAckFuture>,
    stored: u64,
}

impl Publisher {
    pub fn new(client: async_nats::Client) -> Self {
        let jetstream = jetstream::new(client);
        Self { jetstream, outstanding: VecDeque::with_capacity(OUTSTANDING_MAX), stored: 0 }
    }

    /// Hands an event to the stream that captures `subject`.
    ///
    /// # Errors
    /// If this or an earlier event was not stored.
    pub async fn publish(&mut self, subject: String, payload: Bytes) -> anyhow::Result<()> {
        while self.outstanding.len() >= OUTSTANDING_MAX {
            self.settle().await?;
        }
        let acknowledgement = self.jetstream.publish(subject, payload).await?;
        self.outstanding.push_back(acknowledgement);
        Ok(())
    }

    /// Waits until everything is stored, and says how many events that were.
    ///
    /// # Errors
    /// If an event was not stored.
    pub async fn finish(mut self) -> anyhow::Result<u64> {
        while !self.outstanding.is_empty() {
            self.settle().await?;
        }
        Ok(self.stored)
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        let Some(acknowledgement) = self.outstanding.pop_front() else { return Ok(()) };
        acknowledgement.await.map_err(|error| {
            anyhow::anyhow!(
                "event {} was not stored by the stream: {error}; does a stream capture its subject? \
                 (`prooftally stream info`)",
                self.stored + 1
            )
        })?;
        self.stored += 1;
        Ok(())
    }
}
