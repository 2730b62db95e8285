//! A period beside the whole period that it is cut from.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use rust_decimal::Decimal;

use super::Period;
use crate::currency::Currency;
use crate::money::{self, Money};

/// A period and the whole period that it is cut from; the two are equal unless it is a stub.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    pub period: Period,
    pub whole: Period,
}

impl Slot {
    /// A period that is a whole one.
    pub fn whole(period: Period) -> Self {
        Self { period, whole: period }
    }

    /// True if the period is shorter than its cadence, so that fixed fee, minimum and maximum are
    /// prorated: days of the period / days of the whole period.
    pub fn is_stub(self) -> bool {
        self.period != self.whole
    }

    /// What the days of the period pay of `amount`, which is for the whole period: what is due up to
    /// the last of them, less what was due before the first, each rounded half up. So the shares of
    /// stubs that make up a whole period sum to `amount` exactly, however it is cut.
    ///
    /// # Errors
    /// If `amount` does not fit.
    pub fn share(self, amount: Decimal, currency: Currency) -> Result<Money, money::Error> {
        let of_days = self.whole.days();
        let due = |day| {
            let days = Period::new(self.whole.start(), day).map_or(0, Period::days);
            Money::share_half_up(amount, days, of_days, currency)
        };
        due(self.period.end())?.minus(due(self.period.start())?)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} days", self.period, self.period.days(), self.whole.days())
    }
}
