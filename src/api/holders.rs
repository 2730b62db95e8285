//! Whose keys were looked up just now. A screen asks for many things at once, and to look its key up for each of them
//! is a wait for the database each time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use billing::hash::Hash;
use parking_lot::Mutex;

use super::caller::Caller;

/// So long a key may still be taken for good after it was revoked through another process, or has expired.
const KEPT: Duration = Duration::from_secs(1);
/// Keys that are remembered; beyond them all are forgotten.
const HOLDERS_MAX: usize = 10_000;

/// The holders of keys that were good when they were asked for, less than a second ago.
#[derive(Default)]
pub struct Holders {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By the hash of the key, so that no secret is kept.
    holders: HashMap<[u8; 32], (Caller, Instant)>,
    /// How often all were forgotten.
    forgotten: u64,
}

/// A key that is being looked up.
pub struct Asked {
    hash: [u8; 32],
    at: Instant,
    forgotten: u64,
}

impl Holders {
    /// Who holds `key`, or what to [`Holders::keep`] the answer by once it was looked up.
    pub fn find(&self, key: &str) -> Result<Caller, Asked> {
        self.find_at(key, Instant::now())
    }

    fn find_at(&self, key: &str, now: Instant) -> Result<Caller, Asked> {
        let hash = *Hash::of(&[key.as_bytes()]).as_bytes();
        let kept = self.kept.lock();
        match kept.holders.get(&hash) {
            Some((holder, until)) if now < *until => Ok(holder.clone()),
            _ => Err(Asked { hash, at: now, forgotten: kept.forgotten }),
        }
    }

    /// Keeps the holder of a key that was good, for a second since it was asked for, however long the look has
    /// taken. Not if keys were revoked meanwhile: the look may have been before that.
    pub fn keep(&self, asked: &Asked, holder: &Caller) {
        let mut kept = self.kept.lock();
        if asked.forgotten != kept.forgotten {
            return;
        }
        if kept.holders.len() >= HOLDERS_MAX {
            kept.holders.clear();
        }
        kept.holders.insert(asked.hash, (holder.clone(), asked.at + KEPT));
    }

    /// Forgets all of them; to be called once a key is revoked.
    pub fn forget(&self) {
        let mut kept = self.kept.lock();
        kept.holders.clear();
        kept.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Caller {
        Caller { id: "key 1".to_owned(), name: "one".to_owned(), roles: Vec::new(), brand: None }
    }

    #[test]
    fn a_holder_is_kept_for_a_second_and_under_the_whole_key() {
        let (holders, now) = (Holders::default(), Instant::now());
        let asked = holders.find_at("pt_a_b", now).expect_err("nothing is kept");
        holders.keep(&asked, &holder());
        assert_eq!(
            holders.find_at("pt_a_b", now + KEPT / 2).map(|found| found.id).ok().unwrap(),
            "key 1"
        );
        assert!(holders.find_at("pt_a_c", now).is_err(), "another secret");
        assert!(holders.find_at("pt_a_b", now + KEPT).is_err(), "it is over");
    }

    #[test]
    fn what_was_looked_up_before_a_key_was_revoked_is_not_kept() {
        let (holders, now) = (Holders::default(), Instant::now());
        let asked = holders.find_at("pt_a_b", now).expect_err("nothing is kept");
        holders.keep(&asked, &holder());
        let late = holders.find_at("pt_c_d", now).expect_err("it is another key");
        holders.forget();
        holders.keep(&late, &holder());
        for key in ["pt_a_b", "pt_c_d"] {
            assert!(holders.find_at(key, now).is_err(), "{key}");
        }
    }

    #[test]
    fn no_more_are_kept_than_the_limit() {
        let (holders, now) = (Holders::default(), Instant::now());
        for number in 0..=HOLDERS_MAX {
            let asked = holders.find_at(&format!("pt_{number}"), now).expect_err("it is new");
            holders.keep(&asked, &holder());
            assert!(holders.kept.lock().holders.len() <= HOLDERS_MAX);
        }
    }
}
