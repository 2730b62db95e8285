//! Workloads: events made from a seed, and the exact result that metering them must have.
//!
//! The same [`Spec`] gives the same bytes for ever; a test holds them. Shares are exact: the kinds
//! are dealt like cards, without putting back. A repeated event repeats the *first* event of its
//! receipt, which is drawn again from its number, so memory does not grow with the events.
//!
//! [`spec`] says what to make, `proof` what was verified, `shape` and `malformed` write the bytes,
//! `tally` counts the [`truth`], [`mod@line`] puts an event on a line of a file.

mod draw;
pub mod line;
mod malformed;
mod names;
mod proof;
mod shape;
pub mod spec;
mod tally;
pub mod truth;

use bytes::Bytes;

use draw::{Draw, Series};
use malformed::FAULTS;
use proof::{Proof, Source, Telling};
use shape::{Field, Fields, Outcome};
pub use spec::{Error, Percent, Spec};
use tally::Tally;
pub use truth::{FailedRow, Totals, Truth, UsageRow};

/// How far back a repeated event mostly reaches, in receipts.
const NEAR: u64 = 10_000;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first event of its receipt.
    Counted,
    /// The bytes of an earlier event again.
    Duplicate,
    /// An earlier receipt in a new event.
    Reemitted,
    /// An earlier receipt id with another content.
    Conflict,
    /// Cannot be counted, for this reason.
    Malformed(&'static str),
    /// A proof that failed.
    Failed,
}

/// An event that borrows the generator's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `proofs.verified` or `proofs.failed`; the latter where the kind is [`Kind::Failed`].
    pub subject: &'static str,
    pub payload: &'a [u8],
    pub kind: Kind,
}

/// An event that stands by itself.
#[derive(Clone, Debug)]
pub struct OwnedEvent {
    pub subject: &'static str,
    pub payload: Bytes,
    pub kind: Kind,
}

/// Makes the events of a spec one after the other. As an iterator it gives [`OwnedEvent`]s;
/// [`Generator::next_event`] lends its buffer instead.
pub struct Generator {
    source: Source,
    order: Draw,
    old_duplicate: Percent,
    /// Events still to come, by kind: the places are named below.
    left: [u64; 6],
    /// Events made so far, likewise.
    made: [u64; 6],
    tally: Tally,
    fields: Fields,
    buffer: Vec<u8>,
}

/// Places in [`Generator::left`].
const ORIGINAL: usize = 0;
const DUPLICATE: usize = 1;
const REEMITTED: usize = 2;
const CONFLICT: usize = 3;
const MALFORMED: usize = 4;
const FAILED: usize = 5;

impl Generator {
    /// # Errors
    /// If the spec asks for what cannot be.
    pub fn new(spec: &Spec) -> Result<Self, Error> {
        let quotas = spec.quotas()?;
        let mut left = [0; 6];
        left[ORIGINAL] = quotas.originals;
        left[DUPLICATE] = quotas.duplicates;
        left[REEMITTED] = quotas.reemitted;
        left[CONFLICT] = quotas.conflicts;
        left[MALFORMED] = quotas.malformed;
        left[FAILED] = quotas.failed;
        Ok(Self {
            source: Source::new(spec, &quotas),
            order: Draw::new(spec.seed, Series::Order, 0),
            old_duplicate: spec.old_duplicate,
            left,
            made: [0; 6],
            tally: Tally::new(spec.zone),
            fields: Fields::default(),
            buffer: Vec::with_capacity(1_024),
        })
    }

    /// Events still to come.
    pub fn remaining(&self) -> u64 {
        self.left.iter().sum()
    }

    /// What metering the events made so far must come to.
    pub fn truth(&self) -> Truth {
        self.tally.truth()
    }

