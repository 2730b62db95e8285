//! Usage days and periods in the zones of the time-zone database.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use expect_test::{Expect, expect};

use super::*;
use crate::usage::usage_day;

/// From which usage day to which the days turn, over 12 years of a zone: hour by hour for three hours
/// after each turn, in which clocks may be put back over midnight, and again from 22 hours after it.
fn turns(zone: Tz, first: NaiveDate, into: &mut BTreeSet<(NaiveDate, NaiveDate)>) {
    let midnight = first.and_hms_opt(0, 0, 0).unwrap().and_utc();
    let (mut before, mut since) = (None, 0);
    for hour in 24..12 * 365 * 24 {
        since += 1;
        if before.is_some() && (4..22).contains(&since) {
            continue;
        }
        let local = usage_day(midnight + TimeDelta::hours(hour), zone);
        if let Some(earlier) = before.replace(local)
            && earlier != local
        {
            into.insert((earlier, local));
            since = 0;
        }
    }
}

/// Every anchor day 1 to 31 x every zone of the time-zone database x 12 years: from one instant to the
/// next the period stays or the next one begins (or, where clocks are put back over midnight, the one
/// before comes back), and the day of an instant is in that period and no other.
///
/// A period is a matter of days, so what zones differ in is how days turn: the turns of all of them are
/// collected first, and each is put to the periods of each anchor.
#[test]
fn an_instant_is_in_one_period_in_every_zone_with_every_anchor() {
    let first = day("2016-01-01");
    let mut all = BTreeSet::new();
    for zone in TZ_VARIANTS {
        let mut own = BTreeSet::new();
        turns(zone, first, &mut own);
        assert!(own.len() >= 12 * 365 - 3, "{zone}: a day is missing");
        all.append(&mut own);
    }
    for (earlier, later) in &all {
        assert!(
            (later.signed_duration_since(*earlier).num_days() - 1).abs() <= 1 || earlier > later
        );
    }
    for cadence in Cadence::ALL {
        for number in 1..=31 {
            let anchor = NaiveDate::from_ymd_opt(2015, 12, number).unwrap();
            let timeline =
                from(day("2014-01-01"), Grid { cadence, anchor: Anchor::Anniversary(anchor) });
            let periods: Vec<Slot> = slots(&timeline)
                .take_while(|slot| slot.period.start() < day("2029-01-01"))
                .collect();
            let of = |day: NaiveDate| {
                let at = periods.partition_point(|slot| slot.period.start() <= day) - 1;
                assert!(periods[at].period.contains(day), "{anchor} {day}");
                at
            };
            for pair in periods.windows(2) {
                assert_eq!(pair[0].period.end(), pair[1].period.start());
            }
            for (earlier, later) in &all {
                let (one, next) = (of(*earlier), of(*later));
                assert!(next.abs_diff(one) <= 1, "{anchor} {earlier} {later}");
                // Boundaries lie a week apart at least, so only the neighbours could have the day too.
                let others = [next.wrapping_sub(1), next + 1];
                let mut others = others.iter().filter_map(|at| periods.get(*at));
                assert!(others.all(|other| !other.period.contains(*later)), "{anchor} {later}");
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a table row reads better without borrows")]
fn check_instants(zone: Tz, instants: &[&str], expected: Expect) {
    let timeline = from(day("2009-01-01"), grid(Cadence::Monthly, "calendar"));
    let table: String = instants
        .iter()
        .map(|text| {
            let instant: DateTime<Utc> = text.parse().unwrap();
            let local = instant.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z");
            let slot = timeline.period_of(usage_day(instant, zone)).unwrap().slot;
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
