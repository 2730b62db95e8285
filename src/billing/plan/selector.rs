//! Which usage a charge takes.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use super::UsageKind;
use crate::ids::{NAME_BYTES_MAX, VERSION_BYTES_MAX};

/// Matches usage by predicate name, predicate version and result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    name: Pattern,
    version: Pattern,
    results: Results,
}

/// A text that is no pattern for predicates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not select predicates; write NAME@VERSION, for example `CERT_VALID@V1`, where either \
     may end with a `*` that stands for anything"
)]
pub struct SelectorError(pub String);

/// A text, or the beginning of one followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    open: bool,
}

/// Which results a charge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Results {
    Any,
    True,
    False,
}

impl Selector {
    /// Reads `NAME@VERSION`, either of which may end with `*`: `CERT_VALID@V1`, `CARBON_*@*`.
    ///
    /// # Errors
    /// If no predicate can match, because it has other characters or lengths than predicates have.
    pub fn parse(predicates: &str, results: Results) -> Result<Self, SelectorError> {
        let refuse = || SelectorError(predicates.to_owned());
        let (name, version) = predicates.split_once('@').ok_or_else(refuse)?;
        let name = Pattern::parse(name, NAME_BYTES_MAX, false).ok_or_else(refuse)?;
        let version = Pattern::parse(version, VERSION_BYTES_MAX, true).ok_or_else(refuse)?;
        Ok(Self { name, version, results })
    }

    /// Which results it takes.
    pub fn results(&self) -> Results {
        self.results
    }

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

/// The predicates as they were written.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl Pattern {
    fn parse(text: &str, bytes_max: usize, dots: bool) -> Option<Self> {
        let (fixed, open) = match text.strip_suffix('*') {
            Some(fixed) => (fixed, true),
            None => (text, false),
        };
        let good = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (dots && byte == b'.')
        };
        let fits = !text.is_empty() && fixed.len() <= bytes_max && fixed.bytes().all(good);
        fits.then(|| Self { text: fixed.to_owned(), open })
    }

    fn matches(&self, text: &str) -> bool {
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
