//! What the API is lent of what is counted: where a receipt and a brand's receipts are that no index leads to yet.

use std::sync::Arc;

use billing::receipt::ReceiptKey;

use super::archive::Archive;
use super::directory::Directory;
use super::keys::Keys;
use crate::store::brand_entries::{Bounds, BrandEntries, Unsealed};
use crate::store::finding::{Known, Memory};

/// The keys of a life and its entries by brand, for those who read.
pub struct Recollection {
    keys: Keys,
    entries: BrandEntries,
    archive: Archive,
    directory: Arc<Directory>,
}

impl Recollection {
    pub fn new(
        (keys, entries): (Keys, BrandEntries),
        archive: Archive,
        directory: Arc<Directory>,
    ) -> Self {
        Self { keys, entries, archive, directory }
    }

    fn bounds(&self, committed: i64) -> Bounds {
        let (sealed_until, is_whole) = self.archive.sealed_until();
        // Behind a segment that cannot be sealed there may be sealed ones, whose memory is gone: all is read.
        let unknown_from = if is_whole { sealed_until.max(committed + 1) } else { sealed_until };
        Bounds { sealed_until, unknown_from }
    }
}

impl Memory for Recollection {
    fn find(&self, brand_no: Option<i32>, key: ReceiptKey) -> Known {
        // In this order: an entry that is committed has its key, and a key that was dropped is in a segment
        // that was published as sealed before.
        let committed = *self.archive.entries().borrow();
        let of_brand = |brand_no: &i32| self.keys.get(*brand_no, key).map(|counted| counted.entry);
        let entries: Vec<i64> = match brand_no {
            Some(brand_no) => of_brand(&brand_no).into_iter().collect(),
            None => self.directory.brand_numbers().iter().filter_map(of_brand).collect(),
        };
        Known { entries, bounds: self.bounds(committed) }
    }

    fn unsealed(&self) -> Unsealed {
        // In this order, as above.
        let committed = *self.archive.entries().borrow();
        self.entries.lend(|| self.bounds(committed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::archive::Sealed;
    use crate::store::filter::FilterBuilder;
    use crate::store::keys::CommittedKey;

    fn recollection(entry: i64, sealed: &[i64]) -> Recollection {
        let sealed = sealed.iter().map(|segment| Sealed {
            segment: *segment,
            entries: 10,
            filter: FilterBuilder::default().build().unwrap(),
        });
        let archive = Archive::new(10, entry, sealed.collect());
        Recollection::new((Keys::new(10), BrandEntries::new(10)), archive, Arc::default())
    }

    #[test]
    fn what_is_not_sealed_is_known_up_to_the_last_commit() {
        let key = ReceiptKey::of("r");
        let lent = recollection(34, &[1, 0]);
        let counted =
            CommittedKey { brand_no: 7, key, digest: 1, entry: 31, epoch: 1, sequence: 9 };
        lent.keys.add(counted);
        lent.entries.add(&[counted]);
        let bounds = Bounds { sealed_until: 20, unknown_from: 35 };
        let known = Known { entries: vec![31], bounds };
        assert_eq!(lent.find(Some(7), key), known);
        assert_eq!(lent.find(Some(8), key).entries, [0; 0]);
        assert_eq!(lent.unsealed().bounds, bounds);
        assert_eq!(lent.unsealed().of_brand(7, 0, 40, 9), [31]);
        lent.archive.committed(40);
        assert_eq!(lent.find(Some(7), key).bounds.unknown_from, 41);
    }

    #[test]
    fn nothing_is_known_behind_a_segment_that_is_missing() {
        let lent = recollection(45, &[0, 2]);
        let bounds = Bounds { sealed_until: 10, unknown_from: 10 };
        assert_eq!(lent.unsealed().bounds, bounds);
        let known = Known { entries: Vec::new(), bounds };
        assert_eq!(lent.find(None, ReceiptKey::of("r")), known);
    }
}