    /// The next event, which borrows the generator's buffer; `None` after the last.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        let deal = self.deal()?;
        let number = self.made[deal];
        self.left[deal] -= 1;
        self.made[deal] += 1;
        self.buffer.clear();
        let kind = match deal {
            ORIGINAL => self.original(number),
            DUPLICATE => self.duplicate(),
            REEMITTED => self.reemitted(number),
            CONFLICT => self.conflict(number),
            MALFORMED => self.malformed(number),
            _ => self.failed(number),
        };
        let outcome = if kind == Kind::Failed { Outcome::Failed } else { Outcome::Verified };
        Some(Event { subject: outcome.subject(), payload: &self.buffer, kind })
    }

    /// Which kind comes next. While nothing can be repeated a receipt comes in the place of a
    /// repetition.
    fn deal(&mut self) -> Option<usize> {
        let left = self.remaining();
        if left == 0 {
            return None;
        }
        let mut card = self.order.below(left);
        let dealt = self.left.iter().position(|left| match card.checked_sub(*left) {
            Some(rest) => {
                card = rest;
                false
            }
            None => true,
        })?;
        let repeats = matches!(dealt, DUPLICATE | REEMITTED | CONFLICT);
        Some(if repeats && self.made[ORIGINAL] == 0 { ORIGINAL } else { dealt })
    }

    /// The number of a receipt that was sent before.
    fn earlier(&mut self) -> u64 {
        let sent = self.made[ORIGINAL];
        let reach = if self.order.chance(self.old_duplicate) { sent } else { sent.min(NEAR) };
        sent - 1 - self.order.below(reach)
    }

    fn original(&mut self, number: u64) -> Kind {
        let (proof, telling) = self.source.original(number);
        self.tally.counted(&proof, proof.result || !telling.result);
        self.write(&proof, telling);
        Kind::Counted
    }

    fn duplicate(&mut self) -> Kind {
        let of = self.earlier();
        let (proof, telling) = self.source.original(of);
        self.tally.duplicate(&proof, proof.result || !telling.result);
        self.write(&proof, telling);
        Kind::Duplicate
    }

    fn reemitted(&mut self, number: u64) -> Kind {
        let of = self.earlier();
        let (proof, telling) = self.source.reemission(number, of);
        self.tally.duplicate(&proof, proof.result || !telling.result);
        self.write(&proof, telling);
        Kind::Reemitted
    }

    fn conflict(&mut self, number: u64) -> Kind {
        let of = self.earlier();
        let (proof, telling) = self.source.conflict(number, of);
        self.tally.conflict();
        self.write(&proof, telling);
        Kind::Conflict
    }

    fn malformed(&mut self, number: u64) -> Kind {
        let (proof, mut telling) = self.source.unspoilt(number, self.made[ORIGINAL]);
        let fault = &FAULTS[(number % FAULTS.len() as u64) as usize];
        self.tally.rejected(fault.reason);
        malformed::write(fault, &proof, &mut telling, &mut self.fields, &mut self.buffer);
        Kind::Malformed(fault.reason)
    }

    fn failed(&mut self, number: u64) -> Kind {
        let mut failure = self.source.failure(number, self.made[ORIGINAL]);
        self.tally.failed(&failure);
        self.fields.tell(&failure.proof, &failure.telling);
        self.fields.put_text(Field::ErrorCode, failure.error_code);
        if !failure.names_receipt {
            self.fields.put(Field::ReceiptId, b"");
        }
        let Telling { shape, noise, .. } = &mut failure.telling;
        shape::write(*shape, Outcome::Failed, &self.fields, noise, &mut self.buffer);
        Kind::Failed
    }

    fn write(&mut self, proof: &Proof, mut telling: Telling) {
        self.fields.tell(proof, &telling);
        let noise = &mut telling.noise;
        shape::write(telling.shape, Outcome::Verified, &self.fields, noise, &mut self.buffer);
    }
}

impl Iterator for Generator {
    type Item = OwnedEvent;

    fn next(&mut self) -> Option<OwnedEvent> {
        let Event { subject, payload, kind } = self.next_event()?;
        Some(OwnedEvent { subject, payload: Bytes::copy_from_slice(payload), kind })
    }
}

#[cfg(test)]
mod tests;
