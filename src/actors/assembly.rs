//! Puts the answers of all brands together into the one commit of a chunk. Pure: what it needs from
//! the database has been read before.

use billing::ids::Predicate;
use chrono::NaiveDate;
use hashbrown::HashMap;

use super::brand::Verdict;
use super::chunk::{Candidate, Chunk, Left, RunKind, Source};
use super::directory::Directory;
use super::flight::Complete;
use super::keys::{Counted, Keys};
use super::outcome::{self, Outcome};
use super::usage_keeper::is_backlog;
use crate::store::commit::{
    Commit, DispositionOf, NewConflict, NewDisposition, NewFailures, NewParked, NewRejection,
    UsageDelta,
};
use crate::store::copy;
use crate::store::cursor::Totals;
use crate::store::keys::CommittedKey;
use crate::store::ledger::StoredContent;

/// A chunk ready to be committed, and the keys to publish afterwards.
pub struct Assembled {
    pub commit: Commit,
    pub keys: Vec<CommittedKey>,
}

/// What the ledger knows when it puts a chunk together.
pub struct Basis<'a> {
    pub fence: i64,
    /// Last position and last entry that are committed.
    pub sequence: i64,
    pub entry: i64,
    pub keys: &'a Keys,
    pub directory: &'a Directory,
    /// What the entries say that suspects are compared with; see [`suspected_entries`].
    pub stored: &'a HashMap<i64, StoredContent>,
}

/// A chunk whose parts do not add up: a bug, which must not reach the database.
#[derive(Debug, thiserror::Error)]
#[error("chunk {chunk} has {dispositions} dispositions for {positions} positions")]
pub struct DoesNotTile {
    chunk: i64,
    dispositions: i64,
    positions: i64,
}

/// The entries whose content must be read, to tell duplicates from conflicts.
pub fn suspected_entries(complete: &Complete, keys: &Keys) -> Vec<i64> {
    let chunk = &complete.chunk;
    let mut entries = Vec::new();
    for (slice, answer) in chunk.slices.iter().zip(&complete.answers) {
        for (&index, verdict) in slice.candidates.iter().zip(&answer.verdicts) {
            if matches!(verdict, Verdict::Suspect { .. }) {
                let known = known(chunk, keys, slice.brand.no, index);
                entries.extend(known.map(|counted| counted.entry));
            }
        }
    }
    entries
}

/// What was counted under the candidate's receipt before this chunk.
fn known(chunk: &Chunk, keys: &Keys, brand_no: i32, candidate: u32) -> Option<Counted> {
    let key = chunk.candidates[candidate as usize].key;
    keys.get(brand_no, key).or_else(|| chunk.archived.get(&candidate).copied())
}

/// Puts the chunk together.
///
/// # Errors
/// [`DoesNotTile`] if a position has no disposition or two.
pub fn assemble(complete: &Complete, basis: &Basis<'_>) -> Result<Assembled, DoesNotTile> {
    let chunk = &complete.chunk;
    let mut assembly = Assembly::new(chunk, basis);
    let mut next = vec![0; chunk.slices.len()];
    for (index, candidate) in chunk.candidates.iter().enumerate() {
        let slice = candidate.slice as usize;
        let verdict = complete.answers[slice].verdicts[next[slice]];
        next[slice] += 1;
        assembly.candidate(index, candidate, verdict);
    }
    for answer in &complete.answers {
        assembly.commit.usage.extend(&answer.usage);
    }
    assembly.others();
    assembly.finish()
}

struct Assembly<'a> {
    chunk: &'a Chunk,
    basis: &'a Basis<'a>,
    commit: Commit,
    keys: Vec<CommittedKey>,
    /// Candidates that this chunk counts, by their place in `keys`; filled when a suspect asks.
    counted: Vec<usize>,
}

impl<'a> Assembly<'a> {
    fn new(chunk: &'a Chunk, basis: &'a Basis<'a>) -> Self {
        let mut rows = copy::header();
        rows.reserve(chunk.row_bytes() + copy::TRAILER.len());
        let (sequence, stored_at) = match &chunk.source {
            Source::Stream { last, stored_at, .. } => (*last, *stored_at),
            Source::Retry { .. } | Source::Unpark { .. } => (basis.sequence, None),
        };
        let commit = Commit {
            fence: basis.fence,
            chunk: chunk.no,
            epoch: chunk.epoch,
            sequence_before: basis.sequence,
            sequence,
            stored_at,
            entry: basis.entry,
            rows,
            folds_usage: !is_backlog(chunk.waiting),
            gaps: chunk.gaps.clone(),
            gap_ends: chunk.gap_ends,
            ..Commit::default()
        };
        let events = chunk.candidates.len();
        let (keys, counted) = (Vec::with_capacity(events), Vec::with_capacity(events));
        Self { chunk, basis, commit, keys, counted }
    }

