//! Sorts messages into a chunk: a receipt for its brand, a rejection with its reason, or nothing that
//! is billed. Numbers what is new before.

use std::collections::BTreeSet;
use std::sync::Arc;

use billing::ids::Predicate;
use billing::receipt::{Reason, Refusal};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::decode::{self, Limits};
use super::pull::Delivery;
use crate::actors::chunk::{ChunkBuilder, Rejected, RunKind};
use crate::actors::directory::Directory;
use crate::failpoint;
use crate::store::backoff::Backoff;
use crate::store::brands;
use crate::store::{self, Store};
use crate::telemetry::health::{Component, Health};

/// Which subjects mean what, and limits of what is accepted.
#[derive(Clone, Debug)]
pub struct Config {
    /// Metered: this subject and all below it.
    pub verified: String,
    /// Tallied: this subject and all below it.
    pub failed: String,
    pub limits: Limits,
    pub brands_max: usize,
    pub default_zone: Tz,
    pub predicates_max: usize,
}

/// Sorts messages by the directory.
pub struct Sorter {
    pub config: Config,
    pub directory: Arc<Directory>,
}

/// The message names a brand or a predicate that has no number yet: [`Sorter::number_names`] gives
/// it one, and then it can be sorted.
#[derive(Debug)]
pub struct NewName;

/// Why a payload was not counted.
pub enum NotCounted {
    NewName,
    Refused(Refusal),
}

impl Sorter {
    /// Sorts a message of the stream into the chunk.
    ///
    /// # Errors
    /// [`NewName`], and the chunk is as before.
    pub fn sort(
        &self,
        chunk: &mut ChunkBuilder,
        epoch: i32,
        delivery: &Delivery,
    ) -> Result<(), NewName> {
        let Delivery { sequence, stored_at, payload, .. } = delivery;
        failpoint::at(|| format!("sort {}", delivery.subject));
        if is_below(&delivery.subject, &self.config.verified) {
            let refusal = if delivery.is_encoded {
                Refusal::new(Reason::Encoding, "the event has a Content-Encoding")
            } else {
                match self.count(chunk, (epoch, *sequence), payload, *stored_at) {
                    Ok(()) => return Ok(()),
                    Err(NotCounted::NewName) => return Err(NewName),
                    Err(NotCounted::Refused(refusal)) => refusal,
                }
            };
            chunk.reject(self.rejected(delivery, refusal));
            return Ok(());
        }
        if is_below(&delivery.subject, &self.config.failed) {
            chunk.fail(decode::failure(payload, *stored_at, &self.config.limits));
        }
        chunk.run(*sequence, *sequence, RunKind::Ignored);
        Ok(())
    }

    /// Rejects a message unread: each life of the engine that read it has ended before its commit.
    pub fn poison(&self, chunk: &mut ChunkBuilder, delivery: &Delivery, lives: i32) {
        let text = format!("{lives} lives of the engine ended before they could commit it");
        chunk.reject(Rejected {
            sequence: delivery.sequence,
            stored_at: delivery.stored_at,
            subject: printable(&delivery.subject),
            reason: Reason::Poison,
            detail: text,
            brand_id: None,
            receipt_id: None,
            raw: delivery.payload.clone(),
        });
    }

    /// Rejects a message that the database does not take, for the reason that it gives.
    pub fn refuse(&self, chunk: &mut ChunkBuilder, delivery: &Delivery, why: &Refusal) {
        chunk.reject(self.rejected(delivery, why.clone()));
    }

    /// True if the message is metered, so that its names may be numbered.
    pub fn is_metered(&self, delivery: &Delivery) -> bool {
        !delivery.is_encoded && is_below(&delivery.subject, &self.config.verified)
    }

    /// Reads a payload and adds it to the chunk if it can be counted.
    ///
    /// # Errors
    /// Why it was not; the chunk is as before.
    pub fn count(
        &self,
        chunk: &mut ChunkBuilder,
        position: (i32, i64),
        payload: &Bytes,
        stored_at: DateTime<Utc>,
    ) -> Result<(), NotCounted> {
        decode::receipt(payload, stored_at, &self.config.limits, |receipt| {
            let brand = self.directory.brand(receipt.brand).ok_or_else(|| self.no_brand())?;
            let predicate_no = self
                .directory
                .predicate_no(receipt.predicate)
                .ok_or_else(|| self.no_predicate())?;
            chunk.count(position, receipt, &brand, predicate_no, (payload.clone(), stored_at));
            Ok(())
        })
        .map_err(NotCounted::Refused)?
    }

