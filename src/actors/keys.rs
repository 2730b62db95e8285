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

/// The oldest segment first. There are two or three, of one epoch or two.
type Shard = Vec<Table>;

/// The keys of a segment that were counted from one epoch's stream. A segment has tables of its own, so that they are
/// dropped at once when it is sealed, and their memory with them.
struct Table {
    segment: i64,
    /// The segment's first entry.
    first: i64,
    epoch: i32,
    slots: HashTable<Slot>,
}

/// What a table has of a key: 40 bytes, and not 48, of which there are millions.
#[derive(Clone, Copy)]
struct Slot {
    /// The receipt's key, its upper half and its lower one.
    key: [u64; 2],
    digest: u64,
    sequence: i64,
    brand_no: i32,
    /// Entries after the segment's first one.
    offset: u32,
}

impl Slot {
    fn key(&self) -> ReceiptKey {
        let [upper, lower] = self.key.map(u128::from);
        ReceiptKey(upper << 64 | lower)
    }

    fn is(&self, brand_no: i32, key: ReceiptKey) -> bool {
        self.brand_no == brand_no && self.key() == key
    }

    fn hash(&self) -> u64 {
        hash_of(self.brand_no, self.key())
    }
}

impl Table {
    fn counted(&self, slot: &Slot) -> Counted {
        let Slot { digest, sequence, offset, .. } = *slot;
        Counted { entry: self.first + i64::from(offset), epoch: self.epoch, sequence, digest }
    }

    fn slot(&self, known: CommittedKey) -> Slot {
        let CommittedKey { brand_no, key, digest, entry, sequence, .. } = known;
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("it is masked");
        let offset = u32::try_from(entry - self.first).expect("a segment has fewer entries");
        Slot { key: [half(key.0 >> 64), half(key.0)], digest, sequence, brand_no, offset }
    }
}

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
        let found = |table: &Table| {
            table.slots.find(hash, |slot| slot.is(brand_no, key)).map(|slot| table.counted(slot))
        };
        shard.iter().find_map(found)
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
        let mut is_new = true;
        for table in shard.iter_mut() {
            let Ok(known) = table.slots.find_entry(hash, |slot| slot.is(new.brand_no, new.key))
            else {
                continue;
            };
            let entry = table.first + i64::from(known.get().offset);
            if table.segment != segment || entry <= new.entry {
                return false;
            }
            known.remove();
            is_new = false;
        }
        let is_its = |table: &Table| (table.segment, table.epoch) == (segment, new.epoch);
        let place = shard.iter().position(is_its).unwrap_or_else(|| {
            let first = segments::entries_of(segment, self.segment_entries).start;
            let slots = HashTable::new();
            shard.push(Table { segment, first, epoch: new.epoch, slots });
            shard.sort_unstable_by_key(|table| table.segment);
            shard.iter().position(is_its).expect("it was added just now")
        });
        let slot = shard[place].slot(new);
        shard[place].slots.insert_unique(hash, slot, Slot::hash);
        is_new
    }

    /// Takes a key away, if it is of this entry.
    pub fn remove(&self, brand_no: i32, key: ReceiptKey, entry: i64) {
        let hash = hash_of(brand_no, key);
        for table in self.shard(hash).write().iter_mut() {
            let first = table.first;
            let is_it =
                |slot: &Slot| slot.is(brand_no, key) && first + i64::from(slot.offset) == entry;
            if let Ok(found) = table.slots.find_entry(hash, is_it) {
                found.remove();
            }
        }
    }

    /// Drops the keys of a segment.
    pub fn drop_segment(&self, segment: i64) {
        for shard in self.shards.iter() {
            let mut shard = shard.write();
            let dropped: Vec<Table> =
                shard.extract_if(.., |table| table.segment == segment).collect();
            // Readers need not wait while the memory is given back.
            drop(shard);
            drop(dropped);
        }
    }

    /// Hands the brand and key of each receipt of a segment to `take`. No lock is held meanwhile.
    pub fn of_segment(&self, segment: i64, mut take: impl FnMut(i32, ReceiptKey)) {
        let mut keys = Vec::new();
        for shard in self.shards.iter() {
            for table in shard.read().iter().filter(|table| table.segment == segment) {
                keys.extend(table.slots.iter().map(|slot| (slot.brand_no, slot.key())));
            }
            keys.drain(..).for_each(|(brand_no, key)| take(brand_no, key));
        }
    }

    /// How many keys there are; one that was replaced counts once.
    pub fn len(&self) -> usize {
        let keys_of = |shard: &Shard| shard.iter().map(|table| table.slots.len()).sum::<usize>();
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
    fn what_is_counted_from_an_earlier_stream_is_known_by_its_own_position() {
        let keys = Keys::new(100);
        let of_epoch = |epoch, id, entry| CommittedKey { epoch, ..key(1, id, entry) };
        assert!(keys.add(of_epoch(1, "old", 10)));
        assert!(keys.add(of_epoch(2, "new", 11)));
        assert!(!keys.add(of_epoch(2, "old", 12)), "it is counted, whatever stream has it");
        assert!(!keys.add(of_epoch(2, "old", 9)), "the lower entry counts, whatever stream has it");
        let old = Counted { entry: 9, epoch: 2, sequence: 9, digest: 7 };
        assert_eq!(keys.get(1, ReceiptKey::of("old")), Some(old));
        assert_eq!(keys.get(1, ReceiptKey::of("new")).unwrap().epoch, 2);
        assert_eq!(keys.len(), 2);
        keys.drop_segment(0);
        assert!(keys.is_empty());
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
