//! What a finding is about, case by case. Who answers for a reason answers for the cases that were there, and
//! for none that comes later.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// Whole numbers, as ranges in order with a hole between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>")]
pub struct Numbers(Vec<(u64, u64)>);

impl Numbers {
    /// The numbers from 1 up to `count`: what is only counted is as many cases.
    pub fn up_to(count: u64) -> Self {
        vec![(1, count)].into()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let of = |&(first, last): &(u64, u64)| last.saturating_sub(first).saturating_add(1);
        self.0.iter().map(of).fold(0, u64::saturating_add)
    }

    fn has_all_of(&self, other: &Self) -> bool {
        // Ranges have holes between them, so one that is held is held by one alone.
        other.0.iter().all(|wanted| {
            let at = self.0.partition_point(|held| held.1 < wanted.0);
            self.0.get(at).is_some_and(|held| held.0 <= wanted.0 && wanted.1 <= held.1)
        })
    }
}

/// Ranges in any order; those that begin after their end are none.
impl From<Vec<(u64, u64)>> for Numbers {
    fn from(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }
}

/// Cases by what they are called, as `rejection` 3 to 7, or `2026-03` of which there are 5.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cases(BTreeMap<String, Numbers>);

impl Cases {
    /// A case that has a name and no number.
    pub fn one(name: impl Into<String>) -> Self {
        Self::default().with(name, Numbers::up_to(1))
    }

    /// With these as well.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, numbers: Numbers) -> Self {
        self.add(name, numbers);
        self
    }

    /// Adds these.
    pub fn add(&mut self, name: impl Into<String>, numbers: Numbers) {
        if numbers.0.is_empty() {
            return;
        }
        match self.0.entry(name.into()) {
            Entry::Vacant(entry) => {
                entry.insert(numbers);
            }
            Entry::Occupied(mut entry) => {
                let both = [entry.get().0.as_slice(), &numbers.0].concat();
                entry.insert(both.into());
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.values().map(Numbers::count).fold(0, u64::saturating_add)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if each case of `other` is among these, and there is one. What has no case cannot be answered for.
    pub fn cover(&self, other: &Self) -> bool {
        let has = |(name, numbers)| self.0.get(name).is_some_and(|own| own.has_all_of(numbers));
        !other.is_empty() && other.0.iter().all(has)
    }

    /// Names exactly these cases, for who has seen them.
    pub fn digest(&self) -> Hash {
        let bytes = serde_json::to_vec(self).expect("names and numbers are plain JSON");
        Hash::of(&[&bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(of: &[(&str, &[(u64, u64)])]) -> Cases {
        let add = |cases: Cases, (name, ranges): &(&str, &[(u64, u64)])| {
            cases.with(*name, ranges.to_vec().into())
        };
        of.iter().fold(Cases::default(), add)
    }

    #[test]
    fn numbers_are_ranges_in_order_whatever_they_are_made_of() {
        for (of, expected, count) in [
            (vec![(1, 1), (2, 3)], "[[1,3]]", 3),
            (vec![(9, 9), (1, 2), (2, 5)], "[[1,5],[9,9]]", 6),
            (vec![(4, 3)], "[]", 0),
            (vec![(1, u64::MAX), (7, 8)], "[[1,18446744073709551615]]", u64::MAX),
        ] {
            let numbers = Numbers::from(of.clone());
            assert_eq!(serde_json::to_string(&numbers).unwrap(), expected, "{of:?}");
            assert_eq!(numbers.count(), count, "{of:?}");
            let again: Numbers =
                serde_json::from_str(&serde_json::to_string(&of).unwrap()).unwrap();
            assert_eq!(again, numbers);
        }
    }

    #[test]
    fn cases_cover_what_is_among_them_and_nothing_else() {
        let seen = cases(&[("rejection", &[(3, 7), (9, 9)]), ("day", &[(1, 5)])]);
        for (now, is_covered) in [
            (cases(&[("rejection", &[(3, 7), (9, 9)]), ("day", &[(1, 5)])]), true),
            (cases(&[("rejection", &[(4, 4), (9, 9)])]), true),
            (cases(&[("day", &[(1, 4)])]), true),
            (cases(&[("day", &[(1, 6)])]), false),
            (cases(&[("rejection", &[(7, 9)])]), false),
            (cases(&[("rejection", &[(2, 3)])]), false),
            (cases(&[("rejection", &[(10, 10)])]), false),
            (cases(&[("rejection", &[(3, 3)]), ("other day", &[(1, 1)])]), false),
            (Cases::default(), false),
        ] {
            assert_eq!(seen.cover(&now), is_covered, "{now:?}");
            assert!(!Cases::default().cover(&now));
        }
        assert_ne!(seen.digest(), cases(&[("day", &[(1, 5)])]).digest());
    }

    #[test]
    fn cases_of_one_name_are_joined() {
        let mut joined = cases(&[("epoch 1", &[(5, 6)]), ("epoch 1", &[(7, 8)])]);
        joined.add("epoch 2", Numbers::default());
        assert_eq!(joined, cases(&[("epoch 1", &[(5, 8)])]));
        assert_eq!(joined.count(), 4);
        assert_eq!(Cases::one("period").count(), 1);
    }
}
