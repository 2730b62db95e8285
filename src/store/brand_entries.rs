//! Whose each entry is, of the segments that are not sealed: in memory, four bytes an entry, since no index leads
//! to a brand's entries yet.
//!
//! Written by the engine as it commits, which takes no longer than to append to an array, and lent to those who read
//! pages of a brand's receipts, who search it. What corrections add stands beside the ledger in a table of its own,
//! and is not here.

use std::sync::Arc;

use parking_lot::RwLock;

use super::keys::CommittedKey;
use super::segments;

/// The entries of all segments that are not sealed.
#[derive(Clone)]
pub struct BrandEntries {
    segment_entries: i64,
    segments: Arc<RwLock<Vec<Arc<Segment>>>>,
}

/// One segment.
#[derive(Debug)]
struct Segment {
    no: i64,
    first: i64,
    /// The brand of each entry from the first one on.
    brands: RwLock<Vec<i32>>,
}

/// In the place of a brand's number for an entry that no event has counted.
const NOBODY: i32 = 0;

impl BrandEntries {
    pub fn new(segment_entries: i64) -> Self {
        Self { segment_entries, segments: Arc::default() }
    }

    /// Adds what is committed, in any order.
    pub fn add(&self, keys: &[CommittedKey]) {
        let segment_of = |key: &CommittedKey| segments::segment_of(key.entry, self.segment_entries);
        for of_segment in keys.chunk_by(|one, next| segment_of(one) == segment_of(next)) {
            let segment = self.segment(segment_of(&of_segment[0]));
            let mut brands = segment.brands.write();
            for key in of_segment {
                let place = segment.place(key.entry);
                if place >= brands.len() {
                    brands.resize(place + 1, NOBODY);
                }
                brands[place] = key.brand_no;
            }
        }
    }

    /// Drops the entries of a segment; those who were lent them keep them.
    pub fn drop_segment(&self, segment: i64) {
        let mut segments = self.segments.write();
        let place = segments.iter().position(|of| of.no == segment);
        let dropped = place.map(|place| segments.remove(place));
        // Nobody need wait while the memory is given back.
        drop(segments);
        drop(dropped);
    }

    fn segment(&self, no: i64) -> Arc<Segment> {
        let mut segments = self.segments.write();
        if let Some(segment) = segments.iter().find(|of| of.no == no) {
            return Arc::clone(segment);
        }
        let first = segments::entries_of(no, self.segment_entries).start;
        // Never moved as it grows; what is not written takes no memory.
        let entries = usize::try_from(self.segment_entries).unwrap_or_default();
        let brands = RwLock::new(Vec::with_capacity(entries));
        let segment = Arc::new(Segment { no, first, brands });
        segments.push(Arc::clone(&segment));
        segments.sort_unstable_by_key(|of| of.no);
        segment
    }

    /// What there is now, for one who reads. `bounds` are asked for when the segments are held, since a segment is
    /// dropped after it counts as sealed.
    pub fn lend(&self, bounds: impl FnOnce() -> Bounds) -> Unsealed {
        let segments = self.segments.read().clone();
        Unsealed { bounds: bounds(), segments }
    }
}

impl Segment {
    /// Entries that are searched at once; whoever adds some waits as long.
    const SEARCHED: usize = 65_536;

    fn place(&self, entry: i64) -> usize {
        usize::try_from(entry - self.first).unwrap_or_default()
    }

    fn entry(&self, place: usize) -> i64 {
        self.first + i64::try_from(place).expect("a segment has fewer entries")
    }

    /// Adds the brand's entries from `from` to before `until` to `found`, up to `limit` of them.
    fn search(&self, brand_no: i32, from: i64, until: i64, (found, limit): (&mut Vec<i64>, usize)) {
        let (mut begin, end) = (self.place(from), self.place(until));
        loop {
            let brands = self.brands.read();
            let searched = (begin + Self::SEARCHED).min(end).min(brands.len());
            if begin >= searched || found.len() >= limit {
                return;
            }
            let missing = limit - found.len();
            let places = brands[begin..searched].iter().zip(begin..);
            let is_its = places.filter(|(brand, _)| **brand == brand_no);
            found.extend(is_its.take(missing).map(|(_, place)| self.entry(place)));
            begin = searched;
        }
    }
}

/// Between which entries something is known from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// All segments below this entry are sealed, and have indexes.
    pub sealed_until: i64,
    /// What is from this entry on must be read.
    pub unknown_from: i64,
}

