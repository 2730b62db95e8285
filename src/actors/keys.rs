//! The committed keys: every receipt that was counted, by brand and receipt key.
//!
//! Only the ledger actor adds keys, after their commit and before their chunk is released; brand
//! actors read. So what a brand actor knows of the past is never its own state: it can die, sleep
//! and wake without reading the database.

use std::sync::Arc;

use billing::receipt::ReceiptKey;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

use crate::store::keys::CommittedKey;

/// Shards keep a growing table's pauses short and a writer out of most readers' way.
const SHARDS: usize = 256;

/// What is kept of a counted receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub entry: i64,
    pub epoch: i32,
    pub sequence: i64,
    pub digest: u64,
}

/// The map of committed keys, shared by all actors.
#[derive(Clone)]
pub struct Keys {
    shards: Arc<[RwLock<HashTable<CommittedKey>>]>,
}

impl Keys {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect() }
    }

    /// What was counted under `key` for the brand, if anything was.
    pub fn get(&self, brand_no: i32, key: ReceiptKey) -> Option<Counted> {
        let hash = hash(brand_no, key);
        let shard = self.shard(hash).read();
        shard.find(hash, |known| known.key == key && known.brand_no == brand_no).map(|known| {
            Counted {
                entry: known.entry,
                epoch: known.epoch,
                sequence: known.sequence,
                digest: known.digest,
            }
        })
    }

    /// Adds a committed key. The first stays: a receipt is counted once.
    pub fn add(&self, new: CommittedKey) {
        let hash = hash(new.brand_no, new.key);
        let mut shard = self.shard(hash).write();
        let entry = shard.entry(
            hash,
            |known| known.key == new.key && known.brand_no == new.brand_no,
            |known| self::hash(known.brand_no, known.key),
        );
        if let Entry::Vacant(vacant) = entry {
            vacant.insert(new);
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<CommittedKey>> {
        // The table uses the hash's low and highest bits, the shards those between.
        let index = usize::try_from((hash >> 40) & 0xff).expect("eight bits are below 256");
        &self.shards[index]
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

/// A receipt key is already a uniform hash; the brand only has to stir it.
fn hash(brand_no: i32, key: ReceiptKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let low = u64::try_from(key.0 & u128::from(u64::MAX)).expect("masked to 64 bits");
    low ^ u64::from(brand_no.cast_unsigned()).wrapping_mul(ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(brand_no: i32, id: &str, entry: i64) -> CommittedKey {
        let key = ReceiptKey::of(id);
        CommittedKey { brand_no, key, digest: 7, entry, epoch: 1, sequence: entry }
    }

    #[test]
    fn a_key_is_the_brands_own_and_the_first_one_stays() {
        let keys = Keys::new();
        keys.add(key(1, "r", 10));
        keys.add(key(2, "r", 11));
        keys.add(key(1, "r", 12));
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.get(1, ReceiptKey::of("r")).unwrap().entry, 10);
        assert_eq!(keys.get(2, ReceiptKey::of("r")).unwrap().entry, 11);
        assert_eq!(keys.get(3, ReceiptKey::of("r")), None);
    }

    #[test]
    fn a_hundred_thousand_keys_are_all_found() {
        let keys = Keys::new();
        for entry in 0..100_000 {
            keys.add(key(1, &format!("r-{entry}"), entry));
        }
        assert!((0..100_000).all(|entry| {
            keys.get(1, ReceiptKey::of(&format!("r-{entry}"))).is_some_and(|k| k.entry == entry)
        }));
    }
}
