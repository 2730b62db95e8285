//! Which usage a charge takes.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use super::UsageKind;
use crate::ids::NAME_BYTES_MAX;

/// Matches usage by predicate name, predicate version and result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub name: Pattern,
    pub version: Pattern,
    pub results: Results,
}

/// A text, or the beginning of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a pattern; it is 1 to 64 of `A-Z a-z 0-9 _ - .`, and may end with one `*` that \
     stands for anything"
)]
pub struct PatternError(pub String);

/// Which results a charge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Results {
    Any,
    True,
    False,
}

impl Selector {
    pub fn matches(&self, kind: &UsageKind<'_>) -> bool {
        self.name.matches(kind.predicate.name)
            && self.version.matches(kind.predicate.version)
            && self.results.take(kind.result)
    }

    /// True if every predicate of `other` is one of this selector's. Results are compared apart,
    /// because two selectors can share them out.
    pub(super) fn covers_predicates_of(&self, other: &Self) -> bool {
        self.name.covers(&other.name) && self.version.covers(&other.version)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl Pattern {
    /// Reads `NAME`, `NAME*` or `*`.
    ///
    /// # Errors
    /// If it is empty, too long, has other characters, or has `*` elsewhere than at its end.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (fixed, open) = match text.strip_suffix('*') {
            Some(fixed) => (fixed, true),
            None => (text, false),
        };
        let good = fixed
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if !good || text.is_empty() || fixed.len() > NAME_BYTES_MAX {
            return Err(PatternError(text.to_owned()));
        }
        Ok(Self { text: fixed.to_owned(), open })
    }

    pub fn matches(&self, text: &str) -> bool {
        if self.open { text.starts_with(&self.text) } else { text == self.text }
    }

    fn covers(&self, other: &Self) -> bool {
        if self.open { other.text.starts_with(&self.text) } else { self == other }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.open { "*" } else { "" })
    }
}

impl Results {
    pub const ALL: [Results; 3] = [Results::Any, Results::True, Results::False];

    /// The name in plan files.
    pub fn as_str(self) -> &'static str {
        match self {
            Results::Any => "any",
            Results::True => "true",
            Results::False => "false",
        }
    }

    /// Finds by name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|results| results.as_str() == name)
    }

    pub(super) fn take(self, result: bool) -> bool {
        match self {
            Results::Any => true,
            Results::True => result,
            Results::False => !result,
        }
    }
}
