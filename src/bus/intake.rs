//! The intake: reads the stream, cuts chunks and sends each brand its slice.
//!
//! A task, not an actor. It takes a credit before it reads, so a slow database stands it still; and it
//! has one way to recover from anything: drop the subscription, wait for what is in flight, read the
//! cursor, begin again after it.

use std::sync::Arc;
use std::time::Duration;

use billing::receipt::Reason;
use ractor::ActorRef;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::Bus;
use super::caution::{Caution, STRETCH};
use super::identity;
use super::pace::Pace;
use super::proof::{self, Witnessed};
use super::pull::{self, Delivery, Doubt, Pull};
use super::requests::Bell;
use super::sorter::{NewName, Sorter};
use super::witness::Witness;
use crate::actors::archive::Archive;
use crate::actors::chunk::{Chunk, ChunkBuilder, Rejected, Source};
use crate::actors::flight::{Credit, Flight};
use crate::actors::ledger::LedgerMsg;
use crate::actors::refusals::{Care, Refusals};
use crate::store::backoff::Backoff;
use crate::store::cursor::{self, Place};
use crate::store::{self, Store, gaps};
use crate::telemetry::health::{Component, Health};
use crate::telemetry::metrics::Metrics;

/// Limits of a chunk and of what is in flight.
#[derive(Clone, Debug)]
pub struct Config {
    pub pull: pull::Config,
    pub chunk_messages_max: usize,
    pub chunk_bytes_max: usize,
    /// Chunks between intake and commit.
    pub credits: usize,
    /// The stream that the one that is read is a mirror of, if it is one.
    pub origin: Option<String>,
    /// How often it is looked whether the stream is still the one that was metered.
    pub identity_every: Duration,
}

/// Everything that the intake works with.
pub struct Intake {
    pub config: Config,
    pub bus: Bus,
    pub store: Store,
    pub sorter: Sorter,
    pub flight: Flight,
    pub archive: Archive,
    pub ledger: ActorRef<LedgerMsg>,
    pub bell: Bell,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub stop: watch::Receiver<bool>,
    pub credits: Arc<Semaphore>,
    /// The fence of this life.
    pub fence: i64,
    /// Not known before this life begins to meter.
    pub caution: Option<Caution>,
    pub witness: Witness,
    /// The last commit of this process.
    pub committed: watch::Receiver<Option<Place>>,
    /// Where the cursor was when this life last began to read.
    pub sure_of: Option<Place>,
    /// The last position is in a gap, and the message after it has not been seen.
    pub follows_gap: bool,
    /// The stream is not the one that was metered.
    pub in_doubt: bool,
    /// What the database has refused.
    pub refusals: Refusals,
}

