//! What became of a candidate, and how that is written down where its position keeps the disposition
//! that it has: for a rejection that is retried and for an event that was parked.

use super::chunk::Candidate;
use crate::store::commit::{Commit, NewRejection, Settlement, Unparked};

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Counted { entry: i64 },
    Duplicate,
    Conflict,
    Parked,
}

impl Outcome {
    /// Name and entry; nothing if it is parked, and so not decided.
    fn decided(self) -> Option<(&'static str, Option<i64>)> {
        match self {
            Outcome::Counted { entry } => Some(("counted", Some(entry))),
            Outcome::Duplicate => Some(("duplicate", None)),
            Outcome::Conflict => Some(("conflict", None)),
            Outcome::Parked => None,
        }
    }

    /// What became of a parked event; nothing if it is parked still.
    pub fn unparked(self, candidate: &Candidate) -> Option<Unparked> {
        let (outcome, entry) = self.decided()?;
        let Candidate { epoch, sequence, .. } = *candidate;
        Some(Unparked { epoch, sequence, outcome, entry })
    }

    /// How a retry settles a rejection; not at all if its brand is parked.
    pub fn settlement(self, rejection_no: i64, asked_by: &str) -> Option<Settlement> {
        let (settlement, entry) = self.decided()?;
        Some(Settlement {
            rejection_no,
            state: "retried",
            entry,
            settled_by: asked_by.to_owned(),
            settlement: settlement.to_owned(),
        })
    }
}

/// What a person is told of a retry.
pub fn retry_answer(commit: &Commit, still_rejected: usize, parked: usize) -> String {
    let settled = |what: &str| commit.settlements.iter().filter(|s| s.settlement == what).count();
    let mut text = format!(
        "{} counted, {} duplicates, {} conflicts, {still_rejected} still rejected",
        settled("counted"),
        settled("duplicate"),
        settled("conflict")
    );
    if parked > 0 {
        text += &format!(", {parked} left open since their brand is parked: unpark it first");
    }
    text
}

/// What a person is told when the last parked event is metered or rejected.
pub fn unpark_answer(rejected: usize) -> String {
    let live = "live ones are metered again";
    if rejected == 0 {
        return format!("all its parked events are metered; {live}");
    }
    format!(
        "its parked events are metered, but for {rejected} that are rejections now (`prooftally events rejected \
         list`); {live}"
    )
}

/// What became of a parked event that cannot be metered.
pub fn parked_rejected(rejection: &NewRejection) -> Unparked {
    let NewRejection { epoch, sequence, .. } = *rejection;
    Unparked { epoch, sequence, outcome: "rejected", entry: None }
}
