//! Evidence: what proves that a document charges for these receipts and no others.
//!
//! Each ledger row behind a period of a document is a leaf of a Merkle tree (RFC 9162, SHA-256), in
//! the order of entries; the document carries the tree's root and size. So a single receipt is
//! proved by its row and one hash a level: [`merkle`] is the tree, [`leaf`] a row's bytes, [`proof`]
//! the file that is checked with nothing but the document. `docs/evidence.md` is for auditors.

pub mod leaf;
pub mod merkle;
pub mod proof;
