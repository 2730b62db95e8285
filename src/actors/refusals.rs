//! What the database refuses for a lasting reason is found by reading the chunk again in smaller ones,
//! down to the one event, which becomes a rejection. This is how a life of the metering subtree that
//! ended over a refusal tells the next one.

use std::collections::HashMap;
use std::sync::Arc;

use billing::receipt::{Reason, Refusal};
use parking_lot::Mutex;

/// Shared by all lives of the subtree in this process. A process that ends over it begins to look
/// again.
#[derive(Clone, Default)]
pub struct Refusals {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    refused: Option<Refused>,
    /// The life that noted it has not been ended yet.
    is_fresh: bool,
    /// Refusals of single events since something else was committed.
    alone: u32,
    /// Brands whose parked events are being metered, of which some have failed.
    parked: HashMap<i32, Parked>,
}

/// How a brand's parked events go.
#[derive(Debug, Default)]
struct Parked {
    /// At most so many in a chunk; no bound of its own if 0.
    events_max: usize,
    /// Why the oldest one cannot be metered, once it has failed by itself.
    refused: Option<Refusal>,
    /// Single events that failed, one after the other.
    alone: u32,
    rejected: usize,
}

/// A chunk that was refused.
#[derive(Clone, Debug)]
struct Refused {
    after: i64,
    last: i64,
    messages: i64,
    why: String,
}

/// How the next chunk is to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Care {
    None,
    /// At most so many messages.
    Small(usize),
    /// The next message is the one that was refused, and why.
    Refuse(Refusal),
}

/// Each refusal makes chunks so many times smaller.
const SMALLER: i64 = 8;
const SMALLER_PARKED: usize = 8;
/// So many single events in a row can be at fault themselves. If there are more, the database is, and
/// rejecting one event after the other would help nobody.
const ALONE_MAX: u32 = 16;
/// Parked events have failed before: fewer of them say that the cause is not theirs, or not gone.
const PARKED_ALONE_MAX: u32 = 4;

impl Refusals {
    /// Notes that the chunk of `messages` messages after `after` up to `last` was refused.
    pub fn note(&self, after: i64, last: i64, messages: i64, why: String) {
        let mut state = self.state.lock();
        state.is_fresh = true;
        state.alone += u32::from(messages <= 1);
        state.refused = Some(Refused { after, last, messages, why });
    }

    /// Notes that what was asked by a request was refused, and the request with it.
    pub fn note_request(&self) {
        let mut state = self.state.lock();
        state.is_fresh = true;
        state.alone += 1;
    }

    /// Notes that something was committed that is no rejection.
    pub fn committed(&self) {
        self.state.lock().alone = 0;
    }

    /// True if a life has just ended over a refusal, which is then no failure of the subtree. Says so
    /// once for each, and no more once the database is at fault.
    pub fn has_ended_a_life(&self) -> bool {
        let mut state = self.state.lock();
        std::mem::take(&mut state.is_fresh) && state.alone <= ALONE_MAX
    }

    /// Notes that a chunk of `events` parked events of the brand has failed.
    pub fn note_parked(&self, brand_no: i32, events: usize, why: Refusal) {
        let mut state = self.state.lock();
        let parked = state.parked.entry(brand_no).or_default();
        if events <= 1 {
            parked.alone += 1;
            parked.refused = Some(why);
        }
        parked.events_max = (events / SMALLER_PARKED).max(1);
    }

    /// Notes that the life ends over parked events, which is no failure of the subtree.
    pub fn note_parked_end(&self) {
        self.state.lock().is_fresh = true;
    }

    /// Notes that `events` parked events of the brand were metered, and whether they were the last.
    pub fn parked_metered(&self, brand_no: i32, events: usize, are_last: bool) {
        let mut state = self.state.lock();
        if are_last {
            state.parked.remove(&brand_no);
        } else if let Some(parked) = state.parked.get_mut(&brand_no)
            && events > 0
        {
            parked.alone = 0;
            parked.events_max = parked.events_max.saturating_mul(2);
        }
    }

    /// Adds rejections of the brand's parked events, and says how many there were before.
    pub fn parked_rejected(&self, brand_no: i32, rejected: usize) -> usize {
        let mut state = self.state.lock();
        if rejected == 0 {
            return state.parked.get(&brand_no).map_or(0, |parked| parked.rejected);
        }
        let parked = state.parked.entry(brand_no).or_default();
        parked.refused = None;
        parked.rejected += rejected;
        parked.rejected - rejected
    }

