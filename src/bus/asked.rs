//! What a pull subscription has asked for and not had yet.

use tokio::time::Instant;

/// Messages that are due: asked for ahead, in one request or two, or fetched. Never both: a fetch is asked for when
/// nothing else is due, and nothing else until it has ended. So what ends meanwhile is the fetch.
///
/// A server says nothing of a request whose bytes come out exactly even. Its messages stay due then, until the silence is
/// noticed and reading begins again at the cursor.
#[derive(Debug, Default)]
pub struct Asked {
    messages: usize,
    /// Until when whoever gathers waits for what is fetched.
    fetched_until: Option<Instant>,
}

impl Asked {
    /// Messages that are due.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Until when to wait for what is fetched; `None` if nothing is.
    pub fn fetched_until(&self) -> Option<Instant> {
        self.fetched_until
    }

    /// So many more are asked for, ahead.
    pub fn ahead(&mut self, messages: usize) {
        self.messages += messages;
    }

    /// All that is there is asked for, up to so many.
    pub fn fetch(&mut self, messages: usize, until: Instant) {
        (self.messages, self.fetched_until) = (messages, Some(until));
    }

    /// A message has come.
    pub fn came(&mut self) {
        self.settle(1);
    }

    /// The next message does not fit a request, so that so many of its messages will not come. Those before it may still
    /// be on their way.
    pub fn cut(&mut self, left: usize) {
        self.settle(left);
    }

    /// A request has ended after its last message, and so many will not come; of one that does not say, none will.
    pub fn ended(&mut self, left: Option<usize>) {
        let left = left.filter(|_| self.fetched_until.is_none());
        self.settle(left.unwrap_or(self.messages));
    }

    fn settle(&mut self, messages: usize) {
        self.messages = self.messages.saturating_sub(messages);
        if self.messages == 0 {
            self.fetched_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due, and whether it is fetched.
    fn due(asked: &Asked) -> (usize, bool) {
        (asked.messages(), asked.fetched_until().is_some())
    }

    fn fetching(messages: usize) -> Asked {
        let mut asked = Asked::default();
        asked.fetch(messages, Instant::now());
        asked
    }

    #[test]
    fn a_fetch_ends_with_its_last_message() {
        let mut asked = fetching(2);
        asked.came();
        assert_eq!(due(&asked), (1, true));
        asked.came();
        assert_eq!(due(&asked), (0, false));
    }

    #[test]
    fn a_fetch_ends_when_nothing_was_there_or_nothing_more_is() {
        for (came, left) in [(0, None), (3, None), (3, Some(5)), (3, Some(0))] {
            let mut asked = fetching(8);
            (0..came).for_each(|_| asked.came());
            assert_eq!(due(&asked), (8 - came, true));
            asked.ended(left);
            assert_eq!(due(&asked), (0, false), "{came} came, {left:?} were left");
        }
    }

    #[test]
    fn a_fetch_that_is_cut_ends_with_the_messages_that_fit() {
        let mut asked = fetching(8);
        asked.came();
        asked.cut(5);
        assert_eq!(due(&asked), (2, true), "they may come after the word that it is cut");
        asked.came();
        asked.came();
        assert_eq!(due(&asked), (0, false));
    }

    #[test]
    fn of_requests_ahead_one_ends_and_the_other_is_due() {
        let mut asked = Asked::default();
        asked.ahead(10);
        asked.ahead(10);
        (0..4).for_each(|_| asked.came());
        asked.ended(Some(6));
        assert_eq!(due(&asked), (10, false));
        asked.ended(None);
        assert_eq!(due(&asked), (0, false));
    }

    #[test]
    fn no_more_comes_than_nothing() {
        let mut asked = Asked::default();
        asked.came();
        asked.ended(Some(7));
        assert_eq!(due(&asked), (0, false));
    }
}
