//! The committed keys: every receipt that was counted and whose segment is not sealed, by brand and
//! receipt key.
//!
//! Only the ledger actor adds and drops keys: it adds them after their commit and before their chunk
//! is released, and drops those of a segment when nobody can need them any more; brand actors read.
//! So what a brand actor knows of the past is never its own state: it can die, sleep and wake without
//! reading the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use billing::receipt::ReceiptKey;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

use crate::store::filter::hash_of;
use crate::store::keys::CommittedKey;
use crate::store::segments;

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

impl From<CommittedKey> for Counted {
    fn from(known: CommittedKey) -> Self {
        let CommittedKey { entry, epoch, sequence, digest, .. } = known;
        Self { entry, epoch, sequence, digest }
    }
}

/// The map of committed keys, shared by all actors.
#[derive(Clone)]
pub struct Keys {
    shards: Arc<[RwLock<Shard>]>,
    segment_entries: i64,
    replaced: Arc<Replaced>,
}

/// What counts under a receipt's id in the place of what was counted first: the outcome of resolved
/// conflicts. They are few, and stand apart so that no segment takes them along.
#[derive(Default)]
struct Replaced {
    /// Spares the lock as long as there are none, which is nearly always.
    count: AtomicUsize,
    keys: RwLock<HashMap<(i32, ReceiptKey), Counted>>,
}

/// A table for each segment, so that a sealed segment's keys are dropped at once and their memory
/// with them. There are two or three, the oldest first.
type Shard = Vec<(i64, HashTable<CommittedKey>)>;

