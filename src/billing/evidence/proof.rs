//! The file that proves one receipt of a document to somebody who has the document and nothing else.
//!
//! It is JSON: the document's hash, the period, the leaf's members, its place in the tree and the
//! hashes beside its way to the root. [`check`] goes from the document's bytes to its hash, from the
//! period to its root, and from the leaf along the path; each step that fails has a name.
#![deny(clippy::arithmetic_side_effects)]

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::leaf::{self, Leaf};
use super::merkle::Inclusion;
use crate::canonical;
use crate::document::Document;
use crate::hash::Hash;

/// The version of the file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    #[serde(rename = "prooftally.proof/1")]
    V1,
}

/// A proof of one receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub format: Format,
    /// SHA-256 of the document's canonical bytes.
    pub document: Hash,
    /// The document's number, for the reader; the hash is what names it.
    pub number: Option<String>,
    /// The start of the period that the receipt is in.
    pub period: NaiveDate,
    /// The leaf: see [`leaf`].
    pub leaf: Value,
    /// The leaf's number in the tree, from 0.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// From the leaf up.
    pub path: Vec<Hash>,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the document: {0}")]
    Document(canonical::Error),
    #[error("the proof is for the document with hash {expected}, not for this one with {found}")]
    OtherDocument { expected: Hash, found: Hash },
    #[error("the proof is for document {proof}, but this one is {document}")]
    Number { proof: String, document: String },
    #[error("the document has no period from {0}")]
    NoPeriod(NaiveDate),
    #[error("the leaf: {0}")]
    Leaf(#[from] leaf::Error),
    #[error("the leaf: its members are not written as the ledger writes them")]
    LeafSpelling,
    #[error("the leaf is of brand {leaf}, the document of {document}")]
    Brand { leaf: String, document: String },
    #[error("usage day {day} is not in the period from {start} to before {end}")]
    UsageDay { day: NaiveDate, start: NaiveDate, end: NaiveDate },
    #[error("entry {entry} is not above {after} and up to {cutoff}, as the document's entries are")]
    Entry { entry: u64, after: u64, cutoff: u64 },
    #[error("the proof is of a tree of {proof} leaves, the document's has {document}")]
    Size { proof: u64, document: u64 },
    #[error("the leaf and the path do not lead to the document's root {0}")]
    Root(Hash),
}

impl Proof {
    /// The proof of `leaf` in the tree of the document's period from `period`.
    ///
    /// # Errors
    /// If the row has no leaf.
    pub fn new(
        document: Hash,
        number: Option<String>,
        period: NaiveDate,
        leaf: &Leaf<'_>,
        inclusion: Inclusion,
    ) -> Result<Self, leaf::Error> {
        let leaf = serde_json::from_slice(&leaf.to_bytes()?).map_err(|_| leaf::Error::Format)?;
        let Inclusion { index, size, path } = inclusion;
        Ok(Self { format: Format::V1, document, number, period, leaf, index, size, path })
    }

    /// The file's text, for people to read: a member a line.
    ///
    /// # Errors
    /// Never for a proof that was made or read here.
    pub fn to_text(&self) -> Result<String, canonical::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a proof; white space and the order of members do not matter, unknown members do.
    ///
    /// # Errors
    /// If it is not the JSON of a proof.
    pub fn read(text: &[u8]) -> Result<Self, canonical::Error> {
        Ok(serde_json::from_slice(text)?)
    }
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Proved<'a> {
    pub document: Document,
    /// The receipt, or the void, that the document has counted.
    pub leaf: Leaf<'a>,
}

/// Checks a proof with the document's bytes and nothing else.
///
/// # Errors
/// The first step that fails.
pub fn check<'a>(proof: &'a Proof, document: &[u8]) -> Result<Proved<'a>, Refusal> {
    let found = Hash::of(&[document]);
    if found != proof.document {
        return Err(Refusal::OtherDocument { expected: proof.document, found });
    }
    let document = Document::read(document).map_err(Refusal::Document)?;
    if proof.number != document.number {
        let name = |number: &Option<String>| {
            number.clone().unwrap_or_else(|| "without a number".to_owned())
        };
        let (proof, document) = (name(&proof.number), name(&document.number));
        return Err(Refusal::Number { proof, document });
    }
    let period = document.periods.iter().find(|period| period.start == proof.period);
    let period = period.ok_or(Refusal::NoPeriod(proof.period))?;
    let leaf = Leaf::from_value(&proof.leaf)?;
    let bytes = leaf.to_bytes()?;
    if canonical::write(&proof.leaf).map_err(|_| Refusal::LeafSpelling)? != bytes {
        return Err(Refusal::LeafSpelling);
    }
    if leaf.brand != document.brand {
        let (leaf, document) = (leaf.brand.to_owned(), document.brand.clone());
        return Err(Refusal::Brand { leaf, document });
    }
    if leaf.usage_day < period.start || leaf.usage_day >= period.end {
        let (start, end) = (period.start, period.end);
        return Err(Refusal::UsageDay { day: leaf.usage_day, start, end });
    }
    if leaf.entry <= period.after || leaf.entry > period.cutoff {
        let (after, cutoff) = (period.after, period.cutoff);
        return Err(Refusal::Entry { entry: leaf.entry, after, cutoff });
    }
    if proof.size != period.size {
        return Err(Refusal::Size { proof: proof.size, document: period.size });
    }
    let inclusion = Inclusion { index: proof.index, size: proof.size, path: proof.path.clone() };
    if inclusion.root_of(&bytes) != Some(period.root) {
        return Err(Refusal::Root(period.root));
    }
    Ok(Proved { document, leaf })
}

#[cfg(test)]
mod tests;