    fn candidate(&mut self, index: usize, candidate: &Candidate, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Counted { usage_day } => self.count(index, candidate, usage_day),
            Verdict::Duplicate => Outcome::Duplicate,
            Verdict::Suspect { usage_day } => self.suspect(index, candidate, usage_day),
            Verdict::Parked => Outcome::Parked,
        };
        match &self.chunk.source {
            Source::Stream { .. } => self.dispose(index, candidate, &outcome),
            Source::Retry { asked_by, rejections, .. } => {
                let settlement = outcome.settlement(rejections[index], asked_by);
                self.commit.settlements.extend(settlement);
            }
            Source::Unpark { .. } => self.commit.unparked.extend(outcome.unparked(candidate)),
        }
    }

    fn count(&mut self, index: usize, candidate: &Candidate, usage_day: NaiveDate) -> Outcome {
        self.commit.entry += 1;
        let entry = self.commit.entry;
        self.chunk.write_row(index, entry, usage_day, &mut self.commit.rows);
        self.commit.row_count += 1;
        self.counted.push(index);
        self.keys.push(CommittedKey {
            brand_no: self.brand_no(candidate),
            key: candidate.key,
            digest: candidate.digest,
            entry,
            epoch: candidate.epoch,
            sequence: candidate.sequence,
        });
        Outcome::Counted { entry }
    }

    /// Compares a suspect with the receipt that was counted, which is in the ledger or earlier in
    /// this chunk.
    fn suspect(&mut self, index: usize, candidate: &Candidate, usage_day: NaiveDate) -> Outcome {
        let brand_no = self.brand_no(candidate);
        let name = self.basis.directory.predicate_name(candidate.predicate_no);
        let mine = self.chunk.content(index, predicate(&name));
        let (entry, fields) =
            match known(self.chunk, self.basis.keys, brand_no, candidate_no(index)) {
                Some(known) => {
                    let stored = &self.basis.stored[&known.entry];
                    let name = self.basis.directory.predicate_name(stored.predicate_no);
                    (known.entry, stored.content(predicate(&name)).differences(&mine))
                }
                None => self.compare_within_chunk(candidate, &mine),
            };
        if fields.is_empty() {
            self.commit.usage.push(UsageDelta {
                brand_no,
                usage_day,
                predicate_no: candidate.predicate_no,
                result: candidate.result,
                receipts: 0,
                duplicates: 1,
            });
            return Outcome::Duplicate;
        }
        let (raw, stored_at) = self.chunk.original(index);
        self.commit.conflicts.push(NewConflict {
            brand_no,
            receipt_key: candidate.key.0,
            digest: candidate.digest,
            receipt_id: self.chunk.receipt_id(index).to_owned(),
            entry,
            fields: fields.into_iter().map(str::to_owned).collect(),
            epoch: candidate.epoch,
            sequence: candidate.sequence,
            stored_at: *stored_at,
            raw: raw.to_vec(),
        });
        Outcome::Conflict
    }

    fn compare_within_chunk(
        &self,
        candidate: &Candidate,
        mine: &billing::receipt::Content<'_>,
    ) -> (i64, Vec<&'static str>) {
        let brand_no = self.brand_no(candidate);
        let place = self
            .keys
            .iter()
            .position(|known| known.key == candidate.key && known.brand_no == brand_no)
            .expect("a suspect's receipt is committed or was counted earlier in its chunk");
        let original = self.counted[place];
        let predicate_no = self.chunk.candidates[original].predicate_no;
        let name = self.basis.directory.predicate_name(predicate_no);
        let theirs = self.chunk.content(original, predicate(&name));
        (self.keys[place].entry, theirs.differences(mine))
    }

    fn park(&mut self, index: usize, candidate: &Candidate) {
        let (raw, stored_at) = self.chunk.original(index);
        self.commit.parked.push(NewParked {
            epoch: candidate.epoch,
            sequence: candidate.sequence,
            brand_no: self.brand_no(candidate),
            stored_at: *stored_at,
            raw: raw.to_vec(),
        });
    }

    fn dispose(&mut self, index: usize, candidate: &Candidate, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Counted { .. } => {
                self.commit.totals.counted += 1;
                return;
            }
            Outcome::Duplicate => {
                self.commit.totals.duplicate += 1;
                "duplicate"
            }
            Outcome::Conflict => {
                self.commit.totals.conflict += 1;
                "conflict"
            }
            Outcome::Parked => {
                self.commit.totals.parked += 1;
                self.park(index, candidate);
                "parked"
            }
        };
        self.commit.dispositions.push(NewDisposition {
            first: candidate.sequence,
            last: candidate.sequence,
            kind,
            of: Some(DispositionOf {
                brand_no: self.brand_no(candidate),
                predicate_no: candidate.predicate_no,
                result: candidate.result,
                verified_at: candidate.verified_at,
                receipt_key: candidate.key.0,
            }),
        });
    }

    /// What needs no brand: rejections, runs and failed proofs.
    fn others(&mut self) {
        for rejected in &self.chunk.rejected {
            self.dispose_run(rejected.sequence, rejected.sequence, "rejected");
            self.commit.totals.rejected += 1;
            self.commit.rejections.push(NewRejection {
                epoch: self.chunk.epoch,
                sequence: rejected.sequence,
                stored_at: rejected.stored_at,
                subject: rejected.subject.clone(),
                reason: rejected.reason.as_str(),
                detail: rejected.detail.clone(),
                brand_id: rejected.brand_id.clone(),
                receipt_id: rejected.receipt_id.clone(),
                raw: rejected.raw.to_vec(),
            });
        }
        for run in &self.chunk.runs {
            let positions = run.last - run.first + 1;
            let kind = match run.kind {
                RunKind::Ignored => {
                    self.commit.totals.ignored += positions;
                    "ignored"
                }
                RunKind::Gap => {
                    self.commit.totals.gap += positions;
                    "gap"
                }
            };
            self.dispose_run(run.first, run.last, kind);
        }
        let failures = self.chunk.failures.iter().map(|(key, &failures)| NewFailures {
            failed_on: key.failed_on,
            predicate: key.predicate.clone(),
            error_code: key.error_code.clone(),
            failures,
        });
        self.commit.failures = failures.collect();
    }

    fn dispose_run(&mut self, first: i64, last: i64, kind: &'static str) {
        self.commit.dispositions.push(NewDisposition { first, last, kind, of: None });
    }

    fn finish(mut self) -> Result<Assembled, DoesNotTile> {
        self.commit.rows.extend_from_slice(&copy::TRAILER);
        if !matches!(self.chunk.source, Source::Stream { .. }) {
            self.finish_later();
            return Ok(Assembled { commit: self.commit, keys: self.keys });
        }
        let positions = self.commit.sequence - self.commit.sequence_before;
        let dispositions = self.commit.totals.positions();
        if positions != dispositions {
            return Err(DoesNotTile { chunk: self.chunk.no, dispositions, positions });
        }
        Ok(Assembled { commit: self.commit, keys: self.keys })
    }

    /// Positions of events that are counted later keep the disposition that they have, so a duplicate
    /// among them is in no tally of duplicates.
    fn finish_later(&mut self) {
        for delta in &mut self.commit.usage {
            delta.duplicates = 0;
        }
        self.commit.usage.retain(|delta| delta.receipts > 0);
        let counted_later = self.commit.entry - self.basis.entry;
        self.commit.totals = Totals { counted_later, ..Totals::default() };
        match &self.chunk.source {
            Source::Stream { .. } => {}
            Source::Retry { request_no, still_rejected, .. } => {
                let parked = self.chunk.candidates.len() - self.commit.settlements.len();
                let text = outcome::retry_answer(&self.commit, still_rejected.len(), parked);
                self.commit.answer = Some((*request_no, text));
            }
            Source::Unpark { request_no, brand_no, left, rejected, rejected_before } => {
                // What has failed again stays parked, and is cut smaller next.
                let failed_again = self.commit.unparked.len() < self.chunk.candidates.len();
                if !failed_again && *left == Left::Nothing {
                    let text = outcome::unpark_answer(rejected.len() + rejected_before);
                    self.commit.answer = Some((*request_no, text));
                    self.commit.ends_parking_of = Some(*brand_no);
                }
                self.commit.unparked.extend(rejected.iter().map(outcome::parked_rejected));
                self.commit.rejections.extend_from_slice(rejected);
            }
        }
    }

    fn brand_no(&self, candidate: &Candidate) -> i32 {
        self.chunk.slices[candidate.slice as usize].brand.no
    }
}

fn candidate_no(index: usize) -> u32 {
    u32::try_from(index).expect("a chunk is bounded")
}

fn predicate(name: &str) -> Predicate<'_> {
    Predicate::parse(name).expect("the directory holds NAME@VERSION")
}