/// The entries of each brand between two bounds. They hold in every snapshot that is taken afterwards.
#[derive(Debug)]
pub struct Unsealed {
    pub bounds: Bounds,
    segments: Vec<Arc<Segment>>,
}

impl Unsealed {
    /// The brand's first entries after `after` and up to `until`, ascending; `limit` of them at most.
    pub fn of_brand(&self, brand_no: i32, after: i64, until: i64, limit: usize) -> Vec<i64> {
        let from = self.bounds.sealed_until.max(after.saturating_add(1));
        let end = self.bounds.unknown_from.min(until.saturating_add(1));
        let mut found = Vec::new();
        for segment in &self.segments {
            segment.search(brand_no, from.max(segment.first), end, (&mut found, limit));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use billing::receipt::ReceiptKey;

    use super::*;

    fn keys(entries: &[(i32, i64)]) -> Vec<CommittedKey> {
        let key = |(brand_no, entry): &(i32, i64)| CommittedKey {
            brand_no: *brand_no,
            key: ReceiptKey::of("r"),
            digest: 1,
            entry: *entry,
            epoch: 1,
            sequence: *entry,
        };
        entries.iter().map(key).collect()
    }

    fn lent(entries: &BrandEntries, sealed_until: i64, unknown_from: i64) -> Unsealed {
        entries.lend(|| Bounds { sealed_until, unknown_from })
    }

    #[test]
    fn a_brands_entries_are_found_over_segments_in_their_order() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 8), (2, 9), (1, 10), (1, 11), (2, 12)]));
        entries.add(&keys(&[(2, 13), (1, 14), (1, 20)]));
        let lent = lent(&entries, 0, 21);
        assert_eq!(lent.of_brand(1, 0, i64::MAX, 9), [8, 10, 11, 14, 20]);
        assert_eq!(lent.of_brand(1, 8, i64::MAX, 2), [10, 11]);
        assert_eq!(lent.of_brand(2, 9, i64::MAX, 9), [12, 13]);
        assert_eq!(lent.of_brand(1, 20, i64::MAX, 9), [0; 0]);
        assert_eq!(lent.of_brand(3, 0, i64::MAX, 9), [0; 0]);
        assert_eq!(lent.of_brand(1, i64::MAX, i64::MAX, 9), [0; 0]);
    }

    #[test]
    fn nothing_is_said_outside_of_the_bounds() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 8), (1, 10), (1, 11), (1, 14), (1, 20)]));
        assert_eq!(lent(&entries, 10, 14).of_brand(1, 0, i64::MAX, 9), [10, 11]);
        assert_eq!(lent(&entries, 10, 14).of_brand(1, 0, 10, 9), [10]);
        assert_eq!(lent(&entries, 10, 10).of_brand(1, 0, i64::MAX, 9), [0; 0]);
    }

    #[test]
    fn what_was_lent_stays_when_its_segment_is_dropped() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 8), (1, 10)]));
        let before = lent(&entries, 0, 11);
        entries.drop_segment(0);
        assert_eq!(before.of_brand(1, 0, i64::MAX, 9), [8, 10]);
        assert_eq!(lent(&entries, 10, 11).of_brand(1, 0, i64::MAX, 9), [10]);
    }

    #[test]
    fn what_is_loaded_in_any_order_comes_in_its_order() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 7), (1, 3), (2, 5), (1, 5)]));
        assert_eq!(lent(&entries, 0, 9).of_brand(1, 0, i64::MAX, 9), [3, 5, 7]);
    }

    #[test]
    fn many_entries_are_searched_to_the_last_and_no_further_than_wanted() {
        let entries = BrandEntries::new(300_000);
        let brand = |entry: i64| if entry % 977 == 0 { 5 } else { 6 };
        let all: Vec<_> = (1..=250_000).map(|entry| (brand(entry), entry)).collect();
        entries.add(&keys(&all));
        let lent = lent(&entries, 0, 250_001);
        let expected: Vec<i64> = (1..=250_000).filter(|entry| entry % 977 == 0).collect();
        assert_eq!(lent.of_brand(5, 0, i64::MAX, usize::MAX), expected);
        assert_eq!(lent.of_brand(5, 976, i64::MAX, 3), expected[..3]);
        assert_eq!(lent.of_brand(5, 977, i64::MAX, 3), expected[1..4]);
        assert_eq!(lent.of_brand(6, 200_000, i64::MAX, 1), [200_001]);
    }
}
