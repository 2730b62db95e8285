//! What the database refuses for a lasting reason is found by reading the chunk again in smaller ones,
//! down to the one event, which becomes a rejection. This is how a life of the metering subtree that
//! ended over a refusal tells the next one.

use std::sync::Arc;

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
    Refuse(String),
}

/// Each refusal makes chunks so many times smaller.
const SMALLER: i64 = 8;
/// So many single events in a row can be at fault themselves. If there are more, the database is, and
/// rejecting one event after the other would help nobody.
const ALONE_MAX: u32 = 16;

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

    /// How to cut the chunk after `position`.
    pub fn care(&self, position: i64) -> Care {
        let mut state = self.state.lock();
        let Some(refused) = &state.refused else { return Care::None };
        if position >= refused.last {
            state.refused = None;
            return Care::None;
        }
        if refused.messages <= 1 && position == refused.after {
            return Care::Refuse(refused.why.clone());
        }
        Care::Small(usize::try_from(refused.messages / SMALLER).unwrap_or(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(refusals.care(155), Care::Refuse("why".to_owned()));
        assert_eq!(refusals.care(156), Care::None);
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