impl Intake {
    /// Reads until it is told to stop. Waits for as long as the bus or the database is away.
    ///
    /// # Errors
    /// If the database refuses something that it should not.
    pub async fn run(mut self) -> Result<(), store::Error> {
        const WAIT_FIRST: Duration = Duration::from_millis(50);
        const WAIT_MAX: Duration = Duration::from_secs(5);
        let mut wait = WAIT_FIRST;
        // How often reading has begun at this position and in vain.
        let (mut position, mut in_vain) = (-1, 0);
        while !*self.stop.borrow() {
            self.flight.idle().await;
            // Before the cursor, so that it cannot seem to be ahead of a cursor that was read earlier.
            let witnessed = self.witnessed().await;
            let Some(cursor) = self.cursor().await? else { continue };
            if cursor.sequence != position {
                (position, in_vain, wait) = (cursor.sequence, 0, WAIT_FIRST);
            }
            let Err(doubt) = self.read_from(&cursor, witnessed).await else { return Ok(()) };
            in_vain += 1;
            if in_vain >= UNREADABLE_FROM && self.reject_unreadable(&cursor).await {
                continue;
            }
            self.metrics.recovered();
            match doubt {
                // The bus answers, and what it says is told as the stream's ill.
                Doubt::Identity(_) | Doubt::Mirror(_) => self.health.well(Component::Bus),
                _ => self.health.ill(Component::Bus, doubt.to_string()),
            }
            tracing::warn!(%doubt, wait_ms = wait.as_millis(), "reading begins again at the cursor");
            self.serve_requests(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
        Ok(())
    }

    /// Reads after the cursor until told to stop, or until there is any doubt.
    async fn read_from(
        &mut self,
        cursor: &cursor::Cursor,
        witnessed: Result<Witnessed, Doubt>,
    ) -> Result<(), Doubt> {
        let witnessed = witnessed?;
        let epoch = cursor.epoch;
        let state = self.check_identity(cursor).await?;
        self.check_commits(&witnessed, cursor).await?;
        self.follows_gap = gaps::awaits_next(&self.store.pool, epoch, cursor.sequence)
            .await
            .map_err(|error| Doubt::Recording(error.to_string()))?;
        let Some(credit) = self.credit().await else { return Ok(()) };
        let (position, _) =
            self.skip_what_is_gone(epoch, cursor.sequence, state.last, credit).await?;
        let mut pull = Pull::open(&self.bus, &self.config.pull, epoch, position + 1).await?;
        self.health.well(Component::Bus);
        tracing::info!(after = position, "reading the stream");
        self.read(&mut pull, epoch, position).await
    }

    /// Waits, and meanwhile carries out what operators ask for; less if told to stop, or if the doubt is
    /// gone by that.
    async fn serve_requests(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        let was_in_doubt = self.in_doubt;
        while self.in_doubt == was_in_doubt {
            tokio::select! {
                () = stopped(&mut self.stop) => return,
                () = tokio::time::sleep_until(until) => return,
                () = self.bell.rung() => {}
            }
            let Some(credit) = self.credit().await else { return };
            self.run_errands(credit).await;
        }
    }

    /// Lets a chunk fly that rejects the message after the cursor, if that is one which the client
    /// cannot be sent. True if it is.
    async fn reject_unreadable(&mut self, cursor: &cursor::Cursor) -> bool {
        let sequence = cursor.sequence + 1;
        let stream = &self.config.pull.stream;
        let found = identity::unreadable(&self.bus.jetstream, stream, sequence).await;
        let Some(message) = found else { return false };
        tracing::warn!(sequence, "a message whose subject is not UTF-8 is rejected");
        let Some(credit) = self.credit().await else { return false };
        let mut builder = ChunkBuilder::new(self.flight.number(), cursor.epoch, STREAM_SOURCE);
        let stored_at = message.time;
        builder.reject(Rejected {
            sequence,
            stored_at,
            subject: message.subject.to_string(),
            reason: Reason::Subject,
            detail: "the subject is not UTF-8".to_owned(),
            brand_id: None,
            receipt_id: None,
            raw: message.payload,
        });
        let stored_at = Some(stored_at);
        let source = Source::Stream { before: cursor.sequence, last: sequence, stored_at };
        self.fly(builder.finish(source, None), credit).await.is_ok()
    }

    /// Reads, chunk by chunk, after `position`. Ends without error when told to stop.
    async fn read(&mut self, pull: &mut Pull, epoch: i32, mut position: i64) -> Result<(), Doubt> {
        let mut checks = tokio::time::interval(self.config.identity_every);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one completes at once, and reading has begun with a look.
        checks.tick().await;
        let mut waiting = None;
        let mut pace = Pace::default();
        loop {
            self.wait_for_sealing().await;
            let Some(credit) = self.credit().await else { return Ok(()) };
            let first = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Ok(()),
                () = self.bell.rung() => {
                    self.run_errands(credit).await;
                    continue;
                }
                _ = checks.tick() => {
                    position = self.look_again(epoch, position, &mut waiting, credit).await?;
                    continue;
                }
                first = pull.next() => first?,
            };
            pace.begin().await;
            self.look_out().await?;
            let care = self.refusals.care(position);
            if care != Care::None {
                // Alone in flight, so that it is clear what is refused.
                self.flight.idle().await;
            }
            // Unconstrained, since tokio's budget would end a chunk after 128 messages.
            let deliveries = tokio::task::unconstrained(self.gather(pull, first, &care)).await?;
            position = self.chunk(epoch, position, deliveries, (credit, care)).await?;
        }
    }

    /// Finds out, before the first chunk of this life, how the lives before it have ended; and while
    /// there is cause for caution lets each chunk commit before the next one begins.
    async fn look_out(&mut self) -> Result<(), Doubt> {
        if self.caution.is_none() {
            let lives = cursor::note_life(&self.store.pool, self.fence, STRETCH)
                .await
                .map_err(|error| Doubt::Caution(error.to_string()))?;
            let caution = Caution::after(lives, self.config.chunk_messages_max);
            if caution != Caution::None {
                tracing::warn!(?lives, ?caution, "earlier lives have ended here; going carefully");
            }
            self.caution = Some(caution);
        }
        if self.caution() != Caution::None {
            self.flight.idle().await;
        }
        Ok(())
    }

    fn caution(&self) -> Caution {
        self.caution.unwrap_or(Caution::None)
    }

    /// Takes what is there, here or in the stream, up to the limits of a chunk, and at least one message.
    async fn gather(
        &self,
        pull: &mut Pull,
        first: Delivery,
        care: &Care,
    ) -> Result<Vec<Delivery>, Doubt> {
        let mut bytes = first.payload.len();
        let mut deliveries = vec![first];
        let messages_max = self.caution().messages_max(self.config.chunk_messages_max);
        let messages_max = match care {
            Care::None => messages_max,
            Care::Small(messages) => messages_max.min(*messages),
            Care::Refuse(_) => 1,
        };
        if bytes < self.config.chunk_bytes_max {
            pull.fetch(messages_max.saturating_sub(1)).await?;
        }
        while deliveries.len() < messages_max && bytes < self.config.chunk_bytes_max {
            let Some(delivery) = pull.more().await? else { break };
            bytes += delivery.payload.len();
            deliveries.push(delivery);
        }
        Ok(deliveries)
    }

    /// Makes the chunk of `deliveries` and lets it fly. Returns its last position.
    async fn chunk(
        &mut self,
        epoch: i32,
        before: i64,
        deliveries: Vec<Delivery>,
        (credit, care): (Credit, Care),
    ) -> Result<i64, Doubt> {
        let mut builder = ChunkBuilder::new(self.flight.number(), epoch, STREAM_SOURCE);
        builder.reserve(deliveries.len());
        if let Some(first) = deliveries.first().filter(|_| self.follows_gap) {
            builder.ends_gap(first.stored_at);
            self.follows_gap = false;
        }
        let (mut last, mut stored_at, mut ack) = (before, None, None);
        for (index, delivery) in deliveries.iter().enumerate() {
            let sequence = delivery.sequence;
            if sequence <= last {
                return Err(Doubt::Backwards { position: last, found: sequence });
            }
            if sequence > last + 1 {
                self.miss(&mut builder, epoch, last + 1, delivery).await?;
            }
            if let Caution::Poison { lives } = self.caution() {
                tracing::error!(
                    sequence,
                    lives,
                    "the event that ends the engine is rejected unread"
                );
                self.sorter.poison(&mut builder, delivery, lives);
            } else if let Care::Refuse(why) = &care {
                let why_not = &why.detail;
                tracing::error!(
                    sequence,
                    why = why_not,
                    "an event that the database refuses is rejected"
                );
                self.sorter.refuse(&mut builder, delivery, why);
            } else {
                while let Err(NewName) = self.sorter.sort(&mut builder, epoch, delivery) {
                    // All that is new in the rest of the chunk is numbered at once.
                    self.number_names(&deliveries[index..]).await?;
                }
            }
            last = sequence;
            stored_at = Some(delivery.stored_at);
            ack = Some(delivery.reply.clone());
            builder.waiting(delivery.pending);
        }
        self.caution = Some(self.caution().at(last));
        proof::tell(builder.gaps());
        let source = Source::Stream { before, last, stored_at };
        self.fly(builder.finish(source, ack), credit)
            .await
            .map_err(|error| Doubt::Archive(error.to_string()))?;
        Ok(last)
    }

    /// Looks the chunk up in the archive and lets it fly. Waits for as long as the database is away.
    ///
    /// # Errors
    /// If the database refuses; the chunk is gone, its positions are read again.
    pub(super) async fn fly(&self, chunk: Chunk, credit: Credit) -> Result<(), store::Error> {
        let chunk = self.look_up(chunk).await?;
        self.flight.begin(chunk, credit);
        Ok(())
    }

    /// What sealed segments know of the chunk; see [`Self::fly`].
    pub(super) async fn look_up(&self, mut chunk: Chunk) -> Result<Chunk, store::Error> {
        let mut wait = Backoff::default();
        chunk.archived = loop {
            match self.archive.find(&self.store, &chunk).await {
                Ok(found) => break found,
                Err(store::Error::Unavailable(error)) => {
                    let why = format!("sealed segments cannot be looked up: {error}");
                    self.health.ill(Component::Database, why);
                    wait.pause().await;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(chunk)
    }

    /// Stands still while more full segments wait to be sealed than their keys should be in memory.
    /// What operators ask for is carried out meanwhile: it may be the repair that sealing waits for.
    async fn wait_for_sealing(&mut self) {
        while self.archive.is_behind() {
            let why = "reading waits until full segments of the ledger are sealed";
            self.health.ill(Component::Sealing, why);
            tracing::warn!(unsealed = ?self.archive.unsealed(), why);
            let Some(credit) = self.credit().await else { return };
            tokio::select! {
                () = stopped(&mut self.stop) => return,
                () = self.archive.catch_up() => {}
                () = self.bell.rung() => self.run_errands(credit).await,
            }
        }
        self.health.well(Component::Sealing);
    }

    async fn number_names(&self, deliveries: &[Delivery]) -> Result<(), Doubt> {
        let metered = deliveries.iter().filter(|delivery| self.sorter.is_metered(delivery));
        let payloads = metered.map(|delivery| (&delivery.payload, delivery.stored_at));
        self.sorter
            .number_names(&self.store, payloads, &self.health)
            .await
            .map_err(|error| Doubt::Numbering(error.to_string()))
    }

    /// A credit, or nothing if told to stop.
    pub(super) async fn credit(&mut self) -> Option<Credit> {
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => None,
            permit = Arc::clone(&self.credits).acquire_owned() => {
                Some(Credit(permit.expect("nobody closes the semaphore")))
            }
        }
    }

    /// The cursor, or nothing if the database was away and some time has passed.
    async fn cursor(&mut self) -> Result<Option<cursor::Cursor>, store::Error> {
        match cursor::read(&self.store.pool).await {
            Ok(cursor) if cursor.fence != self.fence => {
                Err(store::Error::Stale { fence: self.fence })
            }
            Ok(cursor) => {
                self.health.well(Component::Database);
                Ok(Some(cursor))
            }
            Err(store::Error::Unavailable(error)) => {
                self.health.ill(Component::Database, format!("the cursor cannot be read: {error}"));
                self.pause(Duration::from_millis(500)).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits, or less if told to stop.
    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = stopped(&mut self.stop) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// After so many recoveries at one position it is looked at by another way.
const UNREADABLE_FROM: u32 = 3;

/// The ledger's number for a row that came from the stream.
pub(super) const STREAM_SOURCE: i16 = 0;

/// Completes when the engine wants the intake to stop, also if it has gone itself.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
