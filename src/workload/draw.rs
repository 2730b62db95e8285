//! Random draws that are the same for ever: integers only, and a generator of its own for each
//! event, so that any earlier event can be made again from its number alone.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::RngCore;

use super::spec::Percent;

/// What an event is numbered in. Numbers of different series never give the same receipt id.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    Order,
    Original,
    Reemission,
    Conflict,
    Malformed,
    Failed,
}

/// The draws of one event.
#[derive(Clone, Debug)]
pub struct Draw(Pcg64Mcg);

impl Draw {
    pub fn new(seed: u64, series: Series, number: u64) -> Self {
        let low = tag(seed, series, number);
        let high = mix(low ^ 0x6a09_e667_f3bc_c909);
        Self(Pcg64Mcg::new(u128::from(high) << 64 | u128::from(low)))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number of 0 to `end - 1`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the product of two 64-bit numbers has 128 bits")
    }

    /// As [`Draw::below`], for small numbers.
    pub fn below_u32(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(u64::from(end))).expect("the number is below a 32-bit bound")
    }

    /// True in that share of the draws.
    pub fn chance(&mut self, share: Percent) -> bool {
        self.below_u32(Percent::ALL.basis_points()) < share.basis_points()
    }

    /// A random UUID (version 4).
    pub fn uuid(&mut self) -> u128 {
        let high = self.bits();
        uuid(high, self.bits())
    }
}

/// The receipt id of an event, as a UUID: no two numbers of a seed have the same.
pub fn receipt_id(seed: u64, series: Series, number: u64) -> u128 {
    let unique = tag(seed, series, number);
    uuid(unique, mix(unique))
}

/// Spreads 122 bits over a version 4 UUID. All 64 bits of `high` are kept, and 58 of `low`.
fn uuid(high: u64, low: u64) -> u128 {
    let bits = u128::from(high) << 58 | u128::from(low >> 6);
    let (head, middle, tail) = (bits >> 74, bits >> 62 & 0xfff, bits & (u128::MAX >> 66));
    head << 80 | 4 << 76 | middle << 64 | 2 << 62 | tail
}

/// A different number for each series and number, whatever the seed: every step can be undone.
fn tag(seed: u64, series: Series, number: u64) -> u64 {
    mix(mix(seed) ^ ((series as u64) << 56 | number))
}

/// The mixer of `SplitMix64`, a permutation of the 64-bit numbers.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