    /// Numbers the new brands and predicates of `payloads`, up to their limits, with one statement
    /// each. Waits for as long as the database is away.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn number_names<'a>(
        &self,
        store: &Store,
        payloads: impl Iterator<Item = (&'a Bytes, DateTime<Utc>)>,
        health: &Health,
    ) -> Result<(), store::Error> {
        let new = self.new_names(payloads);
        let mut wait = Backoff::default();
        loop {
            match self.number(store, &new).await {
                Err(store::Error::Unavailable(error)) => {
                    health.ill(Component::Database, format!("brands cannot be numbered: {error}"));
                    wait.pause().await;
                }
                outcome => return outcome,
            }
        }
    }

    fn no_brand(&self) -> NotCounted {
        if self.directory.brand_count() < self.config.brands_max {
            return NotCounted::NewName;
        }
        let text = "there are as many brands as brands.auto_create_max allows";
        NotCounted::Refused(Refusal::new(Reason::UnknownBrand, text))
    }

    fn no_predicate(&self) -> NotCounted {
        if self.directory.predicate_count() < self.config.predicates_max {
            return NotCounted::NewName;
        }
        let text = "there are as many predicates as intake.predicates_max allows";
        NotCounted::Refused(Refusal::new(Reason::UnknownPredicate, text))
    }

    fn new_names<'a>(
        &self,
        payloads: impl Iterator<Item = (&'a Bytes, DateTime<Utc>)>,
    ) -> NewNames {
        let mut new = NewNames::default();
        for (payload, stored_at) in payloads {
            // What cannot be read has no name to number; sorting says why.
            let _ = decode::receipt(payload, stored_at, &self.config.limits, |receipt| {
                if self.directory.brand(receipt.brand).is_none() {
                    new.brands.insert(receipt.brand.to_owned());
                }
                if self.directory.predicate_no(receipt.predicate).is_none() {
                    let Predicate { name, version } = receipt.predicate;
                    new.predicates.insert((name.to_owned(), version.to_owned()));
                }
            });
        }
        new
    }

    async fn number(&self, store: &Store, new: &NewNames) -> Result<(), store::Error> {
        let room = self.config.brands_max.saturating_sub(self.directory.brand_count());
        let wanted: Vec<&str> = new.brands.iter().map(String::as_str).take(room).collect();
        if !wanted.is_empty() {
            let brands = brands::ensure(&store.pool, &wanted, self.config.default_zone).await?;
            self.directory.add_brands(brands);
        }
        let room = self.config.predicates_max.saturating_sub(self.directory.predicate_count());
        let wanted: Vec<Predicate<'_>> = new
            .predicates
            .iter()
            .map(|(name, version)| Predicate { name, version })
            .take(room)
            .collect();
        if !wanted.is_empty() {
            let predicates = brands::ensure_predicates(&store.pool, &wanted).await?;
            self.directory.add_predicates(predicates);
        }
        Ok(())
    }

    /// The receipt's id, if it can be told.
    pub(super) fn receipt_id(&self, payload: &[u8]) -> Option<String> {
        decode::names(payload, &self.config.limits).1
    }

    fn rejected(&self, delivery: &Delivery, refusal: Refusal) -> Rejected {
        let (brand_id, receipt_id) = decode::names(&delivery.payload, &self.config.limits);
        Rejected {
            sequence: delivery.sequence,
            stored_at: delivery.stored_at,
            subject: printable(&delivery.subject),
            reason: refusal.reason,
            detail: refusal.detail,
            brand_id,
            receipt_id,
            raw: delivery.payload.clone(),
        }
    }
}

/// A subject as it can be stored and shown: NATS lets control characters pass, PostgreSQL not all.
fn printable(subject: &str) -> String {
    subject.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[derive(Default)]
struct NewNames {
    brands: BTreeSet<String>,
    predicates: BTreeSet<(String, String)>,
}

/// True for `parent` and every subject below it.
fn is_below(subject: &str, parent: &str) -> bool {
    subject.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