impl Keys {
    pub fn new(segment_entries: i64) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(Shard::new())).collect();
        Self { shards, segment_entries, replaced: Arc::default() }
    }

    /// What was counted under `key` for the brand, if anything was.
    pub fn get(&self, brand_no: i32, key: ReceiptKey) -> Option<Counted> {
        if let Some(counted) = self.replaced(brand_no, key) {
            return Some(counted);
        }
        let hash = hash_of(brand_no, key);
        let shard = self.shard(hash).read();
        let is_it = |known: &CommittedKey| known.key == key && known.brand_no == brand_no;
        shard.iter().find_map(|(_, table)| table.find(hash, is_it)).map(|known| (*known).into())
    }

    /// What counts in the place of what was counted first, if a conflict was resolved so.
    pub fn replaced(&self, brand_no: i32, key: ReceiptKey) -> Option<Counted> {
        if self.replaced.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.replaced.keys.read().get(&(brand_no, key)).copied()
    }

    /// Says that `new` counts under its receipt's id from now on. The last one stays.
    pub fn replace(&self, new: CommittedKey) {
        let mut keys = self.replaced.keys.write();
        keys.insert((new.brand_no, new.key), new.into());
        self.replaced.count.store(keys.len(), Ordering::Release);
    }

    /// Adds a committed key. False if it was there: a receipt is counted once. Should a ledger have it
    /// twice all the same, the lower entry of a segment is the one that counts.
    pub fn add(&self, new: CommittedKey) -> bool {
        let hash = hash_of(new.brand_no, new.key);
        let segment = segments::segment_of(new.entry, self.segment_entries);
        let mut shard = self.shard(hash).write();
        let place = shard.iter().position(|(of, _)| *of == segment).unwrap_or_else(|| {
            shard.push((segment, HashTable::new()));
            shard.sort_unstable_by_key(|(of, _)| *of);
            shard.iter().position(|(of, _)| *of == segment).expect("it was added just now")
        });
        let is_it = |known: &CommittedKey| known.key == new.key && known.brand_no == new.brand_no;
        if shard.iter().any(|(of, table)| *of != segment && table.find(hash, is_it).is_some()) {
            return false;
        }
        let rehash = |known: &CommittedKey| hash_of(known.brand_no, known.key);
        match shard[place].1.entry(hash, is_it, rehash) {
            Entry::Vacant(vacant) => {
                vacant.insert(new);
                true
            }
            Entry::Occupied(mut known) => {
                if new.entry < known.get().entry {
                    *known.get_mut() = new;
                }
                false
            }
        }
    }

    /// Takes a key away, if it is of this entry.
    pub fn remove(&self, brand_no: i32, key: ReceiptKey, entry: i64) {
        let hash = hash_of(brand_no, key);
        let is_it = |known: &CommittedKey| {
            (known.key, known.brand_no, known.entry) == (key, brand_no, entry)
        };
        for (_, table) in self.shard(hash).write().iter_mut() {
            if let Ok(found) = table.find_entry(hash, is_it) {
                found.remove();
            }
        }
    }

    /// Drops the keys of a segment.
    pub fn drop_segment(&self, segment: i64) {
        for shard in self.shards.iter() {
            let mut shard = shard.write();
            let place = shard.iter().position(|(of, _)| *of == segment);
            let dropped = place.map(|place| shard.remove(place));
            // Readers need not wait while the memory is given back.
            drop(shard);
            drop(dropped);
        }
    }

    /// Hands the brand and key of each receipt of a segment to `take`. No lock is held meanwhile.
    pub fn of_segment(&self, segment: i64, mut take: impl FnMut(i32, ReceiptKey)) {
        let mut keys = Vec::new();
        for shard in self.shards.iter() {
            for (_, table) in shard.read().iter().filter(|(of, _)| *of == segment) {
                keys.extend(table.iter().map(|known| (known.brand_no, known.key)));
            }
            keys.drain(..).for_each(|(brand_no, key)| take(brand_no, key));
        }
    }

    /// How many keys there are; one that was replaced counts once.
    pub fn len(&self) -> usize {
        let keys_of = |shard: &Shard| shard.iter().map(|(_, table)| table.len()).sum::<usize>();
        self.shards.iter().map(|shard| keys_of(&shard.read())).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table uses the hash's low and highest bits, the shards those between.
        let index = usize::try_from((hash >> 40) & 0xff).expect("eight bits are below 256");
        &self.shards[index]
    }
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
        let keys = Keys::new(10);
        keys.add(key(1, "r", 10));
        keys.add(key(2, "r", 11));
        keys.add(key(1, "r", 12));
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.get(1, ReceiptKey::of("r")).unwrap().entry, 10);
        assert_eq!(keys.get(2, ReceiptKey::of("r")).unwrap().entry, 11);
        assert_eq!(keys.get(3, ReceiptKey::of("r")), None);
    }

    #[test]
    fn of_a_receipt_that_a_ledger_has_twice_the_lower_entry_counts() {
        let keys = Keys::new(100);
        for entry in [12, 10, 11] {
            keys.add(key(1, "r", entry));
        }
        assert_eq!(keys.get(1, ReceiptKey::of("r")).unwrap().entry, 10);
        keys.remove(1, ReceiptKey::of("r"), 11);
        assert_eq!(keys.len(), 1, "it is another entry's");
        keys.remove(1, ReceiptKey::of("r"), 10);
        assert_eq!(keys.len(), 0);
    }

    #[test]
    fn a_segments_keys_are_dropped_alone() {
        let keys = Keys::new(10);
        for entry in 1..=25 {
            assert!(keys.add(key(1, &format!("r-{entry}"), entry)));
        }
        assert!(!keys.add(key(1, "r-3", 26)), "it is in another segment's table");
        keys.drop_segment(1);
        let mut of_segment = Vec::new();
        keys.of_segment(2, |brand_no, key| of_segment.push((brand_no, key)));
        of_segment.sort_unstable();
        let mut entries: Vec<_> =
            (20..=25).map(|entry| (1, ReceiptKey::of(&format!("r-{entry}")))).collect();
        entries.sort_unstable();
        assert_eq!(of_segment, entries);
        let has = |entry: i64| keys.get(1, ReceiptKey::of(&format!("r-{entry}"))).is_some();
        let left: Vec<i64> = (1..=25).filter(|entry| has(*entry)).collect();
        assert_eq!(left, (1..=9).chain(20..=25).collect::<Vec<_>>());
    }

    #[test]
    fn what_replaces_a_key_is_found_in_its_place() {
        let keys = Keys::new(10);
        keys.add(key(1, "r", 10));
        keys.replace(CommittedKey { digest: 8, ..key(1, "r", 12) });
        keys.add(key(1, "r", 13));
        let found = keys.get(1, ReceiptKey::of("r")).unwrap();
        assert_eq!((found.entry, found.digest, keys.len()), (12, 8, 1));
        assert_eq!(keys.get(2, ReceiptKey::of("r")), None);
    }

    #[test]
    fn a_hundred_thousand_keys_are_all_found() {
        let keys = Keys::new(1_000_000);
        for entry in 0..100_000 {
            keys.add(key(1, &format!("r-{entry}"), entry));
        }
        assert!((0..100_000).all(|entry| {
            keys.get(1, ReceiptKey::of(&format!("r-{entry}"))).is_some_and(|k| k.entry == entry)
        }));
    }
}
