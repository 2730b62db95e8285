//! A sealed segment's filter: says of a receipt that the segment certainly does not have it, or that
//! it may.
//!
//! Four binary fuse filters (Graf and Lemire, "Binary Fuse Filters", 2022), one for each quarter of the
//! keys, so that building them needs a quarter of the memory. 2.3 bytes a receipt; one in 65,536
//! receipts that the segment does not have is taken for one that it may have.

use billing::receipt::ReceiptKey;
use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter as _, FilterRef};
use zerocopy::IntoBytes;

/// Which format the bytes have.
const MAGIC: [u8; 4] = *b"PTF1";
const PARTS: usize = 4;
const DESCRIPTOR_BYTES: usize = BinaryFuse16::DESCRIPTOR_LEN;

/// A filter over hashes of receipts.
pub struct Filter {
    parts: Vec<Part>,
}

struct Part {
    descriptor: [u8; DESCRIPTOR_BYTES],
    fingerprints: Vec<u16>,
}

/// A filter that cannot be built or read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the filter cannot be built: {0}")]
    Construction(&'static str),
    /// Checked for every key: a filter that forgets one would let its receipt be counted twice.
    #[error("the filter does not have a key that it was built from")]
    ForgetsKey,
    #[error("the filter's bytes are cut or of another format")]
    Format,
}

/// The hash of a receipt. Its key is already a uniform one; the brand only has to stir it.
pub fn hash_of(brand_no: i32, key: ReceiptKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let low = u64::try_from(key.0 & u128::from(u64::MAX)).expect("masked to 64 bits");
    low ^ u64::from(brand_no.cast_unsigned()).wrapping_mul(ODD)
}

/// Gathers hashes by the part that they belong to.
#[derive(Default)]
pub struct FilterBuilder {
    hashes: [Vec<u64>; PARTS],
}

impl FilterBuilder {
    pub fn add(&mut self, hash: u64) {
        self.hashes[part_of(hash)].push(hash);
    }

    /// Builds the filter and checks that it has every hash. Takes about 0.15 µs a hash.
    ///
    /// # Errors
    /// [`Error::Construction`] or [`Error::ForgetsKey`], neither of which has ever been seen.
    pub fn build(self) -> Result<Filter, Error> {
        let parts = self.hashes.into_iter().map(Part::build).collect::<Result<_, _>>()?;
        Ok(Filter { parts })
    }
}

impl Filter {
    /// Calls `hit` with the index of each hash that the segment may have.
    pub fn probe(&self, hashes: &[u64], mut hit: impl FnMut(usize)) {
        let parts: Vec<BinaryFuse16Ref<'_>> = self.parts.iter().map(Part::filter).collect();
        for (index, hash) in hashes.iter().enumerate() {
            if parts[part_of(*hash)].contains(hash) {
                hit(index);
            }
        }
    }