    /// How to cut the next chunk of the brand's parked events.
    ///
    /// # Errors
    /// Why not at all: so many failed one after the other that it is not the events' fault.
    pub fn care_of_parked(&self, brand_no: i32) -> Result<Care, String> {
        let mut state = self.state.lock();
        let Some(parked) = state.parked.get(&brand_no) else { return Ok(Care::None) };
        match &parked.refused {
            Some(why) if parked.alone > PARKED_ALONE_MAX => {
                let why = why.detail.clone();
                state.parked.remove(&brand_no);
                Err(why)
            }
            Some(why) => Ok(Care::Refuse(why.clone())),
            None if parked.events_max == 0 => Ok(Care::None),
            None => Ok(Care::Small(parked.events_max)),
        }
    }

    /// How to cut the chunk after `position`.
    pub fn care(&self, position: i64) -> Care {
        let mut state = self.state.lock();
        let Some(refused) = &state.refused else { return Care::None };
        if position >= refused.last {
            state.refused = None;
            return Care::None;
        }
        if refused.messages <= 1 && position == refused.after {
            return Care::Refuse(Refusal::new(Reason::StoreRefused, refused.why.clone()));
        }
        Care::Small(usize::try_from(refused.messages / SMALLER).unwrap_or(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why() -> Refusal {
        Refusal::new(Reason::StoreRefused, "why")
    }

    #[test]
    fn chunks_shrink_down_to_the_event_and_grow_again_behind_it() {
        let refusals = Refusals::default();
        assert_eq!(refusals.care(0), Care::None);
        refusals.note(100, 200, 100, "why".to_owned());
        assert_eq!(refusals.care(100), Care::Small(12));
        assert_eq!(refusals.care(150), Care::Small(12));
        refusals.note(150, 162, 12, "why".to_owned());
        assert_eq!(refusals.care(150), Care::Small(1));
        refusals.note(155, 156, 1, "why".to_owned());
        assert_eq!(refusals.care(155), Care::Refuse(why()));
        assert_eq!(refusals.care(156), Care::None);
    }

    #[test]
    fn parked_events_are_cut_down_to_the_one_and_grow_again_behind_it() {
        let refusals = Refusals::default();
        let care = || refusals.care_of_parked(7);
        assert_eq!(care(), Ok(Care::None));
        refusals.note_parked(7, 100, why());
        assert_eq!(care(), Ok(Care::Small(12)));
        refusals.note_parked(7, 12, why());
        assert_eq!(care(), Ok(Care::Small(1)));
        refusals.note_parked(7, 1, why());
        assert_eq!(care(), Ok(Care::Refuse(why())));
        assert_eq!(refusals.parked_rejected(7, 1), 0);
        assert_eq!(care(), Ok(Care::Small(1)));
        refusals.parked_metered(7, 1, false);
        assert_eq!(care(), Ok(Care::Small(2)));
        assert_eq!(refusals.parked_rejected(7, 0), 1);
        refusals.parked_metered(7, 2, true);
        assert_eq!(care(), Ok(Care::None));
    }

    #[test]
    fn parked_events_that_all_fail_are_not_all_rejected() {
        let refusals = Refusals::default();
        for _ in 0..PARKED_ALONE_MAX {
            refusals.note_parked(7, 1, why());
            assert_eq!(refusals.care_of_parked(7), Ok(Care::Refuse(why())));
            refusals.parked_rejected(7, 1);
        }
        refusals.note_parked(7, 1, why());
        assert_eq!(refusals.care_of_parked(7), Err("why".to_owned()));
    }

    #[test]
    fn a_refusal_spends_no_budget_until_every_event_is_refused() {
        let refusals = Refusals::default();
        assert!(!refusals.has_ended_a_life());
        for position in 0..16 {
            refusals.note(position, position + 1, 1, String::new());
            assert!(refusals.has_ended_a_life());
            assert!(!refusals.has_ended_a_life());
        }
        refusals.note(16, 17, 1, String::new());
        assert!(!refusals.has_ended_a_life());
        refusals.committed();
        refusals.note(17, 18, 1, String::new());
        assert!(refusals.has_ended_a_life());
    }
}
