//! Caution: after lives of the engine that ended in the same stretch of the stream, chunks shrink until
//! they hold one event, and an event that has ended life after life by itself is rejected unread.

use crate::store::cursor::Lives;

/// Positions after which a stretch that lives ended in is taken to have passed. A cause further on is
/// found in the next stretch; a longer one would keep chunks small for long after plain kills.
pub const STRETCH: i64 = 16_384;
/// From so many lives in a row without any commit, the event that is next is taken for the cause.
const POISON_FROM: i32 = 6;

/// How carefully the stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    None,
    /// Chunks have at most so many messages, up to and with position `until`.
    Small {
        messages: usize,
        until: i64,
    },
    /// The next event has ended so many lives.
    Poison {
        lives: i32,
    },
}

impl Caution {
    /// What these lives call for, where a chunk has `messages` by itself.
    pub fn after(lives: Lives, messages: usize) -> Self {
        if lives.without_commit >= POISON_FROM {
            return Self::Poison { lives: lives.without_commit };
        }
        // Each further life makes chunks eight times smaller: 16,384, 2,048, 256, 32, 4, 1.
        let shift = u32::try_from(3 * (lives.in_stretch - 1)).unwrap_or(0);
        let small = messages.checked_shr(shift).unwrap_or(0).max(1);
        let until = lives.stretch_from + STRETCH;
        if small < messages { Self::Small { messages: small, until } } else { Self::None }
    }

    /// At `position`, after one more chunk.
    pub fn at(self, position: i64) -> Self {
        match self {
            Self::Small { until, .. } if position < until => self,
            _ => Self::None,
        }
    }

    /// The most messages of a chunk that has `messages` by itself.
    pub fn messages_max(self, messages: usize) -> usize {
        match self {
            Self::None => messages,
            Self::Small { messages: small, .. } => small,
            Self::Poison { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(in_stretch: i32, without_commit: i32, expected: Caution) {
        let lives = Lives { in_stretch, without_commit, stretch_from: 100 };
        assert_eq!(Caution::after(lives, 16_384), expected);
    }

    #[test]
    fn chunks_shrink_with_each_life_that_ended_there() {
        let small = |messages| Caution::Small { messages, until: 100 + STRETCH };
        check(1, 1, Caution::None);
        check(2, 2, small(2_048));
        check(3, 1, small(256));
        check(6, 5, small(1));
        check(60, 5, small(1));
        check(6, 6, Caution::Poison { lives: 6 });
    }

    #[test]
    fn caution_ends_with_the_stretch() {
        let small = Caution::Small { messages: 4, until: 200 };
        assert_eq!(small.at(199), small);
        assert_eq!(small.at(200), Caution::None);
        assert_eq!(Caution::Poison { lives: 6 }.at(1), Caution::None);
    }
}
