#![allow(clippy::arithmetic_side_effects)]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

mod zones;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn grid(cadence: Cadence, anchor: &str) -> Grid {
    let anchor = match anchor {
        "calendar" => Anchor::Calendar,
        day => Anchor::Anniversary(day.parse().unwrap()),
    };
    Grid { cadence, anchor }
}

#[expect(clippy::needless_pass_by_value, reason = "a table row reads better without borrows")]
fn check(schedule: &Schedule, periods: usize, expected: Expect) {
    let table: String = schedule
        .slots()
        .take(periods)
        .map(|slot| {
            let share = format!("{}/{}", slot.period.days(), slot.whole.days());
            let share = if slot.is_stub() { share } else { "whole".into() };
            format!("{} to {}  {share}\n", slot.period.start(), slot.period.last_day())
        })
        .collect();
    expected.assert_eq(&table);
}

#[test]
fn an_anchor_on_the_31st_never_drifts() {
    let schedule = Schedule::new(day("2027-01-31"), grid(Cadence::Monthly, "2027-01-31")).unwrap();
    check(
        &schedule,
        5,
        expect![[r#"
        2027-01-31 to 2027-02-27  whole
        2027-02-28 to 2027-03-30  whole
        2027-03-31 to 2027-04-29  whole
        2027-04-30 to 2027-05-30  whole
        2027-05-31 to 2027-06-29  whole
    "#]],
    );
}

#[test]
fn an_anchor_on_29_february_comes_back_in_leap_years() {
    let schedule = Schedule::new(day("2024-02-29"), grid(Cadence::Annual, "2024-02-29")).unwrap();
    check(
        &schedule,
        5,
        expect![[r#"
        2024-02-29 to 2025-02-27  whole
        2025-02-28 to 2026-02-27  whole
        2026-02-28 to 2027-02-27  whole
        2027-02-28 to 2028-02-28  whole
        2028-02-29 to 2029-02-27  whole
    "#]],
    );
}

#[test]
fn calendar_periods_begin_on_mondays_months_quarters_and_years() {
    for (cadence, expected) in [
        (
            Cadence::Weekly,
            expect![[r#"
            2026-09-20 to 2026-09-20  1/7
            2026-09-21 to 2026-09-27  whole
            2026-09-28 to 2026-10-04  whole
        "#]],
        ),
        (
            Cadence::Monthly,
            expect![[r#"
            2026-09-20 to 2026-09-30  11/30
            2026-10-01 to 2026-10-31  whole
            2026-11-01 to 2026-11-30  whole
        "#]],
        ),
        (
            Cadence::Quarterly,
            expect![[r#"
            2026-09-20 to 2026-09-30  11/92
            2026-10-01 to 2026-12-31  whole
            2027-01-01 to 2027-03-31  whole
        "#]],
        ),
        (
            Cadence::SemiAnnual,
            expect![[r#"
            2026-09-20 to 2026-12-31  103/184
            2027-01-01 to 2027-06-30  whole
            2027-07-01 to 2027-12-31  whole
        "#]],
        ),
        (
            Cadence::Annual,
            expect![[r#"
            2026-09-20 to 2026-12-31  103/365
            2027-01-01 to 2027-12-31  whole
            2028-01-01 to 2028-12-31  whole
        "#]],
        ),
    ] {
        let schedule = Schedule::new(day("2026-09-20"), grid(cadence, "calendar")).unwrap();
        check(&schedule, 3, expected);
    }
}

#[test]
fn a_change_of_cadence_waits_for_the_next_period_and_makes_one_stub() {
    let schedule = Schedule::new(day("2026-01-15"), grid(Cadence::Monthly, "calendar"))
        .unwrap()
        .change(day("2026-02-10"), grid(Cadence::Quarterly, "calendar"), Change::NextPeriod)
        .unwrap();
    check(
        &schedule,
        5,
        expect![[r#"
        2026-01-15 to 2026-01-31  17/31
        2026-02-01 to 2026-02-28  whole
        2026-03-01 to 2026-03-31  31/90
        2026-04-01 to 2026-06-30  whole
        2026-07-01 to 2026-09-30  whole
    "#]],
    );
}

#[test]
fn a_split_ends_the_period_on_its_day() {
    let schedule = Schedule::new(day("2026-01-01"), grid(Cadence::Monthly, "calendar"))
        .unwrap()
        .change(day("2026-02-10"), grid(Cadence::Monthly, "calendar"), Change::Split)
        .unwrap()
        .until(day("2026-03-21"))
        .unwrap();
    check(
        &schedule,
        9,
        expect![[r#"
        2026-01-01 to 2026-01-31  whole
        2026-02-01 to 2026-02-09  9/28
        2026-02-10 to 2026-02-28  19/28
        2026-03-01 to 2026-03-20  20/31
    "#]],
    );
}

#[test]
fn a_change_on_a_boundary_makes_no_stub() {
    let schedule = Schedule::new(day("2026-01-01"), grid(Cadence::Monthly, "calendar"))
        .unwrap()
        .change(day("2026-04-01"), grid(Cadence::Quarterly, "calendar"), Change::NextPeriod)
        .unwrap();
    check(
        &schedule,
        5,
        expect![[r#"
        2026-01-01 to 2026-01-31  whole
        2026-02-01 to 2026-02-28  whole
        2026-03-01 to 2026-03-31  whole
        2026-04-01 to 2026-06-30  whole
        2026-07-01 to 2026-09-30  whole
    "#]],
    );
}

#[test]
fn a_period_is_half_open() {
    let period = Period::new(day("2026-09-20"), day("2026-10-01")).unwrap();
    let contained = |text| period.contains(day(text));
    assert!(contained("2026-09-20") && contained("2026-09-30"));
    assert!(!contained("2026-09-19") && !contained("2026-10-01") && !contained("2026-10-02"));
    assert_eq!((period.days(), period.last_day()), (11, day("2026-09-30")));
    assert_eq!(format!("{period:?}"), "[2026-09-20, 2026-10-01)");
    assert_eq!(format!("{:?}", Slot::whole(period)), "[2026-09-20, 2026-10-01) 11/11 days");
}

#[test]
fn days_outside_the_years_are_in_no_period() {
    let calendar = grid(Cadence::Monthly, "calendar");
    assert_eq!(calendar.whole_period(day("1969-12-31")), None);
    assert!(calendar.whole_period(day("1970-01-01")).is_some());
    assert!(calendar.whole_period(day("9999-12-31")).is_some());
    assert_eq!(calendar.whole_period(NaiveDate::MAX), None);
    let anchored = Grid { anchor: Anchor::Anniversary(NaiveDate::MIN), ..calendar };
    assert_eq!(anchored.whole_period(day("2026-01-01")), None);
}

#[test]
fn what_cannot_be_scheduled_is_refused() {
    let monthly = grid(Cadence::Monthly, "calendar");
    let schedule = || Schedule::new(day("2026-01-15"), monthly).unwrap();
    let refusal = |result: Result<Schedule, Error>| result.unwrap_err().to_string();
    assert_eq!(
        refusal(Schedule::new(day("1969-12-31"), monthly)),
        "1969-12-31 is outside the years 1970 to 9999"
    );
    assert_eq!(
        refusal(schedule().change(day("2026-01-15"), monthly, Change::Split)),
        "a change from 2026-01-15 does not lie after 2026-01-15, when the last one takes effect"
    );
    assert_eq!(
        refusal(schedule().until(day("2026-02-01")).unwrap().change(
            day("2026-02-01"),
            monthly,
            Change::Split
        )),
        "2026-02-01 lies after the end of the schedule"
    );
    assert!(schedule().until(day("2026-01-15")).is_err());
    assert_eq!(schedule().slot_of(day("2026-01-14")), None);
    assert_eq!(schedule().until(day("2026-02-01")).unwrap().slot_of(day("2026-02-01")), None);
    assert_eq!(Period::new(day("2026-02-01"), day("2026-02-01")), None);
}

/// The boundaries again, by walking day by day and asking of each whether a period begins on it.
fn begins(cadence: Cadence, anchor: NaiveDate, day: NaiveDate) -> bool {
    let every = match cadence {
        Cadence::Weekly => return day.weekday() == anchor.weekday(),
        Cadence::Monthly => 1,
        Cadence::Quarterly => 3,
        Cadence::SemiAnnual => 6,
        Cadence::Annual => 12,
    };
    let last_of_month = day.succ_opt().unwrap().day() == 1;
    let apart =
        (day.year() * 12 + day.month0() as i32) - (anchor.year() * 12 + anchor.month0() as i32);
    let on_its_day = day.day() == anchor.day() || (last_of_month && day.day() < anchor.day());
    apart.rem_euclid(every) == 0 && on_its_day
}

/// Every anchor day 1 to 31 (from a month that has it, and the leap day), every cadence, every day
/// of 12 years: one period, which begins where the naive rule says, and the next begins at its end.
#[test]
fn periods_tile_for_every_anchor_and_cadence() {
    let first = day("2023-11-01");
    let days: Vec<NaiveDate> = first.iter_days().take(12 * 366).collect();
    let january = (1..=31).map(|number| NaiveDate::from_ymd_opt(2025, 1, number).unwrap());
    for anchor in january.chain([day("2024-02-29"), day("2040-02-29")]) {
        for cadence in Cadence::ALL {
            let grid = Grid { cadence, anchor: Anchor::Anniversary(anchor) };
            let mut whole = grid.whole_period(first).unwrap();
            assert!(begins(cadence, anchor, whole.start()));
            for &day in &days {
                if day == whole.end() {
                    assert!(begins(cadence, anchor, day), "{grid:?} {day}");
                    whole = grid.whole_period(day).unwrap();
                    assert_eq!(whole.start(), day, "{grid:?}");
                } else if day != whole.start() {
                    assert!(!begins(cadence, anchor, day), "{grid:?} {day}");
                    // Asking on each day costs time; the first of a month and the days about
                    // it are where an answer could differ.
                    if day.day() < 3 || day.day() > 26 {
                        assert_eq!(grid.whole_period(day), Some(whole), "{grid:?} {day}");
                    }
                }
            }
        }
    }
}

fn any_day() -> impl Strategy<Value = NaiveDate> {
    (0_i64..12 * 365).prop_map(|days| day("2020-01-01") + TimeDelta::days(days))
}

fn any_grid() -> impl Strategy<Value = Grid> {
    let anchor = prop_oneof![Just(Anchor::Calendar), any_day().prop_map(Anchor::Anniversary)];
    (proptest::sample::select(&Cadence::ALL), anchor)
        .prop_map(|(cadence, anchor)| Grid { cadence, anchor })
}

proptest! {
    /// Whatever changes and when: periods follow each other, lie in their whole periods, and each
    /// day of a period is found in it and in no other.
    #[test]
    fn schedules_tile_across_changes(
        first in any_day(),
        grids in proptest::collection::vec((any_grid(), 1_i64..500, any::<bool>()), 1..5),
    ) {
        let mut schedule = Schedule::new(first, grids[0].0).unwrap();
        let mut from = first;
        for (grid, later, split) in &grids[1..] {
            from += TimeDelta::days(*later);
            let change = if *split { Change::Split } else { Change::NextPeriod };
            let Ok(changed) = schedule.clone().change(from, *grid, change) else { continue };
            schedule = changed;
        }
        let mut next = first;
        for slot in schedule.slots().take(30) {
            prop_assert_eq!(slot.period.start(), next);
            prop_assert!(slot.whole.start() <= slot.period.start());
            prop_assert!(slot.period.end() <= slot.whole.end());
            for day in [slot.period.start(), slot.period.last_day()] {
                prop_assert_eq!(schedule.slot_of(day), Some(slot));
            }
            next = slot.period.end();
        }
        let until = next;
        let ended = schedule.clone().until(until);
        if let Ok(ended) = ended {
            prop_assert_eq!(ended.slots().last().map(|slot| slot.period.end()), Some(until));
        }
    }
}
