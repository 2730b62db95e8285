//! Merkle trees as RFC 9162 hashes them: a leaf is SHA-256(0x00 || bytes), a node SHA-256(0x01 ||
//! left || right), and the left half of a tree is the greatest power of two below its size.
//!
//! A tree is read in one pass. What is kept is one hash for each bit of the size (at most 64), and
//! for the one leaf that is to be proved the hashes beside its way to the root (at most 64).
#![deny(clippy::arithmetic_side_effects)]

use crate::hash::Hash;

/// The hash of a leaf with these bytes.
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Hash::of(&[&[0x00], bytes])
}

fn node_hash(left: Hash, right: Hash) -> Hash {
    Hash::of(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// The root of a tree without leaves.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// A tree to which leaves are appended.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The complete subtrees that the leaves so far make up, each smaller than the one before it.
    subtrees: Vec<Subtree>,
    size: u64,
    /// The leaf to be proved.
    index: Option<u64>,
    /// The hashes beside its way up, as far as they are known.
    path: Vec<Hash>,
}

#[derive(Clone, Copy, Debug)]
struct Subtree {
    hash: Hash,
    height: u32,
    /// It holds the leaf to be proved.
    proves: bool,
}

/// That a leaf is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The leaf's number, from 0.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// The hashes beside the leaf's way to the root, from the leaf up.
    pub path: Vec<Hash>,
}

impl Tree {
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree that will prove its leaf `index`, counted from 0.
    pub fn proving(index: u64) -> Self {
        Self { index: Some(index), ..Self::default() }
    }

    /// Makes the leaf that is appended next the one that the tree will prove.
    pub fn prove_next(&mut self) {
        self.index = Some(self.size);
        self.path.clear();
    }

    /// Appends a leaf with these bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let proves = self.index == Some(self.size);
        let mut grown = Subtree { hash: leaf_hash(bytes), height: 0, proves };
        while let Some(left) = self.subtrees.pop_if(|left| left.height == grown.height) {
            grown = join(left, grown, &mut self.path);
        }
        self.subtrees.push(grown);
        self.size = self.size.checked_add(1).expect("no one appends 2^64 leaves");
    }

    /// How many leaves were appended.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        self.fold(&mut Vec::new())
    }

    /// The root, and the proof of the leaf that was asked for; `None` if it was not appended.
    pub fn finish(mut self) -> (Hash, Option<Inclusion>) {
        let mut path = std::mem::take(&mut self.path);
        let root = self.fold(&mut path);
        let index = self.index.filter(|&index| index < self.size);
        (root, index.map(|index| Inclusion { index, size: self.size, path }))
    }

    fn fold(&self, path: &mut Vec<Hash>) -> Hash {
        let joined = self.subtrees.iter().rev().copied();
        let root = joined.reduce(|right, left| join(left, right, path));
        root.map_or_else(empty_root, |root| root.hash)
    }
}

/// Joins two subtrees; if one holds the leaf to be proved, the other's hash is beside its way.
fn join(left: Subtree, right: Subtree, path: &mut Vec<Hash>) -> Subtree {
    if left.proves {
        path.push(right.hash);
    } else if right.proves {
        path.push(left.hash);
    }
    Subtree {
        hash: node_hash(left.hash, right.hash),
        // Only complete subtrees are compared by height, and a tree of 2^64 leaves has 64.
        height: left.height.saturating_add(1),
        proves: left.proves || right.proves,
    }
}

impl Inclusion {
    /// The root that follows from a leaf with these bytes (RFC 9162, 2.1.3.2), or `None` if the
    /// path has not exactly the hashes that a tree of this size needs.
    pub fn root_of(&self, leaf: &[u8]) -> Option<Hash> {
        let mut node = self.index;
        let mut last = self.size.checked_sub(1).filter(|&last| self.index <= last)?;
        let mut hash = leaf_hash(leaf);
        for &beside in &self.path {
            if last == 0 {
                return None;
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(beside, hash);
                // A last node without a right neighbour rises until it is a right child.
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(hash, beside);
            }
            node >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

#[cfg(test)]
mod tests;
