//! The archive: the sealed segments of the ledger, a filter each in memory, their receipts in the
//! database.
//!
//! The keys of a receipt are either in [`Keys`](super::keys::Keys) or behind a filter, and while a
//! segment is being sealed in both. So the intake looks each chunk up here, once and in batch, and
//! brand actors do no IO.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tokio::sync::{Notify, watch};

use super::chunk::Chunk;
use super::keys::Counted;
use crate::store::filter::{self, Filter};
use crate::store::sealing::{self, Wanted};
use crate::store::{Error, Store, segments};

/// Full segments that may wait to be sealed; with more of them the intake waits, since their keys are
/// all in memory.
pub const UNSEALED_MAX: i64 = 2;

/// A sealed segment.
pub struct Sealed {
    pub segment: i64,
    /// Receipts that it has.
    pub entries: i64,
    pub filter: Filter,
}

/// The sealed segments at some moment, in no order.
pub type View = Arc<Vec<Arc<Sealed>>>;

/// What was counted in sealed segments, by the candidate that asks for it.
pub type Found = HashMap<u32, Counted>;

/// Shared by the intake that looks up, the sealer that adds, and the ledger that says how far it is.
#[derive(Clone)]
pub struct Archive {
    shared: Arc<Shared>,
}

struct Shared {
    segment_entries: i64,
    /// Last entry that is committed.
    entry: watch::Sender<i64>,
    sealed: watch::Sender<View>,
    /// Told when receipts that were counted twice have left the ledger.
    repaired: Notify,
}

impl Archive {
    /// Receipts of one look-up.
    const WANTED_MAX: usize = 65_536;

    pub fn new(segment_entries: i64, entry: i64, sealed: Vec<Sealed>) -> Self {
        let sealed = Arc::new(sealed.into_iter().map(Arc::new).collect());
        let (entry, sealed) = (watch::Sender::new(entry), watch::Sender::new(sealed));
        let repaired = Notify::new();
        Self { shared: Arc::new(Shared { segment_entries, entry, sealed, repaired }) }
    }

    /// Entries in a segment.
    pub fn segment_entries(&self) -> i64 {
        self.shared.segment_entries
    }

    pub fn view(&self) -> View {
        Arc::clone(&self.shared.sealed.borrow())
    }

    /// Adds a sealed segment, for every look-up that begins from now on.
    pub fn publish(&self, sealed: Sealed) {
        let mut all: Vec<_> = self.view().to_vec();
        all.push(Arc::new(sealed));
        self.shared.sealed.send_replace(Arc::new(all));
    }

    /// True if the entry's segment is sealed.
    pub fn is_sealed(&self, entry: i64) -> bool {
        let segment = segments::segment_of(entry, self.shared.segment_entries);
        self.view().iter().any(|sealed| sealed.segment == segment)
    }

    /// Says that the ledger has entries up to `entry`.
    pub fn committed(&self, entry: i64) {
        self.shared.entry.send_replace(entry);
    }

    /// Receipts in all sealed segments.
    pub fn entries_sealed(&self) -> i64 {
        self.view().iter().map(|sealed| sealed.entries).sum()
    }

    /// Full segments that are not sealed, the oldest first.
    pub fn unsealed(&self) -> Vec<i64> {
        let sealed: HashSet<i64> = self.view().iter().map(|sealed| sealed.segment).collect();
        let full = segments::full(*self.shared.entry.borrow(), self.shared.segment_entries);
        (0..full).filter(|segment| !sealed.contains(segment)).collect()
    }

    /// The entry up to which every segment is sealed, and whether no segment behind it is.
    pub fn sealed_until(&self) -> (i64, bool) {
        let sealed: HashSet<i64> = self.view().iter().map(|sealed| sealed.segment).collect();
        let count = i64::try_from(sealed.len()).unwrap_or(i64::MAX);
        let first = (0..count).find(|segment| !sealed.contains(segment)).unwrap_or(count);
        (segments::entries_of(first, self.shared.segment_entries).start, first == count)
    }

    /// True if so many full segments are not sealed that nothing more should be read.
    pub fn is_behind(&self) -> bool {
        let full = segments::full(*self.shared.entry.borrow(), self.shared.segment_entries);
        let sealed = i64::try_from(self.shared.sealed.borrow().len()).unwrap_or(i64::MAX);
        full - sealed > UNSEALED_MAX
    }

    /// Completes when the archive is not behind.
    pub async fn catch_up(&self) {
        let mut sealed = self.shared.sealed.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        while self.is_behind() && sealed.changed().await.is_ok() {}
    }

    /// Says that what could not be sealed may be sealed now.
    pub fn repaired(&self) {
        self.shared.repaired.notify_one();
    }

    /// Completes when something was repaired.
    pub async fn repair(&self) {
        self.shared.repaired.notified().await;
    }

    /// The last entry that is committed, as it grows.
    pub fn entries(&self) -> watch::Receiver<i64> {
        self.shared.entry.subscribe()
    }

    /// What sealed segments know of the chunk's candidates. Asks the database only about those that
    /// pass a filter: those that were counted before, and one in 65,536 others a segment.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn find(&self, store: &Store, chunk: &Chunk) -> Result<Found, Error> {
        let view = self.view();
        let mut found = Found::new();
        if view.is_empty() {
            return Ok(found);
        }
        let hashes: Vec<u64> = chunk
            .candidates
            .iter()
            .map(|candidate| filter::hash_of(chunk.brand_no(candidate), candidate.key))
            .collect();
        let wanted: Vec<Wanted> =
            view.iter().flat_map(|sealed| sealed.wanted(chunk, &hashes)).collect();
        for part in wanted.chunks(Self::WANTED_MAX) {
            let known = sealing::look_up(&store.pool, self.segment_entries(), part).await?;
            for (index, known) in known {
                found.entry(index).or_insert(Counted::from(known));
            }
        }
        Ok(found)
    }
}

impl Sealed {
    /// The candidates that this segment may have.
    fn wanted(&self, chunk: &Chunk, hashes: &[u64]) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        self.filter.probe(hashes, |index| {
            let candidate = &chunk.candidates[index];
            wanted.push(Wanted {
                index: u32::try_from(index).expect("a chunk is bounded"),
                segment: self.segment,
                brand_no: chunk.brand_no(candidate),
                key: candidate.key,
            });
        });
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::filter::FilterBuilder;

    fn sealed(segment: i64) -> Sealed {
        Sealed { segment, entries: 10, filter: FilterBuilder::default().build().unwrap() }
    }

    #[test]
    fn a_full_segment_is_unsealed_until_it_is_published() {
        let archive = Archive::new(10, 8, Vec::new());
        assert_eq!(archive.unsealed(), [0; 0], "entry 9 is missing in segment 0");
        archive.committed(9);
        assert_eq!(archive.unsealed(), [0]);
        archive.committed(45);
        assert_eq!(archive.unsealed(), [0, 1, 2, 3]);
        assert!(archive.is_behind());
        archive.publish(sealed(1));
        assert!(archive.is_behind());
        archive.publish(sealed(0));
        assert_eq!(archive.unsealed(), [2, 3]);
        assert!(!archive.is_behind());
    }
}
