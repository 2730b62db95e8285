//! Which entries are a brand's, of the segments that are not sealed: in memory, four bytes an entry, since no
//! index leads to them yet.
//!
//! Written by the engine as it commits, and lent to those who read pages of a brand's receipts. What corrections
//! add stands beside the ledger in a table of its own, and is not here.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use super::keys::CommittedKey;
use super::segments;

/// The entries of all segments that are not sealed.
#[derive(Clone)]
pub struct BrandEntries {
    segment_entries: i64,
    segments: Arc<RwLock<Vec<Arc<Segment>>>>,
}

/// One segment: by brand how many entries after the segment's first one each is, ascending.
#[derive(Debug)]
struct Segment {
    no: i64,
    first: i64,
    brands: RwLock<HashMap<i32, Vec<u32>>>,
}

impl BrandEntries {
    pub fn new(segment_entries: i64) -> Self {
        Self { segment_entries, segments: Arc::default() }
    }

    /// Adds what is committed. Entries of a brand come in their order, unless [`Self::sort`] follows.
    pub fn add(&self, keys: &[CommittedKey]) {
        let segment_of = |key: &CommittedKey| segments::segment_of(key.entry, self.segment_entries);
        for of_segment in keys.chunk_by(|one, next| segment_of(one) == segment_of(next)) {
            let segment = self.segment(segment_of(&of_segment[0]));
            let mut brands = segment.brands.write();
            for of_brand in of_segment.chunk_by(|one, next| one.brand_no == next.brand_no) {
                let offsets = of_brand.iter().map(|key| {
                    u32::try_from(key.entry - segment.first).expect("a segment has fewer entries")
                });
                brands.entry(of_brand[0].brand_no).or_default().extend(offsets);
            }
        }
    }

    /// Brings what was added in any order into its order.
    pub fn sort(&self) {
        for segment in self.segments.read().iter() {
            segment.brands.write().values_mut().for_each(|offsets| offsets.sort_unstable());
        }
    }

    /// Drops the entries of a segment; those who were lent them keep them.
    pub fn drop_segment(&self, segment: i64) {
        self.segments.write().retain(|of| of.no != segment);
    }

    fn segment(&self, no: i64) -> Arc<Segment> {
        let mut segments = self.segments.write();
        if let Some(segment) = segments.iter().find(|of| of.no == no) {
            return Arc::clone(segment);
        }
        let first = segments::entries_of(no, self.segment_entries).start;
        let segment = Arc::new(Segment { no, first, brands: RwLock::default() });
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
    /// The brand's first entries after `after`, ascending; `limit` of them at most.
    pub fn of_brand(&self, brand_no: i32, after: i64, limit: usize) -> Vec<i64> {
        let Bounds { sealed_until, unknown_from } = self.bounds;
        let from = sealed_until.max(after.saturating_add(1));
        let mut found = Vec::new();
        for segment in &self.segments {
            let brands = segment.brands.read();
            let Some(offsets) = brands.get(&brand_no) else { continue };
            let entry = |offset: &u32| segment.first + i64::from(*offset);
            let place = offsets.partition_point(|offset| entry(offset) < from);
            let known =
                offsets[place..].iter().map(entry).take_while(|entry| *entry < unknown_from);
            found.extend(known.take(limit - found.len()));
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
        assert_eq!(lent.of_brand(1, 0, 9), [8, 10, 11, 14, 20]);
        assert_eq!(lent.of_brand(1, 8, 2), [10, 11]);
        assert_eq!(lent.of_brand(2, 9, 9), [12, 13]);
        assert_eq!(lent.of_brand(1, 20, 9), [0; 0]);
        assert_eq!(lent.of_brand(3, 0, 9), [0; 0]);
        assert_eq!(lent.of_brand(1, i64::MAX, 9), [0; 0]);
    }

    #[test]
    fn nothing_is_said_outside_of_the_bounds() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 8), (1, 10), (1, 11), (1, 14), (1, 20)]));
        assert_eq!(lent(&entries, 10, 14).of_brand(1, 0, 9), [10, 11]);
        assert_eq!(lent(&entries, 10, 10).of_brand(1, 0, 9), [0; 0]);
    }

    #[test]
    fn what_was_lent_stays_when_its_segment_is_dropped() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 8), (1, 10)]));
        let before = lent(&entries, 0, 11);
        entries.drop_segment(0);
        assert_eq!(before.of_brand(1, 0, 9), [8, 10]);
        assert_eq!(lent(&entries, 10, 11).of_brand(1, 0, 9), [10]);
    }

    #[test]
    fn what_is_loaded_in_any_order_is_sorted() {
        let entries = BrandEntries::new(10);
        entries.add(&keys(&[(1, 7), (1, 3), (2, 5), (1, 5)]));
        entries.sort();
        assert_eq!(lent(&entries, 0, 9).of_brand(1, 3, 9), [5, 7]);
    }
}
