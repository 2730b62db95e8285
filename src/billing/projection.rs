//! Projection: what a running period would hold at its end if its days went on like those so far.
//!
//! An estimate for people, never the ground of a document.
#![deny(clippy::arithmetic_side_effects)]

use chrono::NaiveDate;

use crate::exact::Overflow;
use crate::period::Period;

/// The part of a period that has passed: `days` of `of_days`, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub days: u32,
    pub of_days: u32,
}

impl Passed {
    /// What of `period` has passed at the end of the day `at`; `None` if it has not begun.
    pub fn of(period: Period, at: NaiveDate) -> Option<Self> {
        let of_days = period.days();
        if at < period.start() {
            return None;
        }
        let day_after = at.succ_opt().unwrap_or(period.end()).min(period.end());
        let days = Period::new(period.start(), day_after)?.days();
        Some(Self { days, of_days })
    }

    /// `count` x `of_days` / `days`, rounded half up.
    ///
    /// # Errors
    /// If the result does not fit.
    pub fn project(self, count: u64) -> Result<u64, Overflow> {
        let overflow = || {
            let Self { days, of_days } = self;
            Overflow::new(format!("{count} x {of_days} / {days} days"))
        };
        let (days, of_days) = (u128::from(self.days), u128::from(self.of_days));
        // Twice the sum, so that the half is whole: floor((2 n + d) / 2 d).
        let doubled = u128::from(count).checked_mul(of_days).and_then(|sum| sum.checked_mul(2));
        let rounded = doubled
            .and_then(|sum| sum.checked_add(days))
            .zip(days.checked_mul(2))
            .and_then(|(sum, divisor)| sum.checked_div(divisor));
        rounded.and_then(|sum| u64::try_from(sum).ok()).ok_or_else(overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_that_have_passed_go_on() {
        let september = Period::new(day("2026-09-01"), day("2026-10-01")).unwrap();
        assert_eq!(Passed::of(september, day("2026-08-31")), None);
        let at = |on| Passed::of(september, day(on)).unwrap();
        assert_eq!(at("2026-09-01"), Passed { days: 1, of_days: 30 });
        assert_eq!(at("2026-09-01").project(7), Ok(210));
        assert_eq!(at("2026-09-20").project(100), Ok(150));
        // 45 / 20 x 30 = 67.5, and a half goes up.
        assert_eq!(at("2026-09-20").project(45), Ok(68));
        assert_eq!(at("2026-09-30").project(u64::MAX), Ok(u64::MAX));
        assert_eq!(at("2027-01-01"), Passed { days: 30, of_days: 30 });
        assert_eq!(
            at("2026-09-29").project(u64::MAX).unwrap_err().operation,
            "18446744073709551615 x 30 / 29 days"
        );
    }
}
