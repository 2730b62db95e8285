//! Usage: receipts counted by brand, usage day, predicate and result.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

/// The usage day of a receipt: the date that a calendar in the brand's zone shows at `verified_at`.
pub fn usage_day(verified_at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    if zone == Tz::UTC {
        return verified_at.date_naive();
    }
    verified_at.with_timezone(&zone).date_naive()
}