    /// Calls `miss` with the index of each hash that the segment certainly does not have.
    pub fn misses(&self, hashes: &[u64], mut miss: impl FnMut(usize)) {
        let mut next = 0;
        self.probe(hashes, |hit| {
            (next..hit).for_each(&mut miss);
            next = hit + 1;
        });
        (next..hashes.len()).for_each(miss);
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| DESCRIPTOR_BYTES + 2 * part.fingerprints.len()).sum()
    }

    /// The filter as it is stored: the format, then for each part its descriptor, the number of its
    /// fingerprints and these, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes() + MAGIC.len() + 4 * PARTS);
        bytes.extend_from_slice(&MAGIC);
        for part in &self.parts {
            let count = u32::try_from(part.fingerprints.len()).expect("a segment is bounded");
            bytes.extend_from_slice(&part.descriptor);
            bytes.extend_from_slice(&count.to_le_bytes());
            for fingerprint in &part.fingerprints {
                bytes.extend_from_slice(&fingerprint.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads what [`Filter::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Format`]. That the bytes are the ones that were written is for a checksum to say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = bytes.strip_prefix(&MAGIC).ok_or(Error::Format)?;
        let parts = (0..PARTS)
            .map(|_| Part::read(&mut rest).ok_or(Error::Format))
            .collect::<Result<_, _>>()?;
        if rest.is_empty() { Ok(Self { parts }) } else { Err(Error::Format) }
    }
}

impl Part {
    fn build(mut hashes: Vec<u64>) -> Result<Self, Error> {
        // Two receipts may share their 64 bits; to the filter they are one.
        hashes.sort_unstable();
        hashes.dedup();
        let built = BinaryFuse16::try_from(hashes.as_slice()).map_err(Error::Construction)?;
        if !hashes.iter().all(|hash| built.contains(hash)) {
            return Err(Error::ForgetsKey);
        }
        let mut descriptor = [0; DESCRIPTOR_BYTES];
        built.dma_copy_descriptor_to(&mut descriptor);
        Ok(Self { descriptor, fingerprints: built.fingerprints.into_vec() })
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let (descriptor, after) = rest.split_first_chunk::<DESCRIPTOR_BYTES>()?;
        let (count, after) = after.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (bytes, after) = after.split_at_checked(count.checked_mul(2)?)?;
        *rest = after;
        let fingerprints =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        Some(Self { descriptor: *descriptor, fingerprints })
    }

    fn filter(&self) -> BinaryFuse16Ref<'_> {
        BinaryFuse16Ref::from_dma(&self.descriptor, self.fingerprints.as_slice().as_bytes())
    }
}

/// The part that a hash belongs to: its two highest bits. The filters stir all bits themselves.
fn part_of(hash: u64) -> usize {
    usize::try_from(hash >> 62).expect("two bits are below 4")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spread over all bits, and different for different numbers.
    fn hash(number: u64) -> u64 {
        number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn filter(count: u64) -> Filter {
        let mut builder = FilterBuilder::default();
        (0..count).for_each(|number| builder.add(hash(number)));
        builder.build().unwrap()
    }

    fn hits(filter: &Filter, numbers: std::ops::Range<u64>) -> usize {
        let hashes: Vec<u64> = numbers.map(hash).collect();
        let mut hits = 0;
        filter.probe(&hashes, |_| hits += 1);
        hits
    }

    #[test]
    fn it_has_all_its_keys_and_hardly_any_other_also_when_read_back() {
        for count in [0, 1, 2, 3, 17, 40, 1_000, 200_000] {
            let built = filter(count);
            let read = Filter::from_bytes(&built.to_bytes()).unwrap();
            for filter in [&built, &read] {
                let all = usize::try_from(count).unwrap();
                assert_eq!(hits(filter, 0..count), all, "{count} keys");
                assert!(hits(filter, count..count + 100_000) < 20, "{count} keys");
            }
        }
    }

    #[test]
    fn what_is_no_hit_is_a_miss() {
        let filter = filter(1_000);
        let numbers = [1, 2_000_000, 2_000_001, 7, 999, 2_000_002];
        let mut misses = Vec::new();
        filter.misses(&numbers.map(hash), |index| misses.push(index));
        assert_eq!(misses, [1, 2, 5]);
        filter.misses(&[], |_| panic!("there is none"));
    }

    #[test]
    fn a_key_twice_is_one_key() {
        let mut builder = FilterBuilder::default();
        (0..3).for_each(|_| builder.add(hash(7)));
        assert_eq!(hits(&builder.build().unwrap(), 7..8), 1);
    }

    #[test]
    fn it_takes_2_3_bytes_a_key() {
        let count = 1_000_000;
        let bytes = filter(count).to_bytes().len();
        assert!(bytes as u64 * 100 <= count * 235, "{bytes} bytes for {count} keys");
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let bytes = filter(1_000).to_bytes();
        for bytes in
            [&bytes[..bytes.len() - 1], &bytes[1..], &[], &[bytes.clone(), vec![0]].concat()]
        {
            assert_eq!(Filter::from_bytes(bytes).err(), Some(Error::Format));
        }
    }
}
