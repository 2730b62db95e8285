//! A brand's actor: decides for each event of its brand whether it is counted.
//!
//! The actor is a mailbox around [`BrandMeter`]. The meter owns only the tentative keys of chunks in
//! flight; what is committed it reads from [`Keys`], and what is in sealed segments from
//! the chunk.

use std::collections::VecDeque;
use std::sync::Arc;

use billing::receipt::ReceiptKey;
use billing::usage::usage_day;
use chrono::NaiveDate;
use hashbrown::HashMap;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::chunk::{Candidate, Chunk, ChunkNo};
use super::flight::Flight;
use super::keys::{Counted, Keys};
use crate::failpoint;
use crate::store::commit::UsageDelta;

/// What a brand answers for its slice of a chunk.
#[derive(Debug, Default)]
pub struct Answer {
    /// One for each candidate of the slice, in order.
    pub verdicts: Vec<Verdict>,
    pub usage: Vec<UsageDelta>,
}

/// What becomes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Counted {
        usage_day: NaiveDate,
    },
    /// The receipt was counted before, with the same content.
    Duplicate,
    /// The receipt was counted before and the digests differ: the ledger compares the contents and
    /// makes it a duplicate, in the usage of this day, or a conflict.
    Suspect {
        usage_day: NaiveDate,
    },
    /// The brand failed on it again and again: it is kept and not decided.
    Parked,
}

impl Answer {
    /// What stands for a brand that cannot answer.
    pub fn parked(candidates: usize) -> Self {
        Self { verdicts: vec![Verdict::Parked; candidates], usage: Vec::new() }
    }
}

/// Decides about a brand's events. Synchronous, and tested without an actor.
pub struct BrandMeter {
    brand_no: i32,
    keys: Keys,
    /// Keys counted in chunks that are not yet committed, oldest chunk first.
    tentative: VecDeque<(ChunkNo, HashMap<ReceiptKey, Tentative>)>,
}

#[derive(Clone, Copy)]
struct Tentative {
    epoch: i32,
    sequence: i64,
    digest: u64,
}

impl BrandMeter {
    pub fn new(brand_no: i32, keys: Keys) -> Self {
        Self { brand_no, keys, tentative: VecDeque::new() }
    }

    /// Decides about the slice. `committed` is the last chunk whose keys are in the shared map.
    pub fn meter(&mut self, chunk: &Chunk, slice: usize, committed: ChunkNo) -> Answer {
        self.forget(committed);
        let slice = &chunk.slices[slice];
        let mut counted = HashMap::with_capacity(slice.candidates.len());
        let mut usage = Vec::with_capacity(slice.candidates.len());
        let mut verdicts = Vec::with_capacity(slice.candidates.len());
        for &index in &slice.candidates {
            let candidate = &chunk.candidates[index as usize];
            let day = usage_day(candidate.verified_at, slice.brand.zone);
            let archived = chunk.archived.get(&index).copied();
            let verdict = match self.seen(candidate, &counted, archived) {
                None => {
                    counted.insert(candidate.key, Tentative::of(candidate));
                    Verdict::Counted { usage_day: day }
                }
                Some(digest) if digest == candidate.digest => Verdict::Duplicate,
                Some(_) => Verdict::Suspect { usage_day: day },
            };
            let (receipts, duplicates) = match verdict {
                Verdict::Counted { .. } => (1, 0),
                Verdict::Duplicate => (0, 1),
                Verdict::Suspect { .. } | Verdict::Parked => (0, 0),
            };
            if receipts + duplicates > 0 {
                usage.push(UsageDelta {
                    brand_no: self.brand_no,
                    usage_day: day,
                    predicate_no: candidate.predicate_no,
                    result: candidate.result,
                    receipts,
                    duplicates,
                });
            }
            verdicts.push(verdict);
        }
        self.tentative.push_back((chunk.no, counted));
        UsageDelta::merge(&mut usage);
        Answer { verdicts, usage }
    }

    /// Takes over what an earlier life answered for the slice: its receipts are counted although
    /// they are not yet committed.
    pub fn adopt(&mut self, chunk: &Chunk, slice: usize, answer: &Answer) {
        let counted = chunk.slices[slice]
            .candidates
            .iter()
            .map(|&index| &chunk.candidates[index as usize])
            .zip(&answer.verdicts)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Counted { .. }))
            .map(|(candidate, _)| (candidate.key, Tentative::of(candidate)))
            .collect();
        self.tentative.push_back((chunk.no, counted));
    }

    /// The digest under which the receipt was counted before, if it was. A key that is found at the
    /// candidate's own position is the candidate itself, metered again.
    fn seen(
        &self,
        candidate: &Candidate,
        counted: &HashMap<ReceiptKey, Tentative>,
        archived: Option<Counted>,
    ) -> Option<u64> {
        let in_flight = self.tentative.iter().map(|(_, keys)| keys).chain([counted]);
        for keys in in_flight {
            if let Some(tentative) = keys.get(&candidate.key) {
                let itself =
                    (tentative.epoch, tentative.sequence) == (candidate.epoch, candidate.sequence);
                return (!itself).then_some(tentative.digest);
            }
        }
        let known = self.keys.get(self.brand_no, candidate.key).or(archived)?;
        let itself = (known.epoch, known.sequence) == (candidate.epoch, candidate.sequence);
        (!itself).then_some(known.digest)
    }

    fn forget(&mut self, committed: ChunkNo) {
        while self.tentative.front().is_some_and(|(no, _)| *no <= committed) {
            self.tentative.pop_front();
        }
    }
}

impl Tentative {
    fn of(candidate: &Candidate) -> Self {
        Self { epoch: candidate.epoch, sequence: candidate.sequence, digest: candidate.digest }
    }
}

/// What a brand's actor is told.
#[derive(Debug)]
pub enum BrandMsg {
    /// Decide about a slice.
    Meter { chunk: Arc<Chunk>, slice: usize },
    /// An earlier life has answered for this slice; its answer stands.
    Adopt { chunk: Arc<Chunk>, slice: usize, answer: Arc<Answer> },
}

/// The actor of one brand.
pub struct BrandActor;

pub struct BrandArguments {
    pub brand_no: i32,
    pub keys: Keys,
    pub flight: Flight,
}

pub struct BrandState {
    meter: BrandMeter,
    flight: Flight,
}

impl Actor for BrandActor {
    type Msg = BrandMsg;
    type State = BrandState;
    type Arguments = BrandArguments;

    async fn pre_start(
        &self,
        _: ActorRef<BrandMsg>,
        arguments: BrandArguments,
    ) -> Result<BrandState, ActorProcessingErr> {
        let meter = BrandMeter::new(arguments.brand_no, arguments.keys);
        Ok(BrandState { meter, flight: arguments.flight })
    }

    async fn handle(
        &self,
        _: ActorRef<BrandMsg>,
        message: BrandMsg,
        state: &mut BrandState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BrandMsg::Meter { chunk, slice } => state.answer(&chunk, slice),
            BrandMsg::Adopt { chunk, slice, answer } => state.meter.adopt(&chunk, slice, &answer),
        }
        Ok(())
    }
}

impl BrandState {
    fn answer(&mut self, chunk: &Chunk, slice: usize) {
        failpoint::at(|| format!("meter {}", chunk.slices[slice].brand.id));
        let answer = self.meter.meter(chunk, slice, self.flight.committed());
        self.flight.answer(chunk.no, slice, answer);
        failpoint::at(|| format!("answered {}", chunk.slices[slice].brand.id));
    }
}

#[cfg(test)]
mod tests;
