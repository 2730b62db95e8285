//! Usage days and periods in the zones of the time-zone database.

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use expect_test::{Expect, expect};

use super::*;
use crate::usage::usage_day;

fn monthly_schedule() -> Schedule {
    Schedule::new(day("2010-12-31"), grid(Cadence::Monthly, "2010-12-31")).unwrap()
}

/// In every zone of the time-zone database, over 12 years, hour by hour about each month's end: the
/// usage day moves as the local calendar does and each instant is in one period.
#[test]
fn an_instant_is_in_one_period_in_every_zone() {
    let schedule = monthly_schedule();
    let months: Vec<DateTime<Utc>> = schedule
        .slots()
        .skip(1)
        .take(144)
        .map(|slot| slot.period.start().and_hms_opt(0, 0, 0).unwrap().and_utc())
        .collect();
    for zone in TZ_VARIANTS {
        for midnight in &months {
            let mut before: Option<Slot> = None;
            for hour in [-15, -1, 0, 1, 15] {
                let instant = *midnight + TimeDelta::hours(hour);
                let slot = schedule.slot_of(usage_day(instant, zone)).unwrap();
                assert!(slot.period.contains(usage_day(instant, zone)));
                if let Some(before) = before {
                    let same_or_next = before == slot || before.period.end() == slot.period.start();
                    assert!(same_or_next, "{zone} {instant}");
                }
                before = Some(slot);
            }
            // No zone is 15 hours from UTC, so the month turned exactly once in between.
            assert_eq!(before.unwrap().period.start(), midnight.date_naive(), "{zone}");
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a table row reads better without borrows")]
fn check_instants(zone: Tz, instants: &[&str], expected: Expect) {
    let schedule = Schedule::new(day("2009-01-01"), grid(Cadence::Monthly, "calendar")).unwrap();
    let table: String = instants
        .iter()
        .map(|text| {
            let instant: DateTime<Utc> = text.parse().unwrap();
            let local = instant.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z");
            let slot = schedule.slot_of(usage_day(instant, zone)).unwrap();
            format!("{text} = {local}: {}\n", slot.period)
        })
        .collect();
    expected.assert_eq(&table);
}

#[test]
fn the_last_nanosecond_of_a_period_is_in_it() {
    check_instants(
        Tz::Europe__Berlin,
        &[
            "2026-09-30T21:59:59.999999999Z",
            "2026-09-30T22:00:00Z",
            "2026-10-31T22:59:59.999999999Z",
            "2026-10-31T23:00:00Z",
        ],
        expect![[r#"
            2026-09-30T21:59:59.999999999Z = 2026-09-30 23:59:59 CEST: [2026-09-01, 2026-10-01)
            2026-09-30T22:00:00Z = 2026-10-01 00:00:00 CEST: [2026-10-01, 2026-11-01)
            2026-10-31T22:59:59.999999999Z = 2026-10-31 23:59:59 CET: [2026-10-01, 2026-11-01)
            2026-10-31T23:00:00Z = 2026-11-01 00:00:00 CET: [2026-11-01, 2026-12-01)
        "#]],
    );
}

#[test]
fn a_day_that_a_zone_left_out_is_in_no_receipt() {
    // Samoa went from 29 December 2011 straight to 31 December.
    check_instants(
        Tz::Pacific__Apia,
        &[
            "2011-12-30T09:59:59Z",
            "2011-12-30T10:00:00Z",
            "2011-12-31T09:59:59Z",
            "2011-12-31T10:00:00Z",
        ],
        expect![[r#"
            2011-12-30T09:59:59Z = 2011-12-29 23:59:59 -10: [2011-12-01, 2012-01-01)
            2011-12-30T10:00:00Z = 2011-12-31 00:00:00 +14: [2011-12-01, 2012-01-01)
            2011-12-31T09:59:59Z = 2011-12-31 23:59:59 +14: [2011-12-01, 2012-01-01)
            2011-12-31T10:00:00Z = 2012-01-01 00:00:00 +14: [2012-01-01, 2012-02-01)
        "#]],
    );
}

#[test]
fn folds_and_odd_shifts_at_the_turn_of_a_month() {
    check_instants(
        // Clocks go back by half an hour.
        Tz::Australia__Lord_Howe,
        &["2018-03-31T12:59:59Z", "2018-03-31T13:00:00Z", "2018-03-31T15:15:00Z"],
        expect![[r#"
            2018-03-31T12:59:59Z = 2018-03-31 23:59:59 +11: [2018-03-01, 2018-04-01)
            2018-03-31T13:00:00Z = 2018-04-01 00:00:00 +11: [2018-04-01, 2018-05-01)
            2018-03-31T15:15:00Z = 2018-04-01 01:45:00 +1030: [2018-04-01, 2018-05-01)
        "#]],
    );
    check_instants(
        // Clocks went back at one minute past midnight on 1 November 2009: a day came back.
        Tz::America__St_Johns,
        &[
            "2009-11-01T02:29:59Z",
            "2009-11-01T02:30:30Z",
            "2009-11-01T02:31:00Z",
            "2009-11-01T03:30:00Z",
        ],
        expect![[r#"
            2009-11-01T02:29:59Z = 2009-10-31 23:59:59 NDT: [2009-10-01, 2009-11-01)
            2009-11-01T02:30:30Z = 2009-11-01 00:00:30 NDT: [2009-11-01, 2009-12-01)
            2009-11-01T02:31:00Z = 2009-10-31 23:01:00 NST: [2009-10-01, 2009-11-01)
            2009-11-01T03:30:00Z = 2009-11-01 00:00:00 NST: [2009-11-01, 2009-12-01)
        "#]],
    );
    check_instants(
        Tz::America__Juneau,
        &["2026-11-01T07:59:59Z", "2026-11-01T08:00:00Z", "2026-11-01T10:30:00Z"],
        expect![[r#"
            2026-11-01T07:59:59Z = 2026-10-31 23:59:59 AKDT: [2026-10-01, 2026-11-01)
            2026-11-01T08:00:00Z = 2026-11-01 00:00:00 AKDT: [2026-11-01, 2026-12-01)
            2026-11-01T10:30:00Z = 2026-11-01 01:30:00 AKST: [2026-11-01, 2026-12-01)
        "#]],
    );
    check_instants(
        Tz::Africa__Casablanca,
        &["2025-02-28T22:59:59Z", "2025-02-28T23:00:00Z", "2025-03-31T23:30:00Z"],
        expect![[r#"
            2025-02-28T22:59:59Z = 2025-02-28 22:59:59 +00: [2025-02-01, 2025-03-01)
            2025-02-28T23:00:00Z = 2025-02-28 23:00:00 +00: [2025-02-01, 2025-03-01)
            2025-03-31T23:30:00Z = 2025-03-31 23:30:00 +00: [2025-03-01, 2025-04-01)
        "#]],
    );
}
